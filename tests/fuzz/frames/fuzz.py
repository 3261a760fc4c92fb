"""Fuzzes the WebSocket endpoint of a running kernel: see README.md, and `run`, which starts one.

Connection N of seed S is the same in every run, so that a finding can be looked at alone (`--only N`). After each, the kernel
must answer /health; at the end, no socket, descriptor or memory may be left over.
"""

import argparse
import asyncio
import http.client
import json
import os
import random
import socket
import sys
import time
from pathlib import Path

import handshakes
import streams
from connection import DEADLINE_S, Wrong, try_handshake, try_stream

SOCKET = os.environ["MIDPLANE_SOCKET"]
HOST_KEY = os.environ["MIDPLANE_HOST_KEY"]
PID = os.environ.get("KERNEL_PID")
ROUTE = "/api/sockets/echo"
# Fewer than half of the 64 that one process may have: each has a second one for /health.
CONCURRENCY = 24
# One in so many is about the handshake, the others about frames.
HANDSHAKE_SHARE = 0.3
SHOWN_BYTES = 400
# What the allocator may keep for good: for each connection at once a message of the largest size, and its echo. A leak of 8 KiB
# for each connection is more.
MEMORY_GROWTH_MAX_KIB = CONCURRENCY * 2 * 1024
FINDINGS_MAX = 20


class Unix(http.client.HTTPConnection):
    def __init__(self):
        super().__init__("localhost", timeout=DEADLINE_S)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


def host(method, path, wish=None):
    connection = Unix()
    try:
        headers = {"Authorization": f"Bearer {HOST_KEY}", "Content-Type": "application/json"}
        connection.request(method, path, wish and json.dumps(wish), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status in (200, 201), f"{method} {path}: {answer.status} {text}"
        return text
    finally:
        connection.close()


class Health:
    """One kept connection that asks how the kernel is."""

    async def __aenter__(self):
        self._reader, self._writer = await asyncio.open_unix_connection(SOCKET)
        return self

    async def __aexit__(self, *_):
        self._writer.close()

    async def ask(self):
        try:
            async with asyncio.timeout(DEADLINE_S):
                self._writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                head = await self._reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                body = await self._reader.readexactly(int(length.split(b":")[1]))
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError) as error:
            raise Wrong(f"/health is not answered: {error!r}") from None
        if b" 200 " not in head or json.loads(body)["status"] != "ok":
            raise Wrong(f"/health says {body!r}")


async def one(arguments, number, token):
    """Connection `number`, and what was wrong about it, or None."""
    rng = random.Random(f"{arguments.seed}/{number}")
    octets = b""
    if rng.random() < HANDSHAKE_SHARE:
        handshake = handshakes.handshake(rng, ROUTE, token)
        trial = try_handshake(SOCKET, handshake, rng)
    else:
        handshake = handshakes.right(rng, ROUTE, token)
        octets = streams.stream(rng, arguments.limit)
        trial = try_stream(SOCKET, handshake, octets, arguments.limit, rng)
    try:
        await trial
    except Wrong as wrong:
        shown = octets[:SHOWN_BYTES].hex(" ") or repr(handshake.octets.replace(token.encode(), b"TOKEN")[:SHOWN_BYTES])
        more = f" … of {len(octets)} bytes" if len(octets) > SHOWN_BYTES else ""
        return f"connection {number}, {handshake.name}: {wrong}\n    sent {shown}{more}"
    return None


async def run(arguments, token):
    findings = []
    numbers = iter([arguments.only] if arguments.only is not None else range(sys.maxsize))
    started = time.monotonic()
    done = 0

    def enough():
        if arguments.seconds:
            return time.monotonic() - started > arguments.seconds
        return done >= arguments.connections

    async def worker():
        nonlocal done
        async with Health() as health:
            while len(findings) < FINDINGS_MAX and not enough() and (number := next(numbers, None)) is not None:
                done += 1
                finding = await one(arguments, number, token)
                if finding:
                    findings.append(finding)
                try:
                    await health.ask()
                except Wrong as wrong:
                    findings.append(f"after connection {number}: {wrong}")
                    return

    await asyncio.gather(*(worker() for _ in range(1 if arguments.only is not None else CONCURRENCY)))
    return findings, done, time.monotonic() - started


def in_proc(name):
    """Of the kernel's, where the system tells."""
    return Path(f"/proc/{PID}/{name}") if PID and Path(f"/proc/{PID}").exists() else None


def resident_kib():
    status = in_proc("status")
    if not status:
        return None
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS:"))


def still_open():
    """Of what a connection holds, how much the kernel counts: itself, requests under way, WebSockets; and the system."""
    counted = ("midplane_connections", "midplane_module_in_flight_requests", "midplane_module_open_websockets")
    lines = [line.rsplit(" ", 1) for line in host("GET", "/metrics").splitlines() if line.startswith(counted)]
    assert len({name.partition("{")[0] for name, _ in lines}) == len(counted), lines
    numbers = {name: float(value) for name, value in lines}
    if descriptors := in_proc("fd"):
        numbers["descriptors"] = len(os.listdir(descriptors))
    return numbers


def left_over(before):
    """Waits for what the last connections held to be given back."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            after = still_open()
        except AssertionError as refusal:
            # So many are left that there is no room to ask.
            after = str(refusal)
        if isinstance(after, dict) and all(after[name] <= number for name, number in before.items()):
            return []
        time.sleep(0.05)
    return [f"left open: {after}; at the start: {before}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"), help="what everything comes out of")
    parser.add_argument("--connections", type=int, default=6000)
    parser.add_argument("--seconds", type=float, help="as many connections as fit into this time")
    parser.add_argument("--only", type=int, metavar="N", help="connection N alone")
    parser.add_argument("--limit", type=int, default=1024 * 1024, help="the kernel's limit for a message, in bytes")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)

    token = json.loads(host("POST", "/sessions", {"user": "fuzz", "modules": ["sockets"], "expires_in": 3600}))["client_secret"]
    # The first ones warm up what is kept for good: buffers, threads' arenas.
    warm_up = argparse.Namespace(**{**vars(arguments), "seed": "warm-up", "connections": 500, "seconds": None, "only": None})
    idle = still_open()
    findings, _, _ = asyncio.run(run(warm_up, token))
    # What runs for the first time may open a descriptor for good.
    idle.pop("descriptors", None)
    findings += left_over(idle)
    before, warm_kib = still_open(), resident_kib()
    found, done, took_s = asyncio.run(run(arguments, token))
    findings += found + left_over(before)
    if now_kib := resident_kib():
        print(f"resident {warm_kib} -> {now_kib} KiB")
        if now_kib - warm_kib > MEMORY_GROWTH_MAX_KIB:
            findings.append(f"memory grew by {now_kib - warm_kib} KiB")
    for finding in findings:
        print(f"FAILED {finding}")
    if findings:
        print(f"again, alone: tests/fuzz/frames/run --seed {arguments.seed} --only N")
    print(f"{done} connections in {took_s:.0f} s; {len(findings)} findings", flush=True)
    sys.exit(1 if findings else 0)


main()
