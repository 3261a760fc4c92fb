"""The provider behind the examples: answers by what the user's last message says.

    provider.py KEY CONFIG_TOML

Prints the configuration of `[modules.chat.config]` in CONFIG_TOML as JSON, with its own address as `base_url`, and serves until it is
killed. The Responses API's events are those of ../chatkit/provider.py.
"""

import json
import sys
import tomllib
from http.server import ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "chatkit"))
import provider as scripted  # noqa: E402

# By a word of what was said last.
ANSWERS = {
    "weather": [scripted.call("weather", city="Paris")],
    "think": [scripted.reasoning("First I look."), scripted.message("I looked.")],
    "source": [scripted.message(["It is so.", scripted.url("https://example.com/", "Example", 9)])],
    "overload": scripted.Fail(503),
    "break": scripted.Break(scripted.message("Never said."), how="failed"),
    "slowly": scripted.Break(scripted.message("One moment."), how="held"),
}
SESSION = {"id": "cksess_0123456789", "object": "chatkit.session", "status": "active", "client_secret": "ek_0123456789", "user": "local"}


class Script(scripted.Play):
    def next(self, request):
        said = request["input"]
        last = said[-1]
        if last.get("type") == "function_call_output":
            return [scripted.message(f"The tool says {last['output']}")]
        content = last.get("content", "")
        parts = [content] if isinstance(content, str) else [part.get("text", f"<{part['type']}>") for part in content]
        text = " ".join(parts)
        for word, answer in ANSWERS.items():
            if word in text:
                return answer
        return [scripted.message(f"You said: {text}")]


class Handler(scripted.Handler):
    def do_GET(self):
        if not self.has_key():
            return
        model = {"id": "scripted", "object": "model", "created": 1795000000, "owned_by": "examples"}
        self.whole({"object": "list", "data": [model]})

    def do_POST(self):
        if not self.has_key():
            return
        path = self.path.removeprefix("/v1")
        if path == "/responses":
            return super().do_POST()
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if path == "/audio/transcriptions":
            self.whole({"text": "what was dictated"})
        elif path == "/embeddings":
            embedding = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
            self.whole({"object": "list", "model": "scripted", "data": [embedding], "usage": {"prompt_tokens": 2, "total_tokens": 2}})
        elif path == "/chatkit/sessions":
            self.whole(SESSION)
        elif path == f"/chatkit/sessions/{SESSION['id']}/cancel":
            self.whole({**SESSION, "status": "cancelled", "client_secret": None})
        else:
            self.whole({"error": {"message": "no such route", "type": "invalid_request_error", "code": None}}, 404)

    def has_key(self):
        if self.headers["authorization"] == f"Bearer {self.server.key}":
            return True
        self.whole({"error": {"message": "as told", "type": "told", "code": "invalid_api_key"}}, 401)
        return False

    def whole(self, answer, status=200):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)


def main(key, config):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.key, server.play = key, Script()
    settings = tomllib.loads(Path(config).read_text())["modules"]["chat"]["config"]
    print(json.dumps({**settings, "base_url": f"http://127.0.0.1:{server.server_port}/v1"}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
