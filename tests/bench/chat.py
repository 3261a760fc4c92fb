"""Measures a turn of the chat module against servers that do the same job: an extension's own Fastify sidecar, and the protocol's
server package under uvicorn. All ask the same scripted model; each sends the user's message and the model's answer as
ChatKit's events.

Each server runs on one processor; the load and the model share the other. Servers take turns within a round, and shown are
medians over the rounds. Nothing is judged: the table is for choosing. scripts/bench builds what this needs: `scripts/bench
chat --help`.
"""

import argparse
import base64
import contextlib
import json
import os
import platform
import statistics
import subprocess
import threading
import time
from pathlib import Path

from run import (
    LOAD_CPU,
    LOAD_TIMEOUT_S,
    ROOT,
    SERVER_CPU,
    Midplane,
    Server,
    UnixConnection,
    expect_two_processors,
    note,
    run,
    show,
)

DELTAS = 200
# thread.created, the user's item, stream_options, item.added, content_part.added, the deltas, content_part.done, item.done.
EVENTS_LEAST = DELTAS + 7
# As many as the design wants at once.
STREAMS = 200
# As a model speaks, so that all the streams are open together.
PAUSE_MS = 20
MODULES = {"midplane": "memory", "midplane, durable": "durable"}
TURN = json.dumps({
    "type": "threads.create",
    "params": {"input": {"content": [{"type": "input_text", "text": "Tell me"}], "attachments": [], "inference_options": {}}},
})  # fmt: skip


class Ready:
    """A turn is the first request that counts."""

    def request(self, method, target, body=None, token=""):
        if target != "/public/hello":
            return super().request(method, target, body, token)
        connection = UnixConnection(self.socket)
        try:
            connection.request("GET", "/")
            return 200, connection.getresponse().read()
        finally:
            connection.close()


class Peer(Ready, Server):
    pass


class Kernel(Ready, Midplane):
    modules = ("chat",)


class Provider:
    """The scripted model, with the load on its processor."""

    def __init__(self, deltas, pause_ms=0):
        os.sched_setaffinity(0, {LOAD_CPU})
        program = ROOT / "target/bench-peers/release/bench-provider"
        self.process = subprocess.Popen([program, str(deltas), str(pause_ms)], stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    def stop(self):
        self.process.kill()
        self.process.wait()


def servers(directory, provider, python, only):
    token = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    env = {"BENCH_TOKEN": token, "BENCH_PROVIDER": provider.url, "NODE_ENV": "production"}
    sockets = {name: directory / f"{number}" / "s" for number, name in enumerate([*MODULES, "fastify", "chatkit"])}
    for path in sockets.values():
        path.parent.mkdir(mode=0o700, exist_ok=True)
    everyone = [kernel(name, store, sockets[name], provider) for name, store in MODULES.items()]
    uvicorn = [python, "-m", "uvicorn", "server:app", "--app-dir", ROOT / "tests/bench/chat", "--log-level", "warning"]
    everyone += [
        Peer("fastify", ["node", ROOT / "tests/bench/fastify/chat.js", sockets["fastify"]], sockets["fastify"], env=env, token=token),
        Peer("chatkit", [*uvicorn, "--uds", sockets["chatkit"]], sockets["chatkit"], env=env, token=token),
    ]
    return [server for server in everyone if server.name in only]


def kernel(name, store, socket, provider):
    release = ROOT / "target/release"
    config = socket.parent / "midplane.toml"
    config.write_text(f"""
[kernel]
socket = "{socket}"
data_dir = "{socket.parent / "data"}"
write_host_key = true
[sessions]
max_ttl = "1h"
[limits]
connections_per_process = 512
[modules.store]
path = "{release / "libmidplane_store.so"}"
[modules.chat]
path = "{release / "libmidplane_chat.so"}"
grants = ["secrets", "call:store"]
config = {{ provider = "openai", base_url = "{provider.url}", model = "bench", requires_key = false, store = "{store}" }}
""")
    config.chmod(0o600)
    return Kernel(name, [release / "midplane", "serve", "--config", config], socket, prefix="/api/chat")


def check(server):
    status, body = turn(server, server.token)
    events = [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: ")]
    deltas = [event["update"]["delta"] for event in events if "delta" in event.get("update", {})]
    if status != 200 or deltas != [f"token {number} " for number in range(1, DELTAS + 1)] or len(events) < EVENTS_LEAST:
        server.fail(f"another turn than expected: {status} {body[:400]!r}")
    if turn(server, server.token[:-4] + "AAAA")[0] != 401:
        server.fail("answers without a valid token")


def load(server, turns, connections):
    before = server.cpu_s()
    oha = [
        "taskset", "-c", str(LOAD_CPU), ROOT / "target/bench-tools/bin/oha", "--no-tui", "--output-format", "json",
        "-n", str(turns), "-c", str(connections), "--unix-socket", server.socket, "-m", "POST", "-d", TURN,
        "-T", "application/json", "-H", f"Authorization: Bearer {server.token}", f"http://localhost{server.prefix}/chatkit",
    ]  # fmt: skip
    done = subprocess.run(oha, capture_output=True, text=True, timeout=LOAD_TIMEOUT_S)
    if done.returncode != 0:
        server.fail(f"oha: {done.stderr[-2000:]}")
    cpu_s = server.cpu_s() - before
    report = json.loads(done.stdout)
    if report["statusCodeDistribution"] != {"200": turns} or report["errorDistribution"]:
        server.fail(f"{turns} turns, but {report['statusCodeDistribution']}, {report['errorDistribution']}")
    events = turns * DELTAS
    return {
        "events_per_s": events / report["summary"]["total"],
        "cpu_us_per_event": cpu_s / events * 1e6,
        "turn_p50_ms": report["latencyPercentiles"]["p50"] * 1e3,
        "turn_p99_ms": report["latencyPercentiles"]["p99"] * 1e3,
    }


def memory_of_streams(server):
    """KiB that each of many open streams takes: the most that the process has while all of them run, less what it had."""
    # What is allocated once is not a stream's.
    for _ in range(4):
        turn(server, server.token)
    before = most = server.memory_mib()
    failures = []

    def stream():
        try:
            status, body = turn(server, server.token)
            if status != 200 or b"content_part.done" not in body:
                failures.append(f"{status} {body[-300:]!r}")
        except Exception as error:  # told below, by the thread that can
            failures.append(error)

    threads = [threading.Thread(target=stream) for _ in range(STREAMS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, server.memory_mib())
        time.sleep(0.02)
    if failures:
        server.fail(f"{len(failures)} of {STREAMS} streams failed: {failures[0]!r}")
    return (most - before) * 1024 / STREAMS


def turn(server, token):
    connection = UnixConnection(server.socket)
    connection.timeout = LOAD_TIMEOUT_S
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", f"{server.prefix}/chatkit", TURN, headers)
        response = connection.getresponse()
        return response.status, response.read()


def measure(options, directory):
    runs, memory, idle = {}, {}, {}
    with contextlib.ExitStack() as stack:
        provider = Provider(DELTAS)
        stack.callback(provider.stop)
        field = servers(directory, provider, options.python, options.servers)
        for server in field:
            stack.callback(server.stop)
            server.start()
            idle[server.name] = server.memory_mib()
            check(server)
            server.stop()
            runs[server.name] = []
        for number in range(options.rounds):
            for server in field:
                note(f"round {number + 1} of {options.rounds}: {server.name}")
                turns = options.turns if isinstance(server, Midplane) else max(options.connections, options.turns // 2)
                # Anew, so that none has more threads in memory than it keeps. The first turns compile, grow or cache.
                server.start()
                load(server, options.connections, options.connections)
                runs[server.name].append(load(server, turns, options.connections))
                server.stop()
    with contextlib.ExitStack() as stack:
        provider = Provider(DELTAS, PAUSE_MS)
        stack.callback(provider.stop)
        for server in servers(directory, provider, options.python, options.servers):
            note(f"{STREAMS} streams at once: {server.name}")
            stack.callback(server.stop)
            server.start()
            memory[server.name] = memory_of_streams(server)
            server.stop()
    first = next(iter(runs))
    return {
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} processors",
        "load_average": os.getloadavg(),
        "rounds": options.rounds,
        "connections": options.connections,
        "deltas": DELTAS,
        "servers": {
            name: {key: statistics.median(run[key] for run in mine) for key in mine[0]}
            | {
                "cpu_ratio": statistics.median(
                    run["cpu_us_per_event"] / base["cpu_us_per_event"] for run, base in zip(mine, runs[first], strict=True)
                ),
                "idle_mib": idle[name],
                "kib_per_stream": memory[name],
            }
            for name, mine in runs.items()
        },
    }


def table(result):
    first = next(iter(result["servers"]))
    rows = [["server", "events per s", "CPU us/event", f"x {first}", "turn p50 ms", "p99 ms", "idle MiB", "KiB/stream"]]
    for name, f in result["servers"].items():
        rows.append([name, f"{f['events_per_s']:,.0f}", f"{f['cpu_us_per_event']:.2f}", f"{f['cpu_ratio']:.1f}",
                     f"{f['turn_p50_ms']:,.0f}", f"{f['turn_p99_ms']:,.0f}", f"{f['idle_mib']:.1f}", f"{f['kib_per_stream']:.0f}"])  # fmt: skip
    show(rows)
    print(
        f"\n{result['machine']}; medians of {result['rounds']} rounds; {result['connections']} turns at once of {result['deltas']} deltas each; "
        f"server on processor {SERVER_CPU}, load and model on {LOAD_CPU}; memory: {STREAMS} streams, a delta every {PAUSE_MS} ms"
    )


def arguments():
    names = [*MODULES, "fastify", "chatkit"]
    parser = argparse.ArgumentParser(prog="scripts/bench chat", description="Turns of chat against its peers, on this machine.")
    parser.add_argument("--python", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3, help="how often every server takes its turn (default 3)")
    parser.add_argument("--turns", type=int, default=900, help="turns of a run, up to 900; half as many for the peers (default 900)")
    parser.add_argument("--connections", type=int, default=64, help="turns at once (default 64)")
    parser.add_argument("--servers", default=";".join(names), help=f"of {'; '.join(names)}, with a semicolon between")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, measures little")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    options = parser.parse_args()
    options.servers = [name.strip() for name in options.servers.split(";")]
    if unknown := set(options.servers) - set(names):
        parser.error(f"there is no server {', '.join(unknown)}")
    if options.quick:
        options.rounds, options.turns = 1, 128
    return options


def main():
    options = arguments()
    expect_two_processors()
    run(options, measure, table)


if __name__ == "__main__":
    main()
