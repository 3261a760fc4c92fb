"""What clients send after the handshake: frames right and wrong, and bytes that were frames once.

Everything comes out of the `random.Random` that is handed in. Nothing here says what an endpoint should make of it: that is
judge.py's business.
"""

from judge import BINARY, CLOSE, CONTINUATION, CONTROL_BYTES_MAX, DATA, PING, PONG, TEXT, unmask

LETTERS = "aé€𝄞\0 κ\uffff"
# Texts that are none: section 8.1, and what Autobahn's cases 6.* try.
NOT_UTF8 = [
    b"\xff", b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\x80", b"\xe2\x82",
    b"\xf0\x9d\x84",
]
CODES = [0, 999, 1000, 1001, 1003, 1004, 1005, 1006, 1007, 1012, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65_535]
LENGTHS = [0, 1, 2, 124, 125, 126, 127, 300, 65_535, 65_536]


def stream(rng, limit):
    """The bytes of one client."""
    kind = rng.choices(["right", "wrong", "mutated", "noise"], [35, 40, 20, 5])[0]
    if kind == "noise":
        return rng.randbytes(rng.randrange(1, 400))
    octets = b"".join(message(rng, limit) for _ in range(rng.randrange(0, 5)))
    if kind == "mutated":
        return mutate(rng, octets + ending(rng))
    if kind == "wrong":
        # What stands behind it must not matter.
        return octets + rng.choice(FAULTS)(rng, limit) + rng.choice([b"", message(rng, limit), rng.randbytes(20)])
    return octets + ending(rng)


def frame(rng, opcode, payload=b"", fin=True, reserved=0, masked=True, form=None, length=None):
    """One frame. `form` is the number of bytes of the extended length, `length` what the header says instead of the truth."""
    length = len(payload) if length is None else length
    if form is None:
        form = 0 if length < 126 else 2 if length < 65_536 else 8
    short = {0: length, 2: 126, 8: 127}[form]
    head = bytes([fin << 7 | reserved << 4 | opcode, masked << 7 | short]) + (length.to_bytes(form, "big") if form else b"")
    if not masked:
        return head + payload
    mask = rng.choice([bytes(4), rng.randbytes(4)])
    return head + mask + unmask(payload, mask)


def content(rng, opcode, limit):
    # Seldom the largest there may be: it costs milliseconds.
    length = rng.choices([rng.randrange(0, 64), rng.choice(LENGTHS), limit], [70, 29, 1])[0]
    if opcode == BINARY:
        return rng.randbytes(length)
    text = "".join(rng.choices(LETTERS, k=min(length, 64))).encode()
    return text + b"x" * (length - len(text)) if len(text) <= length else text


def message(rng, limit):
    """A message in one frame or several, cut anywhere, pings and pongs between."""
    opcode = rng.choice([TEXT, BINARY])
    payload = content(rng, opcode, limit)
    cuts = sorted(rng.randrange(len(payload) + 1) for _ in range(rng.choice([0, 0, 1, 3])))
    parts = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)])]
    octets = b""
    for n, part in enumerate(parts):
        octets += frame(rng, opcode if n == 0 else CONTINUATION, part, fin=n == len(parts) - 1)
        if rng.random() < 0.2:
            octets += control(rng)
    return octets


def control(rng):
    return frame(rng, rng.choice([PING, PONG]), rng.randbytes(rng.choice([0, 4, CONTROL_BYTES_MAX])))


def ending(rng):
    """A Close of any kind, or none, or half of something."""
    close = frame(rng, CLOSE, rng.choice([1000, 1001, 4000]).to_bytes(2, "big") + rng.choice(["", "bye", "κ"]).encode())
    return rng.choice([b"", frame(rng, CLOSE), close, close, close + b"behind it", close[: rng.randrange(len(close))]])


def mutate(rng, octets):
    """A few bytes are changed, taken out, put in or said twice."""
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(octets) + 1)
        to = at + rng.randrange(1, 9)
        octets = octets[:at] + rng.choice([
            bytes([rng.randrange(256)]) + octets[at + 1 :],
            octets[to:],
            rng.randbytes(to - at) + octets[at:],
            octets[at:to] + octets[at:],
        ])
    return octets


# One thing wrong each, by the section of RFC 6455 that says so.
FAULTS = [
    # 5.2: reserved bits, opcodes, lengths
    lambda rng, limit: frame(rng, rng.choice(DATA + (CLOSE, PING)), b"x", reserved=rng.randrange(1, 8)),
    lambda rng, limit: frame(rng, rng.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), rng.randbytes(rng.randrange(20))),
    lambda rng, limit: frame(rng, BINARY, b"", form=8, length=1 << 63 | rng.randrange(1 << 62)),
    lambda rng, limit: frame(rng, BINARY, b"short", form=rng.choice([2, 8])),
    # 5.1: a client masks
    lambda rng, limit: frame(rng, rng.choice([TEXT, PING, CLOSE]), b"", masked=False),
    lambda rng, limit: frame(rng, TEXT, b"plain", masked=False),
    # 5.4: fragments
    lambda rng, limit: frame(rng, CONTINUATION, b"of nothing", fin=rng.random() < 0.5),
    lambda rng, limit: frame(rng, TEXT, b"one", fin=False) + frame(rng, rng.choice([TEXT, BINARY]), b"two"),
    # 5.5: control frames are short and whole
    lambda rng, limit: frame(rng, rng.choice([PING, PONG, CLOSE]), b"x" * rng.choice([126, 127, 65_536])),
    lambda rng, limit: frame(rng, rng.choice([PING, PONG, CLOSE]), b"", fin=False),
    # 5.5.1 and 7.4: closes
    lambda rng, limit: frame(rng, CLOSE, b"\x03"),
    lambda rng, limit: frame(rng, CLOSE, rng.choice(CODES).to_bytes(2, "big")),
    lambda rng, limit: frame(rng, CLOSE, b"\x03\xe8" + rng.choice(NOT_UTF8)),
    # 8.1: text is UTF-8, also over fragments
    lambda rng, limit: frame(rng, TEXT, b"good " + rng.choice(NOT_UTF8)),
    lambda rng, limit: frame(rng, TEXT, "€".encode()[:2], fin=False) + frame(rng, CONTINUATION, rng.choice([b"", b"x", b"\x80"])),
    # 10.4: more than there may be, at once and in parts
    lambda rng, limit: frame(rng, BINARY, b"", length=limit + 1 + rng.randrange(limit)),
    lambda rng, limit: frame(rng, TEXT, b"", length=(1 << 63) - 1),
    lambda rng, limit: frame(rng, BINARY, bytes(limit - 9), fin=False) + frame(rng, CONTINUATION, bytes(10)),
    # A frame of which most never comes.
    lambda rng, limit: frame(rng, BINARY, b"some of it", length=min(limit, 1 << 16)),
]
