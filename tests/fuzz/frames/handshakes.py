"""The requests that open a WebSocket, right and wrong: RFC 6455 section 4.2.1 on top of HTTP/1.1.

A mutation comes with the statuses that are right for it; 0 stands for a connection that ends without an answer, as for what
is no HTTP at all. Wherever 101 is among them, the answer's own fields are checked.
"""

import base64
import hashlib
from dataclasses import dataclass

OPENED = 101
# Appended to the key, section 1.3.
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Any refusal of a client's mistake. Never a 5xx: no request is the kernel's fault.
REFUSED = frozenset({0, 400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 421, 426, 429, 431, 505})


@dataclass
class Handshake:
    name: str
    octets: bytes
    statuses: frozenset
    key: bytes


class Request:
    """A right one, until somebody changes it."""

    def __init__(self, rng, route, token):
        self.method, self.target, self.version = "GET", route, "HTTP/1.1"
        self.key = base64.b64encode(rng.randbytes(16)).decode()
        self.fields = {
            "Host": "localhost",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": self.key,
            "Sec-WebSocket-Version": "13",
            "Authorization": f"Bearer {token}",
        }
        self.body = b""

    def octets(self):
        lines = [f"{self.method} {self.target} {self.version}"]
        for name, values in self.fields.items():
            lines += [f"{name}: {value}" for value in ([values] if isinstance(values, str) else values)]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def with_field(name, value):
    return lambda request, rng: request.fields.update({name: value})


def without(name):
    return lambda request, rng: request.fields.pop(name)


def attribute(name, value):
    return lambda request, rng: setattr(request, name, value)


def many_fields(request, rng):
    request.fields.update({f"X-{n}": "x" for n in range(rng.choice([101, 300]))})


def names_in_another_case(request, rng):
    request.fields = {rng.choice([str.lower, str.upper])(name): value for name, value in request.fields.items()}


def fields_in_another_order(request, rng):
    names = list(request.fields)
    rng.shuffle(names)
    request.fields = {name: request.fields[name] for name in names}


RIGHT = frozenset({OPENED})
# Name, what it does, and the statuses it may have.
MUTATIONS = [
    ("names in another case", names_in_another_case, RIGHT),
    ("fields in another order", fields_in_another_order, RIGHT),
    ("a value in another case", with_field("Upgrade", "WebSocket"), RIGHT),
    ("Connection lists more", with_field("Connection", "keep-alive, Upgrade"), RIGHT),
    ("Upgrade lists more", with_field("Upgrade", "websocket, h2c"), RIGHT | {400, 426}),
    ("offers an extension", with_field("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"), RIGHT),
    ("offers nonsense as extension", with_field("Sec-WebSocket-Extensions", "x; y=\"z"), RIGHT | {400}),
    ("a query", lambda request, rng: setattr(request, "target", request.target + "?a=b&a=%00"), RIGHT | {400}),
    ("no Upgrade", without("Upgrade"), frozenset({400, 426})),
    ("another protocol", with_field("Upgrade", "h2c"), frozenset({400, 426})),
    ("no Connection", without("Connection"), frozenset({400, 426})),
    ("Connection without Upgrade", with_field("Connection", "keep-alive"), frozenset({400, 426})),
    ("no key", without("Sec-WebSocket-Key"), frozenset({400})),
    ("an empty key", with_field("Sec-WebSocket-Key", ""), frozenset({400})),
    ("a key of 15 bytes", with_field("Sec-WebSocket-Key", base64.b64encode(bytes(15)).decode()), frozenset({400})),
    ("a key that is not base64", with_field("Sec-WebSocket-Key", "*" * 24), frozenset({400})),
    ("two keys", with_field("Sec-WebSocket-Key", [base64.b64encode(bytes(16)).decode()] * 2), frozenset({400})),
    ("no version", without("Sec-WebSocket-Version"), frozenset({400, 426})),
    ("version 8", with_field("Sec-WebSocket-Version", "8"), frozenset({400, 426})),
    ("version 13.0", with_field("Sec-WebSocket-Version", "13.0"), frozenset({400, 426})),
    ("POST", attribute("method", "POST"), frozenset({400, 405})),
    ("HEAD", attribute("method", "HEAD"), frozenset({400, 405, 426})),
    ("HTTP/1.0", attribute("version", "HTTP/1.0"), frozenset({0, 400, 426, 505})),
    ("HTTP/2.0", attribute("version", "HTTP/2.0"), frozenset({0, 400, 505})),
    ("no credential", without("Authorization"), frozenset({401})),
    ("a forged credential", with_field("Authorization", "Bearer mpt_forged"), frozenset({401})),
    ("another scheme", with_field("Authorization", "Basic eDp5"), frozenset({400, 401})),
    ("an origin", with_field("Origin", "https://example.org"), frozenset({403})),
    ("a foreign host", with_field("Host", "example.org"), frozenset({421})),
    ("a route that is not there", attribute("target", "/api/sockets/nothing"), frozenset({404})),
    ("a module that is not there", attribute("target", "/api/nothing/echo"), frozenset({403, 404})),
    ("a long field", with_field("X-Long", "x" * 20_000), frozenset({431})),
    ("many fields", many_fields, frozenset({400, 431})),
]


def handshake(rng, route, token):
    """One handshake: a mutated one, a right one with some of its bytes changed, or the first part of one."""
    request = Request(rng, route, token)
    kind = rng.choices(["mutated", "changed", "half", "right"], [40, 30, 10, 20])[0]
    if kind == "right":
        return Handshake("right, and nothing behind it", request.octets(), RIGHT, request.key.encode())
    if kind == "mutated":
        name, change, statuses = rng.choice(MUTATIONS)
        change(request, rng)
        return Handshake(name, request.octets(), statuses, request.key.encode())
    octets = request.octets()
    if kind == "half":
        return Handshake("half a handshake", octets[: rng.randrange(len(octets))], frozenset({0, 400, 408}), b"")
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(octets))
        more = rng.choice([b"", rng.randbytes(1), b"\r\n", b"\0", b"\x7f", octets[at : at + 9]])
        octets = octets[:at] + more + octets[at + rng.randrange(2) :]
    # It may still be right, or a right request for something else, or wait for more of itself.
    return Handshake("bytes changed", octets, REFUSED | {OPENED, 200}, b"")


def right(rng, route, token):
    request = Request(rng, route, token)
    return Handshake("right", request.octets(), RIGHT, request.key.encode())


def accept(key):
    return base64.b64encode(hashlib.sha1(key + MAGIC).digest())
