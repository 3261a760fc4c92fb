"""The kernel's socket as these tests use it, and the few lines of a test runner."""

import json
import os
import sys
import time
import traceback

import httpx

SOCKET = os.environ["MIDPLANE_SOCKET"]
HOST_KEY = os.environ["MIDPLANE_HOST_KEY"]
SECRET_ID = os.environ.get("MIDPLANE_SECRET_ID", "test-key")
SECRET = os.environ.get("MIDPLANE_SECRET", "sk-midplane-interop")
DEADLINE_S = 30


def client(credential):
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=SOCKET),
        base_url="http://localhost",
        headers={"authorization": f"Bearer {credential}"},
        timeout=DEADLINE_S,
    )


def configure(config):
    """Swaps the chat module for one with this configuration; threads in memory are gone with the old one."""
    with client(HOST_KEY) as host:
        answer = host.post("/modules/chat/reload", params={"wait": "drained"}, json={"config": config})
        assert answer.status_code == 200, answer.text


class Session:
    """A session of `user`, and the ChatKit endpoint under it."""

    def __init__(self, user="interop", secret=False):
        wish = {"user": user, "modules": ["chat"], **({"secret_key_id": SECRET_ID} if secret else {})}
        with client(HOST_KEY) as host:
            answer = host.post("/sessions", json=wish)
        assert answer.status_code == 201, answer.text
        self.http = client(answer.json()["client_secret"])

    def ask(self, type, **params):
        return self.http.post("/api/chat/chatkit", json={"type": type, "params": params})

    def json(self, type, **params):
        answer = self.ask(type, **params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    def stream(self, type, **params):
        """The events as they come. Leaving the loop closes the connection."""
        request = {"type": type, "params": params}
        with self.http.stream("POST", "/api/chat/chatkit", json=request) as answer:
            if answer.status_code != 200:
                answer.read()
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "text/event-stream"
            for line in answer.iter_lines():
                if line:
                    assert line.startswith("data: "), line
                    yield json.loads(line.removeprefix("data: "))

    def events(self, type, **params):
        return list(self.stream(type, **params))


def text_input(text, **more):
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}, **more}


def types(events):
    return [event["update"]["type"] if "update" in event else event["type"] for event in events]


def said(events):
    return "".join(event["update"]["delta"] for event in events if event.get("update", {}).get("delta"))


def until(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def run(tests):
    failed = 0
    for test in tests:
        try:
            test()
            print(f"ok {test.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED {test.__name__}")
            traceback.print_exc()
    print(f"{len(tests) - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)
