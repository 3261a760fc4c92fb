"""One connection of the fuzzer: sends what it was given, in pieces, and reads until the kernel ends it."""

import asyncio
import socket

from handshakes import OPENED, accept
from judge import Answer, compare, judge

# The kernel has this long for each step: far more than it needs, so that only a hang reaches it.
DEADLINE_S = 20
READ_BYTES = 256 * 1024
HEAD_BYTES_MAX = 64 * 1024


class Wrong(Exception):
    """What the kernel did wrong."""


class Connection:
    def __init__(self, path):
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._progress = asyncio.Event()
        self._reading = None
        self.head = b""
        self.status = 0
        self.answer = Answer()
        self.octets_in = 0

    async def __aenter__(self):
        # Plain sockets, not asyncio's streams: those drop what was read when a write finds the other side gone.
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        await self._loop.sock_connect(self._socket, self._path)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_):
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._socket.close()

    async def send(self, octets, rng):
        """In one piece or in some, cut anywhere. The other side may be gone by then: what it said before is what counts."""
        cuts = sorted(rng.randrange(len(octets) + 1) for _ in range(rng.choice([0, 0, 1, 2, 9])))
        try:
            for start, end in zip([0, *cuts], [*cuts, len(octets)]):
                await self._loop.sock_sendall(self._socket, octets[start:end])
                await asyncio.sleep(0)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def half_close(self):
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    async def until(self, what, came_true):
        """Waits for what is read to make `came_true` true. The end of the connection ends the wait as well."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not came_true() and not self._reading.done():
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            raise Wrong(f"{what}: nothing for {DEADLINE_S} s") from None

    async def ended(self):
        await self.until("the connection did not end", self._reading.done)
        if self._reading.exception():
            raise self._reading.exception()

    def opened(self):
        return self.status != 0

    async def _read(self):
        try:
            while octets := await self._loop.sock_recv(self._socket, READ_BYTES):
                self.octets_in += len(octets)
                if self.status == 0:
                    octets = self._take_head(octets)
                if self.status == OPENED:
                    self.answer.feed(octets)
                    if self.answer.closed:
                        # As a client should: the kernel need not wait for us.
                        self.half_close()
                self._progress.set()
        except ConnectionResetError:
            # Some of what we sent was left unread, which is for the other side to decide.
            pass
        finally:
            self._loop.call_soon(self._progress.set)

    def _take_head(self, octets):
        self.head += octets
        head, end, rest = self.head.partition(b"\r\n\r\n")
        if not end:
            if len(self.head) > HEAD_BYTES_MAX:
                raise Wrong("a head without an end")
            return b""
        self.head = head
        words = head.split(b" ", 2)
        if words[0] not in (b"HTTP/1.0", b"HTTP/1.1") or len(words) != 3 or not words[1].isdigit():
            raise Wrong(f"not an answer: {head[:80]!r}")
        self.status = int(words[1])
        return rest

    def check_head(self, handshake):
        if self.status not in handshake.statuses:
            raise Wrong(f"status {self.status}, not one of {sorted(handshake.statuses)}")
        if self.status != OPENED:
            return
        fields = [line.split(b": ", 1) for line in self.head.lower().split(b"\r\n")[1:]]
        if [b"sec-websocket-extensions"] in [field[:1] for field in fields]:
            raise Wrong("an extension was agreed on")
        if handshake.key and b"sec-websocket-accept: " + accept(handshake.key) not in self.head.replace(
            b"Sec-WebSocket-Accept", b"sec-websocket-accept"
        ):
            raise Wrong(f"not the Accept for the key {handshake.key}: {self.head!r}")


async def try_handshake(path, handshake, rng):
    async with Connection(path) as connection:
        await connection.send(handshake.octets, rng)
        if rng.random() < 0.5:
            # Gone without a word, nothing read: perhaps while the kernel opens the socket.
            return
        if 0 not in handshake.statuses:
            await connection.until("no answer to the handshake", connection.opened)
        # Nothing more comes: whoever waits for more can stop.
        connection.half_close()
        await connection.ended()
        connection.check_head(handshake)


async def try_stream(path, handshake, octets, limit, rng):
    reading = judge(octets, limit)
    manner = rng.choices(["patient", "hasty", "eager", "gone"], [40, 30, 20, 10])[0]
    async with Connection(path) as connection:
        if manner == "eager":
            # Frames right behind the handshake, which the client has no answer to yet.
            await connection.send(handshake.octets + octets, rng)
            await connection.until("no answer to the handshake", connection.opened)
        else:
            await connection.send(handshake.octets, rng)
            await connection.until("no answer to the handshake", connection.opened)
            connection.check_head(handshake)
            settled = reading.settled if manner == "patient" else 0
            if settled:
                await connection.send(octets[:settled], rng)
                await connection.until(
                    "an echo is missing", lambda: len(connection.answer.messages) >= len(reading.messages)
                )
            await connection.send(octets[settled:], rng)
        if manner == "gone":
            return
        # A Close, and a failure, must end the connection by themselves.
        if not reading.must_close:
            connection.half_close()
        await connection.ended()
        connection.check_head(handshake)
        if fault := compare(reading, connection.answer, manner == "patient"):
            raise Wrong(f"{fault} ({manner})")
