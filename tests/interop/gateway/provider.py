"""A provider as the tests need it: what it answers is chosen by the model that a request names.

| model | answer |
|---|---|
| any other | the OpenAI answer of the call, whole or streamed, in `WORDS` |
| `tools` | a call of the tool `weather` |
| `status-429` … | that status with an error in OpenAI's shape, and `retry-after-ms: 1` |
| `once-429` … | the same the first time |
| `never-429` … | the same, with `x-should-retry: false` |
| `page-502` | that status with a page of HTML |
| `leak` | 400, with the key in the body and in a header |
| `endless` | the first words, and then nothing more |
| `hang` | no answer |
| `broken`, `cut` | a stream that ends between two events, or within one |
| `flood` | `FLOOD_BYTES` in events of 64 KiB |

`GET /seen` says what it was asked and how far it has come. A request without the key is refused with 401.
"""

import asyncio
import json
import sys

WORDS = ["The ", "words ", "come ", "one ", "by ", "one."]
TEXT = "".join(WORDS)
ARGUMENTS = ['{"city":', ' "Paris"}']
FLOOD_BYTES = 32 << 20
FLOOD_EVENT_BYTES = 64 << 10
# What OpenAI says of every answer.
FIELDS = {
    "openai-organization": "org-test",
    "openai-processing-ms": "7",
    "openai-version": "2020-10-01",
    "x-ratelimit-remaining-requests": "99",
    "set-cookie": "__cf_bm=1; path=/",
}


class Provider:
    def __init__(self, key):
        self.key = key
        self.requests = []
        self.failed_once = set()
        self.flooded = 0
        self.left = 0

    async def serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *fields = head.strip().split("\r\n")
            method, path, _ = line.split(" ")
            headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
            body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or "{}")
            if path == "/seen":
                seen = {"requests": self.requests, "flooded": self.flooded, "left": self.left}
                return await self.whole(writer, 200, seen)
            self.requests.append({"method": method, "path": path, "headers": headers, "body": body})
            answer = asyncio.create_task(self.answer(writer, method, path, headers, body))
            # The end of what the client sends, in the middle of an answer, is its leaving.
            left = asyncio.create_task(reader.read(1))
            await asyncio.wait([answer, left], return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                self.left += 1
                answer.cancel()
            left.cancel()
            await asyncio.gather(answer, left, return_exceptions=True)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, writer, method, path, headers, body):
        if headers.get("authorization") != f"Bearer {self.key}":
            return await self.refuse(writer, 401, f"Incorrect API key provided: {self.key[:8]}***{self.key[-4:]}.")
        path, model = path.partition("?")[0], body.get("model", "")
        kind, _, status = model.partition("-")
        if kind in ("status", "once", "never") and model not in self.failed_once:
            if kind == "once":
                self.failed_once.add(model)
            more = {"retry-after-ms": "1", **({"x-should-retry": "false"} if kind == "never" else {})}
            return await self.refuse(writer, int(status), f"as asked: {status}", more)
        if kind == "page":
            return await self.send(writer, int(status), "text/html", b"<h1>Bad gateway</h1>")
        if model == "leak":
            return await self.refuse(writer, 400, f"you sent {self.key}", {"x-you-sent": f"Bearer {self.key}"})
        if model == "hang":
            await asyncio.Event().wait()
        route = (method, path.removeprefix("/v1"))
        if route == ("POST", "/chat/completions"):
            if body.get("stream"):
                return await self.stream(writer, model, completion_chunks(body))
            return await self.whole(writer, 200, completion(body))
        if route == ("POST", "/responses"):
            if body.get("stream"):
                return await self.stream(writer, model, response_events(body))
            return await self.whole(writer, 200, response(body, "completed"))
        if route == ("POST", "/embeddings"):
            return await self.whole(writer, 200, embeddings(body))
        if route == ("GET", "/models"):
            return await self.whole(writer, 200, {"object": "list", "data": [model_named("tiny"), model_named("org/large")]})
        if route == ("GET", "/models/org%2Flarge"):
            return await self.whole(writer, 200, model_named("org/large"))
        if method == "GET" and route[1] == "/responses/resp_1/input_items":
            return await self.whole(writer, 200, {"object": "list", "data": [], "has_more": False})
        if route[1] == "/responses/resp_1/cancel":
            return await self.whole(writer, 200, response({"model": "tiny"}, "cancelled"))
        if route == ("DELETE", "/responses/resp_1"):
            return await self.whole(writer, 200, {"id": "resp_1", "object": "response", "deleted": True})
        if route == ("GET", "/responses/resp_1"):
            return await self.whole(writer, 200, response({"model": "tiny"}, "completed"))
        await self.refuse(writer, 404, f"Invalid URL ({method} {path})")

    async def refuse(self, writer, status, message, more=None):
        error = {"message": message, "type": "test_error", "param": "model", "code": f"test_{status}"}
        await self.whole(writer, status, {"error": error}, more)

    async def whole(self, writer, status, body, more=None):
        await self.send(writer, status, "application/json", json.dumps(body).encode(), more)

    async def send(self, writer, status, kind, body, more=None):
        self.head(writer, status, {"content-type": kind, "content-length": len(body), **(more or {})})
        writer.write(body)
        await writer.drain()

    def head(self, writer, status, fields):
        fields = {"x-request-id": f"req_{len(self.requests)}", "connection": "close", **FIELDS, **fields}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {status} As Asked\r\n{lines}\r\n".encode())

    async def stream(self, writer, model, events):
        self.head(writer, 200, {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"})
        if model == "flood":
            chunk = {**completion_chunk({"model": model}), "choices": [choice({"content": "x" * FLOOD_EVENT_BYTES})]}
            event = f"data: {json.dumps(chunk)}\n\n"
            while self.flooded < FLOOD_BYTES:
                await self.piece(writer, event)
                self.flooded += FLOOD_EVENT_BYTES
            events = ["data: [DONE]\n\n"]
        for number, event in enumerate(events):
            if number == 3 and model in ("endless", "broken", "cut"):
                if model == "endless":
                    await asyncio.Event().wait()
                if model == "cut":
                    await self.piece(writer, event[: len(event) // 2])
                raise ConnectionResetError
            await self.piece(writer, event)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def piece(self, writer, text):
        text = text.encode()
        writer.write(b"%x\r\n%s\r\n" % (len(text), text))
        await writer.drain()


def model_named(name):
    return {"id": name, "object": "model", "created": 1, "owned_by": "tests"}


def choice(delta, finish_reason=None):
    return {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}


def completion_chunk(body):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}


USAGE = {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}


def tool_call():
    return {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "".join(ARGUMENTS)}}


def completion(body):
    message = {"role": "assistant", "content": TEXT, "refusal": None}
    reason = "stop"
    if body["model"] == "tools":
        message, reason = {"role": "assistant", "content": None, "tool_calls": [tool_call()]}, "tool_calls"
    choices = [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}]
    return {**completion_chunk(body), "object": "chat.completion", "choices": choices, "usage": USAGE}


def completion_chunks(body):
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in WORDS)]
    reason = "stop"
    if body["model"] == "tools":
        first = {"index": 0, **tool_call(), "function": {"name": "weather", "arguments": ""}}
        parts = [{"index": 0, "function": {"arguments": part}} for part in ARGUMENTS]
        deltas = [{"role": "assistant", "content": None, "tool_calls": [first]}, *({"tool_calls": [part]} for part in parts)]
        reason = "tool_calls"
    choices = [[choice(delta)] for delta in deltas] + [[choice({}, reason)]]
    chunks = [{**completion_chunk(body), "choices": choices} for choices in choices]
    if body.get("stream_options", {}).get("include_usage"):
        chunks.append({**completion_chunk(body), "choices": [], "usage": USAGE})
    return [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]


def output(body, text):
    if body["model"] == "tools":
        call = {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "weather"}
        return {**call, "arguments": "".join(ARGUMENTS)}
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def response(body, status):
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": body["model"], "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 1.0,
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "output": [output(body, TEXT)] if status == "completed" else [],
        "usage": {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 6,
                  "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 9},
    }  # fmt: skip


def response_events(body):
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = [("response.created", {"response": response(body, "in_progress")})]
    events.append(("response.output_item.added", {"output_index": 0, "item": {**output(body, ""), "status": "in_progress"}}))
    if body["model"] == "tools":
        call = {"item_id": "fc_1", "output_index": 0}
        events += [("response.function_call_arguments.delta", {**call, "delta": part}) for part in ARGUMENTS]
        events.append(("response.function_call_arguments.done", {**call, "name": "weather", "arguments": "".join(ARGUMENTS)}))
    else:
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        events.append(("response.content_part.added", {**at, "part": part}))
        events += [("response.output_text.delta", {**at, "delta": word, "logprobs": []}) for word in WORDS]
        events.append(("response.output_text.done", {**at, "text": TEXT, "logprobs": []}))
        events.append(("response.content_part.done", {**at, "part": {**part, "text": TEXT}}))
    events.append(("response.output_item.done", {"output_index": 0, "item": output(body, TEXT)}))
    events.append(("response.completed", {"response": response(body, "completed")}))
    numbered = ({"type": kind, "sequence_number": number, **event} for number, (kind, event) in enumerate(events))
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in numbered]


def embeddings(body):
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    data = [{"object": "embedding", "index": index, "embedding": [0.5, float(index)]} for index, _ in enumerate(texts)]
    return {"object": "list", "model": body["model"], "data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}


async def main(key):
    provider = Provider(key)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
