"""Measures how long the gateway of the chat module keeps what a provider says: from a piece's leaving the provider to its being at the
client, over kept connections, beside the same two sockets without a gateway between them.

Provider and client are this one thread, so that one clock sees both ends; its own cost is in all figures and the same in each. A turn
of each way is one round, and the figures are of all rounds. Nothing is judged. scripts/bench builds what this needs:
`scripts/bench gateway --help`.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import ROOT, START_TIMEOUT_S, UnixConnection, note

DIRECT, HERE, APART = "no gateway", "in-process", "process"
# As long as a delta of a model's.
EVENT = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" word"}}]}\n\n'
PIECE = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
BODY = json.dumps({"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "speak"}]}).encode()
TIMEOUT_S = 30


class Way:
    """From a provider to a client."""

    def __init__(self, name):
        self.name = name
        self.first, self.next = [], []

    def round(self, streams, events):
        for _ in range(streams):
            provider = self.ask()
            self.first.append(self.take(provider, HEAD + PIECE))
            for _ in range(events - 1):
                self.next.append(self.take(provider, PIECE))
            provider.sendall(END)
            self.until(END)

    def take(self, provider, piece):
        """Microseconds from here to the client, once the whole event is there."""
        started = time.perf_counter_ns()
        provider.sendall(piece)
        arrived = self.until(b"\n\n\r\n")
        return (arrived - started) / 1000

    def until(self, end):
        received = b""
        first = None
        while not received.endswith(end):
            more = self.client.recv(65536)
            first = first or time.perf_counter_ns()
            if not more:
                sys.exit(f"bench: {self.name}: the connection ended: {received!r}")
            received += more
        return first


class Direct(Way):
    def __init__(self, listener):
        super().__init__(DIRECT)
        self.client = socket.create_connection(listener.getsockname(), TIMEOUT_S)
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.provider, _ = listener.accept()
        self.provider.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self):
        return self.provider

    def stop(self):
        self.client.close()
        self.provider.close()


class Gateway(Way):
    def __init__(self, isolation, listener, directory, binaries):
        super().__init__(isolation)
        self.listener, self.provider = listener, None
        self.socket = directory / isolation / "s"
        self.socket.parent.mkdir(mode=0o700)
        config = self.socket.parent / "midplane.toml"
        config.write_text(f"""
[kernel]
socket = "{self.socket}"
data_dir = "{self.socket.parent / "data"}"
write_host_key = true
[secrets]
bench-key = "env:BENCH_KEY"
[modules.chat]
path = "{binaries / "libmidplane_chat.so"}"
isolation = "{isolation}"
config = {{ provider = "openai", model = "tiny", base_url = "http://127.0.0.1:{listener.getsockname()[1]}/v1" }}
""")
        config.chmod(0o600)
        self.log = open(self.socket.parent / "log", "w+")
        environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        environment["BENCH_KEY"] = "sk-bench-0123456789abcdef"
        command = [binaries / "midplane", "serve", "--config", config]
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.token = self.issue()
        self.client = socket.socket(socket.AF_UNIX)
        self.client.settimeout(TIMEOUT_S)
        self.client.connect(str(self.socket))

    def issue(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while " ready on " not in Path(self.log.name).read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"bench: the kernel did not start:\n{Path(self.log.name).read_text()}")
            time.sleep(0.005)
        key = (self.socket.parent / "host.key").read_text().strip()
        with contextlib.closing(UnixConnection(self.socket)) as connection:
            session = json.dumps({"secret_key_id": "bench-key", "modules": ["chat"], "expires_in": 3600})
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            connection.request("POST", "/sessions", session, headers)
            return json.loads(connection.getresponse().read())["client_secret"]

    def ask(self):
        """Sends a request; gives the connection of the provider's that it came over."""
        head = f"POST /api/chat/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {self.token}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
        self.client.sendall(head.encode() + BODY)
        if self.provider is None:
            self.provider, _ = self.listener.accept()
            self.provider.settimeout(TIMEOUT_S)
            self.provider.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        while not received.endswith(BODY):
            more = self.provider.recv(65536)
            if not more:
                sys.exit("bench: the gateway opened a new connection to the provider")
            received += more
        return self.provider

    def stop(self):
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(TIMEOUT_S)
        self.log.close()


def measure(options, directory):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(TIMEOUT_S)
    with contextlib.ExitStack() as stack:
        stack.callback(listener.close)
        ways = [Direct(listener)]
        stack.callback(ways[0].stop)
        for isolation in (HERE, APART):
            ways.append(Gateway(isolation, listener, directory, options.binaries))
            stack.callback(ways[-1].stop)
        for way in ways:
            way.round(options.streams, options.events)
            way.first.clear(), way.next.clear()
        for number in range(options.rounds):
            note(f"round {number + 1} of {options.rounds}")
            for way in ways:
                way.round(options.streams, options.events)
    return {
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} processors",
        "load_average": os.getloadavg(),
        "ways": {way.name: {"first byte": summary(way.first), "next event": summary(way.next)} for way in ways},
    }


def summary(figures_us):
    ordered = sorted(figures_us)
    return {
        "p50_us": statistics.median(ordered),
        "p99_us": ordered[len(ordered) * 99 // 100],
        "longest_us": ordered[-1],
        "over_1ms": sum(us > 1000 for us in ordered) / len(ordered),
        "count": len(ordered),
    }


def show(report):
    print(f"{report['machine']}, load average {report['load_average'][0]:.1f}\n")
    print(f"{'us from provider to client':28} {'p50':>8} {'p99':>8} {'longest':>8} {'over 1 ms':>10} {'of':>8}")
    for what in ("first byte", "next event"):
        for way, figures in report["ways"].items():
            row = figures[what]
            print(f"{what + ', ' + way:28} {row['p50_us']:8.0f} {row['p99_us']:8.0f} {row['longest_us']:8.0f} {row['over_1ms']:10.2%} {row['count']:8}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--streams", type=int, default=50, help="of each way in each round")
    parser.add_argument("--events", type=int, default=40, help="of a stream")
    parser.add_argument("--binaries", type=Path, default=ROOT / "target/release")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="midplane-bench.") as directory:
        report = measure(options, Path(directory))
    print(json.dumps(report, indent=2)) if options.json else show(report)


if __name__ == "__main__":
    main()
