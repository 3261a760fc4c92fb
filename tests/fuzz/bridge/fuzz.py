"""Fuzzes the bridge of a running kernel: see README.md, and `run`, which starts one.

Host N of seed S sends the same in every run. Beside them a host that behaves and a client that needs a key are answered all the
time; at the end, no bridge, descriptor or memory may be left over.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path

import traffic
from peer import DEADLINE_S, Ended, Peer, Wrong

SOCKET = os.environ["MIDPLANE_SOCKET"]
HOST_KEY = os.environ["MIDPLANE_HOST_KEY"]
PID = os.environ["KERNEL_PID"]
CONCURRENCY = 12
WARM_UP_S = 3
# Of each host at once, the longest frame that can be announced, and what it has not read.
MEMORY_GROWTH_MAX_KIB = CONCURRENCY * 3 * 1024
FINDINGS_MAX = 20


async def http(method, path, wish=None):
    """Status and body, on a connection of its own."""
    body = json.dumps(wish).encode() if wish is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {HOST_KEY}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_unix_connection(SOCKET)
            writer.write(head.encode() + body)
            answer = await reader.read()
            writer.close()
    except (TimeoutError, ConnectionError) as error:
        raise Wrong(f"{method} {path} is not answered: {error!r}") from None
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


async def fuzzed(rng):
    """A host that no one would want, from its beginning to its end."""
    peer = await Peer.dial(SOCKET, HOST_KEY)
    reads = rng.random() < 0.85
    answered = set()

    async def read():
        while reads:
            message = await peer.receive()
            if message.get("method") == "secret/get":
                for _ in range(rng.choice([0, 1, 1, 1, 2])):
                    await peer.send_octets(traffic.framed(traffic.answer(rng, message["id"])))
                continue
            text = json.dumps(message)
            # What it sends in a request may come back to it in a refusal, and nowhere else.
            if "result" in message and traffic.CANARY in json.dumps(message["result"].get("client_secret", "") if isinstance(message["result"], dict) else ""):
                raise Wrong(f"an answer has a key in it: {text[:200]}")
            number = message.get("id")
            if isinstance(number, str) and number.startswith("once-"):
                if number in answered:
                    raise Wrong(f"answered twice: {number}")
                answered.add(number)

    reading = asyncio.create_task(read())
    try:
        if rng.random() < 0.9:
            capabilities = {"secrets": rng.random() < 0.6, "events": rng.random() < 0.5, "log": rng.choice([None, "info", "trace"])}
            await peer.initialize("fuzz", capabilities)
        for number in range(rng.randrange(5, 400)):
            if reading.done() and reads:
                break
            if rng.random() < 0.1:
                # Cancelled as it is answered, it has one answer.
                once = f"once-{number}"
                await peer.send({"id": once, "method": "module/list"})
                await peer.send({"method": "$/cancelRequest", "params": {"id": once}})
            octets = traffic.octets(rng)
            cut = rng.randrange(len(octets) + 1) if rng.random() < 0.2 else len(octets)
            async with asyncio.timeout(DEADLINE_S):
                await peer.send_octets(octets[:cut])
                await peer.send_octets(octets[cut:])
            if rng.random() < 0.1:
                await asyncio.sleep(0)
    except Ended:
        pass
    except TimeoutError:
        raise Wrong("the kernel neither reads nor closes") from None
    finally:
        peer.close()
        reading.cancel()
        [outcome] = await asyncio.gather(reading, return_exceptions=True)
    if isinstance(outcome, Wrong):
        raise outcome


class Steady:
    """The host and the client that behave."""

    def __init__(self):
        self.rounds = 0
        self.longest_s = 0.0

    async def run(self, until):
        host = await Peer.dial(SOCKET, HOST_KEY)
        await host.initialize("steady", {"secrets": True})
        while not until():
            started = time.monotonic()
            self.rounds += 1
            await self._host(host)
            status, body = await http("GET", "/health")
            if status != 200:
                raise Wrong(f"/health says {status} {body[:200]!r}")
            # From a source that is no host: nobody can keep it from being had.
            status, body = await http("POST", "/sessions", {"secret_key_id": "steady"})
            # A flood of changes of this very key is told so; as many sessions as there may be, too.
            if status not in (201, 503):
                raise Wrong(f"a session with a key of the configuration: {status} {body[:200]!r}")
            # From whichever host is asked, and that may refuse or hang.
            key = f"k{self.rounds % 100}"
            asking = asyncio.create_task(http("POST", "/sessions", {"secret_key_id": key}))
            await self._answer_until(host, asking)
            status, body = asking.result()
            if status not in (201, 403, 503, 504) or b"sk-" in body:
                raise Wrong(f"a session with a key of a host: {status} {body[:200]!r}")
            self.longest_s = max(self.longest_s, time.monotonic() - started)
        host.close()

    async def _host(self, host):
        await host.send({"id": self.rounds, "method": "module/list"})
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    message = await host.receive()
                    if message.get("method") == "secret/get":
                        await self._give(host, message)
                    elif message.get("id") == self.rounds and "result" in message:
                        return
                    elif "error" in message:
                        raise Wrong(f"the steady host is told {message}")
        except TimeoutError:
            raise Wrong("the steady host is not answered") from None
        except Ended:
            raise Wrong("the steady host was closed") from None

    async def _answer_until(self, host, asking):
        receiving = asyncio.create_task(host.receive())
        while not asking.done():
            await asyncio.wait([asking, receiving], return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                message = receiving.result()
                if message.get("method") == "secret/get":
                    await self._give(host, message)
                receiving = asyncio.create_task(host.receive())
        # A message of which a part was read would be lost: the answer to this comes behind it.
        await host.send({"id": "behind", "method": "module/list"})
        while (message := await receiving).get("id") != "behind":
            if message.get("method") == "secret/get":
                await self._give(host, message)
            receiving = asyncio.create_task(host.receive())

    async def _give(self, host, question):
        await host.send({"id": question["id"], "result": {"secret": "sk-steady"}})


async def run(seed, seconds):
    findings = []
    deadline = time.monotonic() + seconds
    numbers = iter(range(sys.maxsize))
    done = 0

    def enough():
        return time.monotonic() > deadline or len(findings) >= FINDINGS_MAX

    async def worker():
        nonlocal done
        while not enough():
            number = next(numbers)
            done += 1
            try:
                await fuzzed(random.Random(f"{seed}/{number}"))
            except (Wrong, Ended) as wrong:
                findings.append(f"host {number}: {wrong!r}")

    async def steady():
        try:
            await beside.run(enough)
        except (Wrong, Ended) as wrong:
            findings.append(f"beside them: {wrong!r}")

    beside = Steady()
    await asyncio.gather(steady(), *(worker() for _ in range(CONCURRENCY)))
    print(f"{done} hosts, {beside.rounds} rounds beside them, the longest {beside.longest_s:.1f} s", flush=True)
    return findings


def resident_kib():
    status = Path(f"/proc/{PID}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


async def counted():
    _, metrics = await http("GET", "/metrics")
    lines = [line.rsplit(" ", 1) for line in metrics.decode().splitlines() if line.startswith("midplane_connections")]
    return {**{name: float(number) for name, number in lines}, "descriptors": len(os.listdir(f"/proc/{PID}/fd"))}


async def left_over(before):
    """Waits for what the last bridges held to be given back."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        after = await counted()
        if all(after[name] <= number for name, number in before.items()):
            return []
        await asyncio.sleep(0.05)
    return [f"left open: {after}; at the start: {before}"]


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"), help="what everything comes out of")
    parser.add_argument("--seconds", type=float, default=15)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    # The first ones warm up what is kept for good: buffers, threads' arenas, descriptors of a first time.
    findings = await run(f"warm-up/{arguments.seed}", WARM_UP_S)
    await asyncio.sleep(0)
    before, warm_kib = await counted(), resident_kib()
    findings += await run(arguments.seed, max(arguments.seconds - WARM_UP_S, 1))
    findings += await left_over(before)
    now_kib = resident_kib()
    print(f"resident {warm_kib} -> {now_kib} KiB")
    if now_kib - warm_kib > MEMORY_GROWTH_MAX_KIB:
        findings.append(f"memory grew by {now_kib - warm_kib} KiB")
    for finding in findings:
        print(f"FAILED {finding}")
    sys.exit(1 if findings else 0)


asyncio.run(main())
