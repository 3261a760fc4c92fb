"""Python's httpx as a caller of the kernel: what an extension host written in Python would do."""

import asyncio
import json
import os
import sys
import traceback

import httpx

SOCKET = os.environ["MIDPLANE_SOCKET"]
HOST_KEY = os.environ["MIDPLANE_HOST_KEY"]
DEADLINE_S = 30
REQUESTS = 200


def client(credential=None):
    headers = {"authorization": f"Bearer {credential}"} if credential else {}
    transport = httpx.HTTPTransport(uds=SOCKET)
    return httpx.Client(transport=transport, base_url="http://localhost", headers=headers, timeout=DEADLINE_S)


def issue(**wish):
    with client(HOST_KEY) as host:
        answer = host.post("/sessions", json=wish)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def create_thread(text):
    content = [{"type": "input_text", "text": text}]
    return {
        "type": "threads.create",
        "params": {"input": {"content": content, "attachments": [], "inference_options": {}}},
    }


def health_is_for_everybody():
    with client() as nobody:
        answer = nobody.get("/health")
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "ok" and "modules" not in answer.json()


def a_session_opens_its_modules_until_it_is_revoked():
    issued = issue(user="httpx", modules=["hello"])
    with client(issued["client_secret"]) as mine, client(HOST_KEY) as host:
        answer = mine.get("/api/hello/hello")
        assert (answer.status_code, answer.text) == (200, "hello httpx")
        assert answer.headers["x-midplane-module"].startswith("hello#")
        assert mine.get("/sessions/current").json()["id"] == issued["id"]
        assert mine.get("/modules").status_code == 403
        assert host.delete(f"/sessions/{issued['id']}").status_code == 204
        answer = mine.get("/api/hello/hello")
        assert answer.status_code == 401 and answer.json()["code"] == "invalid_token", answer.text


def an_answer_streams_event_by_event():
    token = issue(user="httpx", modules=["chat"])["client_secret"]
    said, kinds = [], []
    with client(token) as mine, mine.stream("POST", "/api/chat/chatkit", json=create_thread("one two three")) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        for line in answer.iter_lines():
            if line:
                event = json.loads(line.removeprefix("data: "))
                kinds.append(event["type"])
                said.append(event.get("update", {}).get("delta", ""))
    assert kinds[0] == "thread.created" and kinds.count("thread.item.done") >= 2, kinds
    assert "one two three" in "".join(said), said
    assert len([word for word in said if word]) >= 3, said


def leaving_a_stream_leaves_the_next_request_alone():
    token = issue(user="httpx-leaves", modules=["chat"])["client_secret"]
    with client(token) as mine:
        for _ in range(5):
            with mine.stream("POST", "/api/chat/chatkit", json=create_thread("word " * 200)) as answer:
                next(answer.iter_lines())
        listed = mine.post("/api/chat/chatkit", json={"type": "threads.list", "params": {}})
        assert listed.status_code == 200 and len(listed.json()["data"]) == 5, listed.text


def many_at_once_are_all_answered_and_not_mixed_up():
    users = [f"user-{n}" for n in range(10)]
    tokens = {user: issue(user=user, modules=["hello"])["client_secret"] for user in users}

    async def ask_all():
        transport = httpx.AsyncHTTPTransport(uds=SOCKET, limits=httpx.Limits(max_connections=16))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=DEADLINE_S) as http:
            async def ask(n):
                user = users[n % len(users)]
                answer = await http.get("/api/hello/hello", headers={"authorization": f"Bearer {tokens[user]}"})
                assert (answer.status_code, answer.text) == (200, f"hello {user}"), answer.text
            await asyncio.gather(*(ask(n) for n in range(REQUESTS)))

    asyncio.run(ask_all())


def a_refusal_is_a_problem_document():
    with client(HOST_KEY) as host:
        answer = host.post("/sessions", json={"usr": "typo"})
    problem = answer.json()
    assert answer.status_code == 400 and answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == "invalid_request" and "usr" in problem["detail"], problem
    assert problem["instance"] == answer.headers["x-request-id"]


TESTS = [
    health_is_for_everybody,
    a_session_opens_its_modules_until_it_is_revoked,
    an_answer_streams_event_by_event,
    leaving_a_stream_leaves_the_next_request_alone,
    many_at_once_are_all_answered_and_not_mixed_up,
    a_refusal_is_a_problem_document,
]


def main():
    failed = 0
    for test in TESTS:
        try:
            test()
            print(f"ok httpx: {test.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED httpx: {test.__name__}")
            traceback.print_exc()
    print(f"{len(TESTS) - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


main()
