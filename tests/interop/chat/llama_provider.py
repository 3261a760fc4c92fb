"""llama.cpp's own server as the provider, with a small model: what it streams arrives and is counted, through both APIs."""

import json
import os
import re
import subprocess

import httpx

import midplane
from midplane import DEADLINE_S, HOST_KEY, SECRET, Session, client, said, text_input, types

OUTPUT_TOKENS = 8


class Llama:
    """The model knows no manners: what it says is nonsense, and only that it says something is looked at."""

    def __enter__(self):
        arguments = [os.environ["LLAMA_PYTHON"], "-B", os.path.join(os.path.dirname(__file__), "llama_server.py"), os.environ["LLAMA_MODEL"]]
        environment = {**os.environ, "LLAMA_KEY": SECRET}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(arguments, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        # The library prints as well. The end of what it prints is the end of the process.
        lines = (line.split() for line in self.process.stdout)
        [self.address] = next(line[1:] for line in lines if line[:1] == ["address"])
        self.http = httpx.Client(base_url=self.address, headers={"authorization": f"Bearer {SECRET}"}, timeout=DEADLINE_S)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def is_busy(self):
        return any(slot["is_processing"] for slot in self.http.get("/slots").json())


llama = Llama()


def both(test):
    def each():
        for api in ("responses", "chat_completions"):
            test(api)

    each.__name__ = test.__name__
    return each


def configure(api, **more):
    midplane.configure({"base_url": f"{llama.address}/v1", "api": api, "model": "gemma", "retries": 0, **more})


def ask(session, text):
    return session.events("threads.create", input=text_input(text))


def error_of(events):
    assert types(events).count("error") == 1 and events[-1]["type"] == "error", types(events)
    return events[-1]


def tokens(kind):
    """What GET /metrics shows of this kind, and how much of it for sessions that live."""
    with client(HOST_KEY) as host:
        text = host.get("/metrics").text

    def total(family):
        lines = [line for line in text.splitlines() if line.startswith(family + "{")]
        lines = [line for line in lines if f'kind="{kind}"' in line and 'model="gemma"' in line]
        return sum(int(re.fullmatch(r".*} (\d+)", line)[1]) for line in lines)

    return total("midplane_module_chat_tokens_total"), total("midplane_module_chat_tokens_by_session_total")


@both
def it_answers_and_what_it_costs_is_counted(api):
    configure(api, max_output_tokens=OUTPUT_TOKENS)
    before = tokens("output"), tokens("input")
    events = ask(Session(secret=True), "Once upon a time")
    assert said(events), types(events)
    assert "thread.item.done" in types(events) and "error" not in types(events), types(events)
    # Two modules at most share a kernel's numbers here; process isolation hands them on a moment later.
    midplane.until(lambda: tokens("output")[0] == before[0][0] + OUTPUT_TOKENS, "the output to be counted")
    assert tokens("output")[1] == before[0][1] + OUTPUT_TOKENS, tokens("output")
    assert tokens("input")[0] > before[1][0], tokens("input")


@both
def a_key_that_is_missing_is_asked_for(api):
    configure(api, provider="openai", requires_key=False)
    error = error_of(ask(Session(), "hello"))
    assert "requires_key" in error["message"], error


@both
def a_conversation_that_is_too_long_is_told_as_such(api):
    configure(api)
    error = error_of(ask(Session(secret=True), "word " * 900))
    assert "too long" in error["message"] and not error["allow_retry"], error


@both
def leaving_stops_the_model(api):
    configure(api)
    stream = Session(secret=True).stream("threads.create", input=text_input("Once upon a time"))
    seen = []
    for event in stream:
        seen.append(event)
        if said(seen):
            break
    else:
        raise AssertionError(f"the model said nothing: {json.dumps(seen)}")
    stream.close()
    midplane.until(lambda: not llama.is_busy(), "the model to stop")


with llama:
    try:
        midplane.run(
            [
                it_answers_and_what_it_costs_is_counted,
                a_key_that_is_missing_is_asked_for,
                a_conversation_that_is_too_long_is_told_as_such,
                leaving_stops_the_model,
            ]
        )
    finally:
        midplane.configure({"provider": "echo"})
