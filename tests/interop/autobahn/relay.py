"""A door on 127.0.0.1 to a kernel's Unix socket, for a program that can only dial TCP and send no header of its own.

It adds one line, the client secret, to each connection's first request, and changes no other byte in either direction:
what the suite sends is what the kernel reads. The kernel itself never listens on TCP.
"""

import asyncio
import contextlib

CHUNK_BYTES = 64 * 1024


@contextlib.asynccontextmanager
async def relay(socket, client_secret):
    """Yields the port. Connections still open when the block ends are cut."""
    credential = f"Authorization: Bearer {client_secret}\r\n".encode()
    connections = set()

    async def connection(reader, writer):
        kernel_reader, kernel_writer = await asyncio.open_unix_connection(socket)
        try:
            kernel_writer.write(await reader.readuntil(b"\r\n") + credential)
            async with asyncio.TaskGroup() as both_ways:
                both_ways.create_task(copy(reader, kernel_writer))
                both_ways.create_task(copy(kernel_reader, writer))
        except* (ConnectionError, asyncio.IncompleteReadError):
            # One side was cut, which is what several cases do: the other is cut below.
            pass
        finally:
            kernel_writer.close()
            writer.close()

    def accept(reader, writer):
        task = asyncio.ensure_future(connection(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def copy(source, sink):
    """Passes the end of `source` on as an end, not as a cut: who closes first is one of the things judged."""
    while chunk := await source.read(CHUNK_BYTES):
        sink.write(chunk)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
