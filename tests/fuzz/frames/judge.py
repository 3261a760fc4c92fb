"""RFC 6455 as a judge: what an endpoint that echoes must, and may, make of a client's bytes.

Written from the RFC alone and shares no code with the kernel: the two find each other's mistakes. It opens no connection and
knows nothing of who generated the bytes.
"""

import codecs
from dataclasses import dataclass, field

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
DATA = (CONTINUATION, TEXT, BINARY)
CONTROL = (CLOSE, PING, PONG)
CONTROL_BYTES_MAX = 125  # section 5.5

NORMAL, GOING_AWAY, PROTOCOL_ERROR, INVALID_PAYLOAD, TOO_BIG = 1000, 1001, 1002, 1007, 1009
# Section 7.4: 1004 to 1006 and 1015 are never sent.
CODES_DEFINED = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011}
# In IANA's registry since; who was written from the RFC refuses them.
CODES_REGISTERED = {1012, 1013, 1014}


@dataclass
class Reading:
    """What the client's bytes mean."""

    # (TEXT or BINARY, payload) of each whole message, to be echoed in this order.
    messages: list = field(default_factory=list)
    pings: list = field(default_factory=list)
    # The codes that the answering Close may have; None stands for one without a code. Empty if the bytes just stop.
    codes: set = field(default_factory=set)
    # Codes with which it may have failed the connection before: where the RFC leaves open how early to notice.
    early: set = field(default_factory=set)
    # How many bytes the whole messages take, with whatever stands between them.
    settled: int = 0

    @property
    def must_close(self):
        return bool(self.codes)


@dataclass
class Frame:
    fin: bool
    reserved: int
    opcode: int
    masked: bool
    length: int
    # Where the payload starts; the mask stands before it.
    start: int
    minimal: bool
    payload: bytes | None = None


def parse(stream, at):
    """The frame at `at`, or None if its header is not whole. Its payload is None if that is not whole."""
    if len(stream) < at + 2:
        return None
    first, second = stream[at], stream[at + 1]
    short = second & 0x7F
    extended = {126: 2, 127: 8}.get(short, 0)
    masked = bool(second & 0x80)
    start = at + 2 + extended + 4 * masked
    if len(stream) < start:
        return None
    length = int.from_bytes(stream[at + 2 : at + 2 + extended], "big") if extended else short
    minimal = length >= {0: 0, 2: 126, 8: 65_536}[extended]
    frame = Frame(bool(first & 0x80), first >> 4 & 7, first & 0xF, masked, length, start, minimal)
    if len(stream) >= start + length:
        frame.payload = unmask(stream[start : start + length], stream[start - 4 : start] if masked else bytes(4))
    return frame


def unmask(payload, mask):
    """Masking, section 5.3, which is its own inverse."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def judge(stream, limit):
    """Reads what a client sent after the handshake. A message may have at most `limit` bytes."""
    reading = Reading()
    at = 0
    # The message whose fragments are under way.
    opcode, parts, size, decoder = None, [], 0, None

    def fail(*codes):
        reading.codes = set(codes) | reading.early
        return reading

    while True:
        frame = parse(stream, at)
        if frame is None:
            if len(stream) >= at + 2:
                # Whoever looks at the first byte first may have seen enough.
                reading.early |= {PROTOCOL_ERROR}
            return reading
        wrong = faults(frame, opcode)
        size_after = frame.length + (size if frame.opcode == CONTINUATION else 0)
        if frame.opcode in DATA and size_after > limit:
            wrong |= {TOO_BIG}
        elif frame.length > limit:
            # Which of its faults comes first is nobody's business.
            wrong |= {TOO_BIG}
        if wrong == {TOO_BIG} or (wrong and frame.payload is not None):
            return fail(*wrong)
        if wrong or frame.payload is None:
            reading.early |= wrong
            if not frame.minimal:
                reading.early |= {PROTOCOL_ERROR}
            if frame.payload is None:
                look_at_part(reading, stream, frame, opcode, decoder)
            return reading
        if not frame.minimal:
            # Section 5.2 asks the sender for the shortest form, and nobody to refuse another.
            reading.early |= {PROTOCOL_ERROR}
        at = frame.start + frame.length
        if frame.opcode == CLOSE:
            return closing(reading, frame.payload)
        if frame.opcode == PING:
            reading.pings.append(frame.payload)
        if frame.opcode not in DATA:
            continue
        if frame.opcode != CONTINUATION:
            opcode, parts, size, decoder = frame.opcode, [], 0, codecs.getincrementaldecoder("utf-8")()
        parts.append(frame.payload)
        size += frame.length
        if opcode == TEXT and not decodes(decoder, frame.payload, frame.fin):
            if frame.fin:
                return fail(INVALID_PAYLOAD)
            # Section 8.1 lets it wait for the end of the message.
            reading.early |= {INVALID_PAYLOAD}
        if frame.fin:
            if INVALID_PAYLOAD in reading.early:
                return fail(INVALID_PAYLOAD)
            reading.messages.append((opcode, b"".join(parts)))
            reading.settled = at
            opcode, parts, size, decoder = None, [], 0, None


def faults(frame, under_way):
    """What is wrong with a header, as the codes to fail with."""
    wrong = (
        frame.reserved  # no extension was agreed on
        or frame.opcode not in DATA + CONTROL
        or not frame.masked
        or frame.length >> 63
        or (frame.opcode in CONTROL and (not frame.fin or frame.length > CONTROL_BYTES_MAX))
        or (frame.opcode == CONTINUATION and under_way is None)
        or (frame.opcode in (TEXT, BINARY) and under_way is not None)
    )
    return {PROTOCOL_ERROR} if wrong else set()


def look_at_part(reading, stream, frame, under_way, decoder):
    """Bytes of a text that stops inside a frame may already be wrong."""
    text = frame.opcode == TEXT or (frame.opcode == CONTINUATION and under_way == TEXT)
    if text and frame.masked:
        part = stream[frame.start :]
        decoder = decoder or codecs.getincrementaldecoder("utf-8")()
        if not decodes(decoder, unmask(part, stream[frame.start - 4 : frame.start]), False):
            reading.early |= {INVALID_PAYLOAD}


def decodes(decoder, part, final):
    try:
        decoder.decode(part, final)
    except UnicodeDecodeError:
        return False
    return True


def closing(reading, payload):
    """Section 5.5.1, and 7.4 for the codes."""
    if not payload:
        reading.codes = {None, NORMAL}
    elif len(payload) == 1:
        reading.codes = {PROTOCOL_ERROR}
    else:
        code = int.from_bytes(payload[:2], "big")
        if code in CODES_DEFINED or 3000 <= code <= 4999:
            reading.codes = {code}
        elif code in CODES_REGISTERED or code >= 5000:
            # Those from 5000 are in no range of the RFC, and not forbidden.
            reading.codes = {code, PROTOCOL_ERROR}
        else:
            reading.codes = {PROTOCOL_ERROR}
        if not decodes(codecs.getincrementaldecoder("utf-8")(), payload[2:], True):
            reading.codes = {INVALID_PAYLOAD, PROTOCOL_ERROR}
    reading.codes |= reading.early
    return reading


class Answer:
    """What the server sends after its 101, read as it comes. It must be right to the letter."""

    def __init__(self):
        self.messages = []
        self.pongs = []
        self.closed = False
        self.code = None
        self.fault = None
        self._rest = b""
        self._opcode = None
        self._parts = []

    def feed(self, octets):
        self._rest += octets
        at = 0
        while self.fault is None and (frame := parse(self._rest, at)) is not None and frame.payload is not None:
            at = frame.start + frame.length
            self._take(frame)
        self._rest = self._rest[at:]

    @property
    def cut(self):
        """What there is of a frame that is not whole."""
        return self._rest

    def _take(self, frame):
        if self.closed:
            self.fault = "a frame after the Close"
        elif frame.masked or frame.reserved or not frame.minimal or frame.opcode not in DATA + CONTROL:
            self.fault = f"a wrong header: {frame}"
        elif frame.opcode in CONTROL:
            if not frame.fin or frame.length > CONTROL_BYTES_MAX:
                self.fault = f"a wrong control frame: {frame}"
            elif frame.opcode == PONG:
                self.pongs.append(frame.payload)
            elif frame.opcode == CLOSE:
                self._take_close(frame.payload)
        elif (frame.opcode == CONTINUATION) != (self._opcode is not None):
            self.fault = f"fragments out of order: {frame}"
        else:
            self._opcode = self._opcode or frame.opcode
            self._parts.append(frame.payload)
            if frame.fin:
                self.messages.append((self._opcode, b"".join(self._parts)))
                self._opcode, self._parts = None, []

    def _take_close(self, payload):
        self.closed = True
        if payload:
            self.code = int.from_bytes(payload[:2], "big")
            if len(payload) == 1 or not decodes(codecs.getincrementaldecoder("utf-8")(), payload[2:], True):
                self.fault = f"a wrong Close: {payload.hex()}"


def compare(reading, answer, patient):
    """What is wrong with the answer, or None. Who was patient has waited for all echoes before the stream's last bytes."""
    if answer.fault:
        return answer.fault
    wanted = reading.messages if patient else reading.messages[: len(answer.messages)]
    if answer.messages != wanted:
        return f"{len(answer.messages)} messages came back that are not the {len(wanted)} first of those sent"
    pings = iter(reading.pings)
    if not all(pong in pings for pong in answer.pongs):
        return f"pongs {answer.pongs} for pings {reading.pings}"
    if answer.closed:
        # A stream that stops is nobody's fault: it may be told so, or not.
        allowed = reading.codes or reading.early | {None, NORMAL, GOING_AWAY, PROTOCOL_ERROR}
        if answer.code not in allowed:
            return f"closed with {answer.code}, not one of {sorted(allowed, key=str)}"
    elif reading.must_close:
        inside = f", inside a frame: {answer.cut[:16].hex()}" if answer.cut else ""
        return f"ended without a Close{inside}; one of {sorted(reading.codes, key=str)} is due"
    return None
