"""Are the answers of a running kernel what its document says?

MIDPLANE_SOCKET and MIDPLANE_HOST_KEY name the kernel. It has at least one module that needs no secret; what this makes,
it takes away.
"""

import json
import os
import sys

import httpx

from validate import checker


class Conformance:
    def __init__(self, client: httpx.Client):
        self.client = client
        self.document = client.get("/openapi.json").raise_for_status().json()
        self.checked = 0
        self.faults: list[str] = []

    def resolve(self, node: dict) -> dict:
        while "$ref" in node:
            kind, name = node["$ref"].removeprefix("#/components/").split("/")
            node = self.document["components"][kind][name]
        return node

    def ask(self, method: str, template: str, status: int, *, key: str | None = None, code: str | None = None,
            query: dict | None = None, headers: dict | None = None, json_body=None, content=None, **path) -> httpx.Response:
        """Sends one request, and checks the status, the headers and the body against what is described."""
        headers = dict(headers or {})
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        response = self.client.request(method, template.format(**path), params=query, headers=headers,
                                       json=json_body, content=content)
        self.check(f"{method} {template} -> {status} {code or ''}".rstrip(), method, template, status, code, response)
        return response

    def check(self, what: str, method: str, template: str, status: int, code: str | None, response: httpx.Response):
        self.checked += 1

        def fault(text: str):
            self.faults.append(f"{what}: {text} (answer: {response.status_code} {response.text[:300]})")

        if response.status_code != status:
            return fault(f"status {response.status_code}")
        operation = self.document["paths"].get(template, {}).get(method.lower())
        if operation is None:
            # An unknown path, or a method that a path does not have: the form of every problem holds.
            described = self.document["components"]["responses"]["Problem"]
        elif str(status) in operation["responses"]:
            described = self.resolve(operation["responses"][str(status)])
        else:
            return fault("the status is not described")
        if code is not None and f"`{code}`" not in described["description"] and operation is not None:
            fault(f"{code} is not described for this status")
        for name, header in described.get("headers", {}).items():
            header = self.resolve(header)
            value = response.headers.get(name)
            if value is None:
                if header.get("required"):
                    fault(f"the header {name} is missing")
                continue
            typed = int(value) if header["schema"].get("type") == "integer" and value.isdigit() else value
            for error in checker(self.document, header["schema"]).iter_errors(typed):
                fault(f"{name}: {error.message}")
        if not described.get("content"):
            if response.content:
                fault("a body where none is described")
            return None
        media_type = response.headers.get("content-type", "").split(";")[0]
        if media_type not in described["content"]:
            return fault(f"the type {media_type!r} is not described")
        schema = described["content"][media_type].get("schema")
        if schema and media_type.endswith("json"):
            for error in checker(self.document, schema).iter_errors(response.json()):
                fault(f"{'/'.join(map(str, error.absolute_path))}: {error.message}")
        if code is not None:
            problem = response.json()
            expected = {"code": code, "status": status, "type": f"urn:midplane:error:{code.replace('_', '-')}",
                        "instance": response.headers["x-request-id"]}
            for name, value in expected.items():
                if problem.get(name) != value:
                    fault(f"{name} is {problem.get(name)!r}, not {value!r}")
        return None

    def expect(self, what: str, holds: bool):
        self.checked += 1
        if not holds:
            self.faults.append(what)


def main() -> int:
    transport = httpx.HTTPTransport(uds=os.environ["MIDPLANE_SOCKET"])
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=30) as client:
        api = Conformance(client)
        host = os.environ["MIDPLANE_HOST_KEY"]
        the_document(api)
        the_kernel(api, host)
        refusals(api, host)
        sessions(api, host)
        modules(api, host)
        events(api, host)
    print("\n".join(api.faults) or f"{api.checked} answers and statements hold")
    return 1 if api.faults else 0


def the_document(api: Conformance):
    api.ask("GET", "/openapi.json", 200)
    codes = api.document["components"]["schemas"]["Problem"]
    for code in codes["properties"]["code"]["enum"]:
        api.expect(f"{code} is not explained", f"| `{code}` |" in codes["description"])
    api.expect("the version is missing", bool(api.document["info"]["version"]))


def the_kernel(api: Conformance, host: str):
    api.ask("GET", "/health", 200)
    full = api.ask("GET", "/health", 200, key=host).json()
    api.expect("the host is not told the modules", bool(full.get("modules")))
    api.ask("GET", "/metrics", 200, key=host)
    level = api.ask("GET", "/log-level", 200, key=host).json()
    api.ask("PUT", "/log-level", 200, key=host, json_body=level)
    api.ask("PUT", "/log-level", 400, key=host, code="invalid_request", json_body={"filter": "info,=,"})
    api.ask("POST", "/keys/rotate", 200, key=host)
    named = api.ask("GET", "/health", 200, headers={"x-request-id": "mine-1"})
    api.expect("a sane request id is not kept", named.headers["x-request-id"] == "mine-1")
    replaced = api.ask("GET", "/health", 200, headers={"x-request-id": "two words"})
    api.expect("another request id is kept", replaced.headers["x-request-id"] != "two words")


def refusals(api: Conformance, host: str):
    for path, item in api.document["paths"].items():
        for method, operation in item.items():
            if method == "parameters" or {} in operation["security"]:
                continue
            name = {"id": "ses_none", "name": "none"}
            answer = api.ask(method.upper(), path, 401, code="credential_required", **name)
            api.expect(f"{path}: the challenge", answer.headers.get("www-authenticate") == 'Bearer realm="midplane"')
            answer = api.ask(method.upper(), path, 401, key="mph_forged", code="invalid_token", **name)
            api.expect(f"{path}: no-store", answer.headers.get("cache-control") == "no-store")
    api.ask("GET", "/nothing/here", 404, code="not_found")
    answer = api.ask("PATCH", "/sessions", 405, key=host, code="method_not_allowed")
    api.expect("Allow of /sessions", answer.headers.get("allow") == "GET, HEAD, POST, DELETE")
    api.ask("GET", "/health", 403, code="origin_not_allowed", headers={"origin": "https://example.org"})
    api.ask("GET", "/health", 421, code="host_not_allowed", headers={"host": "example.org"})
    api.ask("GET", "/sessions/current", 403, key=host, code="insufficient_scope")
    api.ask("GET", "/sessions", 400, key=host, code="invalid_request", query={"limit": "0"})
    api.ask("GET", "/sessions", 400, key=host, code="invalid_request", query={"page": "1"})
    api.ask("DELETE", "/sessions", 400, key=host, code="invalid_request")
    post = {"key": host, "headers": {"content-type": "application/json"}}
    api.ask("POST", "/sessions", 400, code="invalid_request", content=b"{", **post)
    api.ask("POST", "/sessions", 400, key=host, code="invalid_request", json_body={"modules": []})
    unknown = api.ask("POST", "/sessions", 400, key=host, code="invalid_request", json_body={"colour": 1})
    api.expect("an unknown member is not named", "colour" in unknown.json().get("detail", ""))
    api.ask("POST", "/sessions", 413, code="body_too_large", content=b" " * (1024 * 1024 + 1), **post)
    api.ask("POST", "/sessions", 415, key=host, code="unsupported_media_type", content=b"{}",
            headers={"content-type": "text/plain"})
    api.ask("POST", "/sessions", 422, key=host, code="module_not_loaded", json_body={"modules": ["none"]})
    api.ask("GET", "/sessions/{id}", 404, key=host, code="session_not_found", id="ses_none")
    api.ask("POST", "/sessions/{id}/renew", 404, key=host, code="session_not_found", id="ses_none")


def sessions(api: Conformance, host: str):
    user = "conformance"
    wanted = {"user": user, "scope": "a b", "expires_in": 60, "rate_limit": {"requests_per_minute": 1},
              "metadata": {"window": 1}}
    issued = api.ask("POST", "/sessions", 201, key=host, json_body=wanted)
    if issued.status_code != 201:
        return
    session, secret = issued.json(), issued.json()["client_secret"]
    for name, value in wanted.items():
        api.expect(f"the session's {name} is not what was asked for", session.get(name) == value)
    api.expect("a credential may be stored", issued.headers.get("cache-control") == "no-store")
    listed = api.ask("GET", "/sessions", 200, key=host, query={"limit": "1"})
    api.expect("the newest is not first", listed.json()["data"][0]["id"] == session["id"])
    api.ask("GET", "/sessions", 200, key=host, query={"after": session["id"]})
    one = api.ask("GET", "/sessions/{id}", 200, key=host, id=session["id"])
    api.expect("a token is shown again", secret not in listed.text + one.text)
    api.ask("GET", "/sessions/current", 200, key=secret)
    answer = api.ask("GET", "/modules", 403, key=secret, code="insufficient_scope")
    api.expect("the challenge", 'error="insufficient_scope"' in answer.headers.get("www-authenticate", ""))
    api.ask("GET", "/api/{module}/{path}", 400, key=secret, code="invalid_path", module=session["modules"][0], path="%2e%2e")
    api.ask("GET", "/api/{module}", 403, key=secret, code="insufficient_scope", module="none")
    api.client.get(f"/api/{session['modules'][0]}/nothing", headers={"authorization": f"Bearer {secret}"})
    limited = api.ask("GET", "/api/{module}", 429, key=secret, code="rate_limited", module=session["modules"][0])
    api.expect("no Retry-After", "retry-after" in limited.headers)
    renewed = api.ask("POST", "/sessions/{id}/renew", 200, key=host, id=session["id"], json_body={"expires_in": 90}).json()
    api.ask("DELETE", "/sessions/current", 204, key=renewed["client_secret"])
    api.ask("GET", "/sessions/current", 401, key=secret, code="invalid_token")
    api.ask("POST", "/sessions/{id}/renew", 409, key=host, code="session_ended", id=session["id"])
    api.ask("DELETE", "/sessions/{id}", 204, key=host, id=session["id"])
    api.ask("POST", "/sessions", 201, key=host, json_body={"user": user})
    revoked = api.ask("DELETE", "/sessions", 200, key=host, query={"user": user}).json()
    api.expect("the live one alone is counted", revoked == {"revoked": 1})


def modules(api: Conformance, host: str):
    listed = api.ask("GET", "/modules", 200, key=host).json()["modules"]
    name, path = listed[0]["name"], listed[0]["path"]
    one = {"key": host, "name": name}
    api.ask("GET", "/modules/{name}", 200, **one)
    api.ask("GET", "/modules/{name}", 404, key=host, code="module_not_found", name="none")
    document = api.client.get(f"/modules/{name}/openapi.json", headers={"authorization": f"Bearer {host}"})
    api.check("the module's document", "GET", "/modules/{name}/openapi.json", document.status_code,
              None if document.is_success else "not_found", document)
    api.ask("PUT", "/modules/{name}", 400, code="invalid_request", json_body={"path": "relative.so"}, **one)
    api.ask("PUT", "/modules/{name}", 403, code="module_path_forbidden", json_body={"path": sys.executable}, **one)
    api.ask("PUT", "/modules/{name}", 422, code="module_refused", json_body={"path": path + ".none"}, **one)
    api.ask("POST", "/modules/{name}/reload", 400, code="invalid_request", query={"wait": "long"}, **one)
    swapped = api.ask("POST", "/modules/{name}/reload", 200, query={"wait": "drained"}, **one).json()
    api.expect("the receipt is not whole", swapped.get("drain_ms") is not None)
    # To its end, so that the events are those of what follows.
    api.ask("PUT", "/modules/{name}", 200, query={"wait": "drained"}, json_body={"path": path}, **one)


def events(api: Conformance, host: str):
    key = {"authorization": f"Bearer {host}"}
    with api.client.stream("GET", "/events", headers=key) as stream:
        api.expect("the stream's type", stream.headers["content-type"] == "text/event-stream")
        lines = stream.iter_lines()
        api.expect("the stream does not open with its comment", next(lines) == ": listening")
        api.ask("POST", "/keys/rotate", 200, key=host, json_body={"revoke_previous": True})
        event = json.loads(next(line for line in lines if line.startswith("data:")).removeprefix("data:"))
        api.expect(f"the event {event}", event["type"] == "keys.rotated")
        for error in checker(api.document, {"$ref": "#/components/schemas/Event"}).iter_errors(event):
            api.faults.append(f"the event {event}: {error.message}")


if __name__ == "__main__":
    sys.exit(main())
