"""aimock as the provider: what it streams arrives, what it spoils becomes an error event, and it sees the key."""

import json
import os
import socket
import subprocess
import tempfile

import httpx

import midplane
from midplane import DEADLINE_S, SECRET, Session, said, text_input, types, until

LONG = "A long answer that nobody waits for. " * 200
FIXTURES = [
    {"match": {"userMessage": "hello"}, "response": {"content": "Hello! How can I help you today?"}},
    {"match": {"userMessage": "long"}, "response": {"content": LONG}, "chunkSize": 8, "latency": 50},
    {"match": {"userMessage": "cut"}, "response": {"content": LONG}, "truncateAfterChunks": 12, "latency": 5},
    {"match": {"userMessage": "limited"}, "response": {"error": {"message": f"slow down {SECRET}"}, "status": 429}},
    {"match": {"userMessage": "broken"}, "response": {"error": {"message": f"oops {SECRET}"}, "status": 500}},
    {"match": {"userMessage": "refused"}, "response": {"error": {"message": f"bad key {SECRET}"}, "status": 401}},
]


class Aimock:
    def __enter__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.fixtures = tempfile.NamedTemporaryFile("w", suffix=".json")
        json.dump({"fixtures": FIXTURES}, self.fixtures)
        self.fixtures.flush()
        arguments = ["-p", str(self.port), "-f", self.fixtures.name, "--strict", "--validate-on-load", "--log-level", "warn"]
        # aimock itself refuses every other key
        environment = {**os.environ, "AIMOCK_API_KEYS": SECRET}
        self.process = subprocess.Popen(["node", os.environ["AIMOCK"], *arguments], env=environment)
        self.http = self.client()
        until(lambda: self.answers(), "aimock to start")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.fixtures.close()

    def answers(self):
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def entries(self):
        entries = self.http.get("/__aimock/journal").json()
        return [entry for entry in entries if entry["path"].startswith("/v1/")]

    def journal(self):
        """What aimock was asked since `mark`."""
        return self.entries()[self.marked :]

    def mark(self):
        self.marked = len(self.entries())

    def chaos(self, **rates):
        assert self.http.post("/__aimock/chaos", json=rates).status_code == 200

    def calm(self):
        self.http.delete("/__aimock/chaos")

    def streams(self):
        """Connections of others that are open: those that are not this script's own."""
        self.http.close()
        self.http = self.client()
        rows = [row.split() for row in open("/proc/net/tcp").read().splitlines()[1:]]
        return sum(1 for row in rows if row[2].endswith(f":{self.port:04X}") and row[3] == "01")

    def client(self):
        headers = {"authorization": f"Bearer {SECRET}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=DEADLINE_S)


aimock = Aimock()


def configure(api, **more):
    midplane.configure({"base_url": aimock.url(), "api": api, "model": "gpt-4.1-mini", **more})
    aimock.mark()


def ask(text):
    return Session(secret=True).events("threads.create", input=text_input(text))


def error_of(events):
    assert types(events).count("error") == 1 and events[-1]["type"] == "error", types(events)
    assert SECRET not in json.dumps(events), events
    return events[-1]


def both(test):
    def each():
        for api in ("responses", "chat_completions"):
            configure(api, retries=1)
            test(api)

    each.__name__ = test.__name__
    return each


@both
def it_answers_and_sees_the_key(api):
    events = ask("hello")
    assert said(events) == "Hello! How can I help you today?", events
    assert types(events)[-2:] == ["thread.item.done", "thread.updated"]
    assert types(events).count("assistant_message.content_part.text_delta") > 1, "the answer is streamed"
    [entry] = aimock.journal()
    assert entry["path"] == {"responses": "/v1/responses", "chat_completions": "/v1/chat/completions"}[api]
    # Its journal hides the value, but aimock was told to refuse every other key; see `a_wrong_key_is_refused`.
    assert "authorization" in entry["headers"], entry["headers"]


def a_wrong_key_is_refused():
    """By aimock itself: that it answers elsewhere shows that the right key arrives."""
    answer = httpx.post(f"{aimock.url()}/responses", headers={"authorization": "Bearer sk-wrong"}, json={})
    assert answer.status_code == 401, answer.text


@both
def the_conversation_goes_along(api):
    session = Session(secret=True)
    thread_id = session.events("threads.create", input=text_input("hello"))[0]["thread"]["id"]
    session.events("threads.add_user_message", thread_id=thread_id, input=text_input("hello again"))
    body = json.dumps(aimock.journal()[-1]["body"])
    assert "How can I help you today?" in body and "hello again" in body, body


@both
def refusals_are_error_events(api):
    for text, expect, requests in [("limited", "429", 2), ("broken", "500", 2), ("refused", "API key", 2)]:
        aimock.mark()
        error = error_of(ask(text))
        assert expect in error["message"] and error["allow_retry"], error
        assert len(aimock.journal()) == requests, (text, aimock.journal())


@both
def an_answer_cut_short_is_an_error_event(api):
    events = ask("cut")
    assert said(events), "what came before the cut is sent"
    assert error_of(events)["allow_retry"]


@both
def a_connection_that_dies_is_an_error_event(api):
    aimock.chaos(disconnectRate=1)
    try:
        assert error_of(ask("hello"))["allow_retry"]
    finally:
        aimock.calm()
    assert said(ask("hello"))


@both
def leaving_stops_the_request_and_keeps_the_words(api):
    session = Session(secret=True)
    seen = []
    stream = session.stream("threads.create", input=text_input("long"))
    for event in stream:
        seen.append(event)
        if len(said(seen)) > 20:
            break
    assert aimock.streams() == 1
    stream.close()
    until(lambda: aimock.streams() == 0, "the connection to the provider to be closed")
    items = session.json("items.list", thread_id=seen[0]["thread"]["id"], order="asc")["data"]
    assert [item["type"] for item in items] == ["user_message", "assistant_message"], items
    kept = items[1]["content"][0]["text"]
    assert LONG.startswith(kept) and len(kept) >= len(said(seen)) and len(kept) < len(LONG) / 2, kept


with aimock:
    try:
        midplane.run(
            [
                it_answers_and_sees_the_key,
                a_wrong_key_is_refused,
                the_conversation_goes_along,
                refusals_are_error_events,
                an_answer_cut_short_is_an_error_event,
                a_connection_that_dies_is_an_error_event,
                leaving_stops_the_request_and_keeps_the_words,
            ]
        )
    finally:
        midplane.configure({"provider": "echo"})
