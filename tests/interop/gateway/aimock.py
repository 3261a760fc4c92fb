"""@copilotkit/aimock as the provider: what OpenAI's SDK gets of it through the gateway is what it gets without it."""

import json
import os
import socket
import subprocess
import sys
import tempfile

import httpx2
import openai
from openai import DefaultHttpxClient, OpenAI

from kernel import BASE_URL, DEADLINE_S, SECRET, SOCKET, configure, issue, run, until

TOOL_CALL = {"name": "weather", "arguments": '{"city":"Paris"}'}
FIXTURES = [
    {"match": {"userMessage": "hello"}, "response": {"content": "Hello! How can I help you today?"}},
    {"match": {"userMessage": "weather"}, "response": {"toolCalls": [TOOL_CALL]}},
    {"match": {"userMessage": "limited"}, "response": {"error": {"message": f"slow down {SECRET}"}, "status": 429}},
    {"match": {"userMessage": "broken"}, "response": {"error": {"message": f"oops {SECRET}"}, "status": 500}},
    {"match": {"inputText": "hello"}, "response": {"embedding": [0.5, 0.25]}},
]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}


class Aimock:
    def __enter__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.fixtures = tempfile.NamedTemporaryFile("w", suffix=".json")
        json.dump({"fixtures": FIXTURES}, self.fixtures)
        self.fixtures.flush()
        program = f"{os.environ['NODE_PATH_DIR']}/node_modules/.bin/llmock"
        arguments = ["-p", str(self.port), "-f", self.fixtures.name, "--strict", "--validate-on-load", "--log-level", "warn"]
        # It refuses every other key.
        environment = {**os.environ, "AIMOCK_API_KEYS": SECRET}
        self.process = subprocess.Popen(["node", program, *arguments], env=environment)
        until(self.answers, "aimock to start")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.fixtures.close()

    def answers(self):
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/health").status_code == 200
        except httpx2.TransportError:
            return False

    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"


def through_the_gateway():
    http = DefaultHttpxClient(transport=httpx2.HTTPTransport(uds=SOCKET))
    return OpenAI(base_url=BASE_URL, api_key=TOKEN, http_client=http, max_retries=0, timeout=DEADLINE_S)


def without_it():
    return OpenAI(base_url=aimock.url(), api_key=SECRET, max_retries=0, timeout=DEADLINE_S)


def same(call):
    """What both clients get, but for ids and times."""

    def plain(value):
        if isinstance(value, dict):
            return {name: plain(part) for name, part in value.items() if name not in ("id", "item_id", "call_id", "created", "created_at")}
        return [plain(part) for part in value] if isinstance(value, list) else value

    answers = []
    for client in (without_it, through_the_gateway):
        with client() as ai:
            got = call(ai)
            answers.append(plain([part.to_dict() for part in got] if isinstance(got, list) else got.to_dict()))
    assert answers[0] == answers[1], answers
    assert answers[0], "it answers"


def said(text):
    return [{"role": "user", "content": text}]


def completions_are_the_same():
    tools = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
    for text in ("hello", "weather"):
        same(lambda ai: ai.chat.completions.create(model="gpt-4.1-mini", messages=said(text), tools=tools))
        same(lambda ai: list(ai.chat.completions.create(model="gpt-4.1-mini", messages=said(text), tools=tools, stream=True)))


def responses_are_the_same():
    tools = [{"type": "function", "name": "weather", "parameters": PARAMETERS}]
    for text in ("hello", "weather"):
        same(lambda ai: ai.responses.create(model="gpt-4.1-mini", input=text, tools=tools))
        same(lambda ai: list(ai.responses.create(model="gpt-4.1-mini", input=text, tools=tools, stream=True)))


def embeddings_and_models_are_the_same():
    same(lambda ai: ai.embeddings.create(model="text-embedding-3-small", input="hello", encoding_format="float"))
    same(lambda ai: list(ai.models.list()))


def refusals_are_the_same_but_for_the_key():
    for text, kind in (("limited", openai.RateLimitError), ("broken", openai.InternalServerError), ("unheard of", None)):
        errors = []
        for client in (without_it, through_the_gateway):
            with client() as ai:
                try:
                    ai.chat.completions.create(model="gpt-4.1-mini", messages=said(text))
                    raise AssertionError("no error")
                except openai.APIStatusError as error:
                    errors.append((type(error), error.status_code, json.dumps(error.body)))
        assert kind in (None, errors[0][0]), errors
        assert errors[1] == (*errors[0][:2], errors[0][2].replace(SECRET, "*" * len(SECRET))), errors


with Aimock() as aimock:
    try:
        configure({"provider": "openai", "base_url": aimock.url(), "model": "gpt-4.1-mini"})
        TOKEN = issue()
        passed = run([completions_are_the_same, responses_are_the_same, embeddings_and_models_are_the_same, refusals_are_the_same_but_for_the_key])
    finally:
        configure({"provider": "echo"})
sys.exit(not passed)
