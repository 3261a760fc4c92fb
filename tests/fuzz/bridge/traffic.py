"""What a host sends that no one would want: pieces of bytes, out of a random number generator."""

import json

from peer import framed

# Not in any answer, and in no line of the log.
CANARY = "sk-canary-0123456789"
METHODS = ["session/create", "session/renew", "session/revoke", "module/list", "module/load", "module/reload", "secret/changed", "initialize", "$/cancelRequest", "ready", "secret/get", "event", "nothing"]
ODD = [None, True, 0, -1, 1.5, 1e300, 2**63, "", "x", "\u0000", "\ud800", "k" * 300, [], {}, [[[]]], {"a": {"a": {}}}, CANARY]


def value(rng):
    return rng.choice(ODD)


def identity(rng):
    return rng.choice([rng.randrange(40), str(rng.randrange(5)), value(rng)])


def params(rng, method):
    right = {
        "session/create": {"secret_key_id": rng.choice(["steady", "k1", "k2", f"k{rng.randrange(100)}"]), "expires_in": 60},
        "session/renew": {"id": "ses_0123456789012345678901"},
        "session/revoke": {"id": "ses_0123456789012345678901"},
        "module/load": {"name": rng.choice(["slow", "other", "../x"]), "path": "/nonexistent.so"},
        "module/reload": {"name": rng.choice(["other", "slow/../slow", ""])},
        "secret/changed": {"secret_key_id": rng.choice(["steady", "k1", "other"])},
        "initialize": {"client": {"name": "again", "version": "1"}, "protocol": rng.choice([1, 1, 2, 0])},
        "$/cancelRequest": {"id": rng.randrange(40)},
    }.get(method, {})
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        right[rng.choice(["id", "name", "user", "metadata", "extra", "secret_key_id", *right])] = value(rng)
    return rng.choice([right, right, right, right, value(rng)])


def request(rng):
    # Answers to `shutdown` would be right, and the end of it all.
    method = rng.choice(METHODS)
    message = {"jsonrpc": "2.0", "method": method, "params": params(rng, method)}
    if rng.random() < 0.8:
        message["id"] = identity(rng)
    if rng.random() < 0.05:
        message[rng.choice(["jsonrpc", "method", "result", "error"])] = value(rng)
    if rng.random() < 0.1:
        del message["params"]
    return message


def answer(rng, number):
    """To the kernel's question of this number, or to none."""
    outcomes = [
        {"result": {"secret": CANARY}},
        {"result": {"secret": CANARY + rng.choice(["\n", " ", "\u00f6", "x" * 5000])}},
        {"result": value(rng)},
        {"result": {"secret": value(rng)}},
        {"error": {"code": rng.choice([-32001, -32002, -32603, 0, 2**40]), "message": rng.choice(["no", "", "w" * 3000, "\u001b[31m"])}},
        {"error": value(rng)},
        {"result": 1, "error": {"code": 1, "message": "both"}},
        {},
    ]
    return {"jsonrpc": "2.0", "id": rng.choice([number, number, number, number + 1, str(number), value(rng)]), **rng.choice(outcomes)}


def mutated(rng, octets):
    octets = bytearray(octets)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(octets) or 1)
        kind = rng.randrange(4)
        if kind == 0 and octets:
            octets[at] = rng.randrange(256)
        elif kind == 1:
            del octets[at : at + rng.randrange(1, 20)]
        elif kind == 2:
            octets[at:at] = rng.randbytes(rng.randrange(1, 20))
        else:
            octets[at:at] = octets[: rng.randrange(len(octets) + 1)]
    return bytes(octets)


def header(rng):
    return rng.choice(
        [
            b"Content-Length: 99999999999999999999\r\n\r\n",
            b"Content-Length: 1048577\r\n\r\n",
            b"Content-Length: 1048576\r\n\r\n",
            b"Content-Length: -1\r\n\r\n",
            b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
            b"Content-Type: x; charset=utf-7\r\nContent-Length: 2\r\n\r\n{}",
            b"X: " + b"x" * 5000,
            b"\r\n\r\n",
            rng.randbytes(rng.randrange(200)),
        ]
    )


def octets(rng):
    """The next bytes; most of them leave the bridge open."""
    kind = rng.random()
    if kind < 0.70:
        return framed(request(rng))
    if kind < 0.80:
        return framed(answer(rng, rng.randrange(1, 60)))
    if kind < 0.90:
        # The frame is right, what is in it is not.
        return framed(mutated(rng, json.dumps(request(rng)).encode()))
    if kind < 0.94:
        return framed(rng.choice([b"", b"[]", b"[" * 5000, b'{"a":' * 5000, b"\xff" * 100, b'"' + b"x" * 200_000 + b'"']))
    if kind < 0.97:
        return mutated(rng, framed(request(rng)))
    return header(rng)
