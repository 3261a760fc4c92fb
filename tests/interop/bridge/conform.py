"""Is the bridge of a running kernel what sdk/node/protocol.json says?

    python conform.py OPENRPC-META-SCHEMA

MIDPLANE_SOCKET and MIDPLANE_HOST_KEY name the kernel, which has the module hello; this ends it.
"""

import json
import os
import re
import socket
import sys
from pathlib import Path

import jsonschema

SOURCE = Path(__file__).parents[3] / "sdk/node/protocol.json"


class Bridge:
    """A host's side, which judges every message."""

    def __init__(self, description: dict):
        self.methods = {method["name"]: method for method in description["methods"]}
        self.errors = description["components"]["errors"]
        self.components = closed(description["components"])
        self.faults: list[str] = []
        self.seen: set[str] = set()
        self.next_id = 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(os.environ["MIDPLANE_SOCKET"])
        head = ["GET /bridge HTTP/1.1", "host: localhost", "connection: Upgrade", "upgrade: jsonrpc",
                f"authorization: Bearer {os.environ['MIDPLANE_HOST_KEY']}", "", ""]
        self.socket.sendall("\r\n".join(head).encode())
        self.stream = self.socket.makefile("rb")
        status = self.stream.readline()
        assert b" 101 " in status, status
        self.header()

    def header(self) -> dict[str, str] | None:
        lines = iter(self.stream.readline, b"\r\n")
        fields = {}
        for line in lines:
            if not line:
                return None
            name, _, value = line.decode().partition(":")
            fields[name.lower()] = value.strip()
        return fields

    def receive(self) -> dict | None:
        fields = self.header()
        return fields and json.loads(self.stream.read(int(fields["content-length"])))

    def send(self, **message):
        text = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(text), text))

    def judge(self, what: str, schema: dict, value):
        validator = jsonschema.Draft7Validator({**schema, "components": self.components})
        self.faults += [f"{what}: {error.json_path}: {error.message} in {json.dumps(value)[:300]}"
                        for error in validator.iter_errors(value)]

    def told(self, message: dict):
        """What the kernel says or asks by itself."""
        name, params = message["method"], message.get("params", {})
        method = self.methods.get(name)
        if method is None or method["x-direction"] == "host-to-kernel":
            return self.faults.append(f"{name} is not described")
        self.seen.add(params["type"] if name == "event" else name)
        self.judge(name, method["x-params"], params)
        if name == "secret/get":
            known = params["secret_key_id"] != "unknown"
            error = {"code": self.errors["SecretNotFound"]["code"], "message": "there is no such key"}
            result = {"secret": "sk-interop"}
            self.judge("secret/get result", method["result"]["schema"], result)
            self.send(id=message["id"], **({"result": result} if known else {"error": error}))

    def ask(self, name: str, error: str | None = None, /, **params) -> dict | None:
        """Calls a method, and judges what comes until its answer, which is one of its errors where one is named."""
        method = self.methods[name]
        if error is None and "x-params" in method:
            self.judge(f"{name} params", method["x-params"], params)
        self.next_id += 1
        self.send(id=self.next_id, method=name, params=params)
        while (message := self.receive()) is not None:
            if "method" in message:
                self.told(message)
                continue
            assert message["id"] == self.next_id, message
            self.seen.add(name)
            return self.answered(name, method, error, message)
        self.faults.append(f"{name}: the bridge ended")

    def answered(self, name: str, method: dict, error: str | None, message: dict) -> dict | None:
        if error is None and "result" in message:
            self.judge(f"{name} result", method["result"]["schema"], message["result"])
            return message["result"]
        found = message.get("error", {})
        if error is None or found.get("code") != self.errors[error]["code"]:
            return self.faults.append(f"{name}: {error or 'a result'} is not {message}")
        if {"$ref": f"#/components/errors/{error}"} not in method["errors"]:
            self.faults.append(f"{name}: {error} is not described")
        if "data" in self.errors[error] and "data" in found:
            self.judge(f"{name} {error}", self.errors[error]["data"], found["data"])

    def wait_for(self, kind: str):
        while kind not in self.seen:
            self.told(self.receive())


def closed(node):
    """Members that are not described are faults, of events too."""
    if isinstance(node, list):
        return [closed(member) for member in node]
    if not isinstance(node, dict):
        return node
    node = {name: closed(member) for name, member in node.items()}
    if "properties" in node and node.get("type") == "object":
        node["additionalProperties"] = False
    return node


def walk(bridge: Bridge):
    bridge.told(bridge.receive())
    host = {"client": {"name": "interop", "version": "1", "instance": "a"}, "protocol": 1}
    bridge.ask("initialize", **host, capabilities={"secrets": True, "events": True, "log": "info"})
    bridge.ask("initialize", "InvalidRequest", **host)
    modules = bridge.ask("module/list")
    path = next(module["path"] for module in modules["modules"] if module["name"] == "hello")
    session = bridge.ask("session/create", secret_key_id="interop", modules=["hello"], environment="dev", user="ada",
                         scope="read", expires_in=60, rate_limit={"requests_per_minute": 5}, metadata={"window": 1})
    bridge.ask("session/create", "Refused", secret_key_id="unknown", modules=["hello"])
    bridge.ask("session/create", "InvalidParams", sekret_key_id="x")
    bridge.ask("session/renew", id=session["id"], expires_in=30)
    bridge.ask("session/renew", "Refused", id="ses_nobody")
    bridge.ask("secret/changed", secret_key_id="interop")
    bridge.ask("session/revoke", id=session["id"])
    bridge.ask("module/load", name="hello", path=path, config={}, wait="drained")
    bridge.ask("module/load", "Refused", name="other", path="/nonexistent/other.so")
    bridge.ask("module/reload", name="hello", wait="drained")
    bridge.ask("module/reload", "Refused", name="nobody")
    bridge.ask("module/unload", name="hello", drain_ms=100)
    bridge.ask("module/list")
    for kind in ("session.issued", "session.revoked", "module.swapped", "module.unloaded", "log"):
        bridge.wait_for(kind)
    bridge.ask("shutdown")


def main() -> int:
    description = json.loads(SOURCE.read_text())
    # It means draft 7, of which it names a copy elsewhere.
    draft7 = "http://json-schema.org/draft-07/schema"
    meta = json.loads(re.sub(r"https://meta\.json-schema\.tools/?(#/definitions/JSONSchema(Object)?)?", f"{draft7}#",
                             Path(sys.argv[1]).read_text()))
    faults = [f"protocol.json: {error.json_path}: {error.message[:300]}"
              for error in jsonschema.Draft7Validator(meta).iter_errors(description)]
    bridge = Bridge(description)
    walk(bridge)
    faults += bridge.faults
    untried = {method["name"] for method in description["methods"]} - bridge.seen - {"event", "$/cancelRequest"}
    faults += [f"{name} was not tried" for name in sorted(untried)]
    print("\n".join(faults) or f"as described: {', '.join(sorted(bridge.seen))}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
