"""One bridge: frames out, in pieces if wanted, and messages in."""

import asyncio
import json

# The kernel has this long for each step: far more than it needs, so that only a hang reaches it.
DEADLINE_S = 20


class Wrong(Exception):
    """What the kernel did wrong."""


class Ended(Exception):
    """The bridge is closed."""


def framed(body):
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(octets), octets)


class Peer:
    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer

    @classmethod
    async def dial(cls, path, host_key):
        reader, writer = await asyncio.open_unix_connection(path, limit=2 * 1024 * 1024)
        peer = cls(reader, writer)
        head = f"GET /bridge HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: jsonrpc\r\nAuthorization: Bearer {host_key}\r\n\r\n"
        await peer.send_octets(head.encode())
        try:
            async with asyncio.timeout(DEADLINE_S):
                answer = await reader.readuntil(b"\r\n\r\n")
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            raise Wrong(f"GET /bridge is not answered: {error!r}") from None
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise Wrong(f"GET /bridge: {answer[:80]!r}")
        ready = await peer.receive()
        if ready.get("method") != "ready":
            raise Wrong(f"the first message is {ready}")
        return peer

    async def send(self, message):
        await self.send_octets(framed({"jsonrpc": "2.0", **message}))

    async def send_octets(self, octets):
        """Waits while the kernel does not read; it may close meanwhile."""
        try:
            self._writer.write(octets)
            await self._writer.drain()
        except (ConnectionError, BrokenPipeError):
            raise Ended from None

    async def receive(self):
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"Content-Length: "):
                raise Wrong(f"no header: {head[:80]!r}")
            return json.loads(await self._reader.readexactly(int(head[16:])))
        except asyncio.IncompleteReadError as cut:
            if cut.partial:
                raise Wrong(f"the bridge ended in the middle of {cut.partial[:80]!r}") from None
            raise Ended from None
        except ConnectionError:
            raise Ended from None

    async def initialize(self, name, capabilities):
        client = {"name": name, "version": "1"}
        await self.send({"id": "initialize", "method": "initialize", "params": {"client": client, "protocol": 1, "capabilities": capabilities}})

    def close(self):
        self._writer.transport.abort()
