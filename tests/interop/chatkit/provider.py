"""An OpenAI-compatible provider that plays what it is told: the Responses API, with the whole objects OpenAI sends."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

serial = count(1)


def message(*parts, refusal=False):
    """An assistant's message; each part is a text, or a list of pieces with annotations among them."""
    return ("message", parts, refusal)


def reasoning(*thoughts):
    return ("reasoning", thoughts)


def call(name, **arguments):
    return ("call", name, arguments)


def url(url, title, end):
    return {"type": "url_citation", "url": url, "title": title, "start_index": 0, "end_index": end}


def file(filename, index):
    return {"type": "file_citation", "file_id": "file_1", "filename": filename, "index": index}


class Play:
    """What the provider does with the next requests, one entry for each; the last entry goes on for ever."""

    def __init__(self):
        self.requests, self.script, self.at = [], [], 0
        self.lock = threading.Lock()

    def set(self, *script):
        self.script, self.at = script, 0

    def next(self, request):
        with self.lock:
            self.requests.append(request)
            entry = self.script[min(self.at, len(self.script) - 1)]
            self.at += 1
            return entry


class Fail:
    """An HTTP status in place of an answer."""

    def __init__(self, status, code=None):
        self.status, self.code = status, code


class Break:
    """An answer that stops: cut, held open until the client leaves, or failed by an event."""

    def __init__(self, *items, how):
        self.items, self.how = items, how


def events_of(items):
    """The events of an answer, the last item's end and the response's own apart."""
    output = []
    for output_index, item in enumerate(items):
        kind = item[0]
        at = {"output_index": output_index}
        if kind == "message":
            _, parts, refusal = item
            id = f"msg_{next(serial):08x}"
            head = {"id": id, "type": "message", "role": "assistant"}
            yield "response.output_item.added", {**at, "item": {**head, "status": "in_progress", "content": []}}
            contents = []
            for content_index, part in enumerate(parts):
                here = {**at, "item_id": id, "content_index": content_index}
                pieces = [part] if isinstance(part, str) else part
                text = "".join(piece for piece in pieces if isinstance(piece, str))
                notes = [piece for piece in pieces if not isinstance(piece, str)]
                empty = {"type": "refusal", "refusal": ""} if refusal else {"type": "output_text", "text": "", "annotations": []}
                yield "response.content_part.added", {**here, "part": empty}
                annotation_index = count()
                for piece in pieces:
                    if not isinstance(piece, str):
                        note = {"annotation_index": next(annotation_index), "annotation": piece}
                        yield "response.output_text.annotation.added", {**here, **note}
                    elif refusal:
                        yield "response.refusal.delta", {**here, "delta": piece}
                    else:
                        yield "response.output_text.delta", {**here, "delta": piece, "logprobs": []}
                if refusal:
                    whole = {"type": "refusal", "refusal": text}
                    yield "response.refusal.done", {**here, "refusal": text}
                else:
                    whole = {"type": "output_text", "text": text, "annotations": notes}
                    yield "response.output_text.done", {**here, "text": text, "logprobs": []}
                yield "response.content_part.done", {**here, "part": whole}
                contents.append(whole)
            done = {**head, "status": "completed", "content": contents}
        elif kind == "reasoning":
            id = f"rs_{next(serial):08x}"
            yield "response.output_item.added", {**at, "item": {"id": id, "type": "reasoning", "summary": []}}
            summary = []
            for summary_index, pieces in enumerate(item[1]):
                pieces = [pieces] if isinstance(pieces, str) else pieces
                here = {**at, "item_id": id, "summary_index": summary_index}
                empty, whole = ({"type": "summary_text", "text": text} for text in ("", "".join(pieces)))
                yield "response.reasoning_summary_part.added", {**here, "part": empty}
                for piece in pieces:
                    yield "response.reasoning_summary_text.delta", {**here, "delta": piece}
                yield "response.reasoning_summary_text.done", {**here, "text": whole["text"]}
                yield "response.reasoning_summary_part.done", {**here, "part": whole}
                summary.append(whole)
            done = {"id": id, "type": "reasoning", "summary": summary}
        else:
            id, arguments = f"fc_{next(serial):08x}", json.dumps(item[2])
            head = {"id": id, "type": "function_call", "call_id": f"call_{item[1]}", "name": item[1]}
            yield "response.output_item.added", {**at, "item": {**head, "arguments": "", "status": "in_progress"}}
            here = {**at, "item_id": id}
            for piece in (arguments[:3], arguments[3:]):
                yield "response.function_call_arguments.delta", {**here, "delta": piece}
            yield "response.function_call_arguments.done", {**here, "arguments": arguments, "name": item[1]}
            done = {**head, "arguments": arguments, "status": "completed"}
        yield "response.output_item.done", {**at, "item": done}
        output.append(done)
    return output


def response(status, output, error=None):
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }
    return {
        "id": f"resp_{next(serial):08x}",
        "object": "response",
        "created_at": 1795000000,
        "model": "scripted",
        "status": status,
        "output": output,
        "error": error,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": False,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage,
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_): ...

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        entry = self.server.play.next(body)
        if isinstance(entry, Fail):
            answer = json.dumps({"error": {"message": "as told", "type": "told", "code": entry.code}}).encode()
            self.send_response(entry.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        self.number = count()
        try:
            self.play(entry)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client left, which some conversations are about

    def play(self, entry):
        self.event("response.created", {"response": response("in_progress", [])})
        items, output = (entry.items if isinstance(entry, Break) else entry), []
        events = events_of(items)
        stop_at = "response.output_text.done" if isinstance(entry, Break) else None
        while True:
            try:
                name, data = next(events)
            except StopIteration as end:
                output = end.value
                break
            if name == stop_at:
                return self.stop(entry.how)
            self.event(name, data)
        if isinstance(entry, Break):
            return self.stop(entry.how)
        self.event("response.completed", {"response": response("completed", output)})

    def stop(self, how):
        if how == "failed":
            error = {"code": "server_error", "message": "as told"}
            self.event("response.failed", {"response": response("failed", [], error)})
        elif how == "held":
            # Comments find out that the client left.
            for _ in range(3000):
                self.wfile.write(b": still there\n\n")
                self.wfile.flush()
                time.sleep(0.01)

    def event(self, name, data):
        data = {"type": name, "sequence_number": next(self.number), **data}
        self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()


class Provider:
    def __init__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.play = self.play = Play()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"
