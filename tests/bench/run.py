"""Measures Midplane against servers that do the same job on the same kind of socket.

Each server runs on one processor, the load on another; servers take turns within a round, so that what else the machine
does falls on all of them. The figure that lasts is the ratio to bare hyper in the same round, of which the median over
the rounds is shown. scripts/bench builds what this needs; see it for the flags.
"""

import argparse
import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER_CPU, LOAD_CPU = 0, 1
CONNECTIONS = 64
HELLO = b"hello bench"
EVENTS = 100
ECHO_LEN = 64 * 1024
JWT_KEY = "only-for-the-benchmark-and-never-secret"
# Long enough for the slowest server at 100,000 requests.
LOAD_TIMEOUT_S = 300
START_TIMEOUT_S = 20
STARTS = 7
BASELINE = "bare"


@dataclass(frozen=True)
class Case:
    """One kind of request. `weight`: how many of `--requests` it takes, so that each case lasts about as long."""

    name: str
    target: str
    weight: float
    token: bool = True
    connections: int = CONNECTIONS
    flags: tuple = ()
    per_request: int = 1
    unit: str = "requests"
    # What the baseline is asked instead, and nobody else: for what only Midplane does.
    baseline_target: str = ""

    def concerns(self, server):
        return not self.baseline_target or server.name == BASELINE or isinstance(server, Midplane)

    def target_of(self, server):
        return self.baseline_target if self.baseline_target and server.name == BASELINE else self.target


CASES = [
    Case("hello, token", "/hello", 1),
    Case("hello, public", "/public/hello", 1, token=False),
    Case("hello, token, 1 connection", "/hello", 0.3, connections=1),
    Case("hello by a call to a module, token", "/call", 0.7, baseline_target="/hello"),
    Case("echo 64 KiB", "/echo", 0.2, flags=("-m", "POST", "-D", "BODY")),
    Case("stream, by turns", f"/stream?n={EVENTS}&from=turns", 0.05, per_request=EVENTS, unit="events"),
    Case("stream, burst", f"/stream?n={EVENTS}&from=burst", 0.1, per_request=EVENTS, unit="events"),
    Case("stream, from a task", f"/stream?n={EVENTS}&from=task", 0.05, per_request=EVENTS, unit="events"),
    Case("hello, token, new connection each", "/hello", 0.3, flags=("--disable-keepalive",)),
]


@dataclass
class Server:
    """A program that serves the job's routes under `prefix`. `share` of the requests is enough for the slow ones."""

    name: str
    command: list
    socket: Path
    prefix: str = ""
    env: dict = field(default_factory=dict)
    share: float = 1
    token: str = ""
    checks_token: bool = True
    process: subprocess.Popen = None
    log: object = None

    def start(self):
        """Returns the milliseconds until it answered its first request."""
        with contextlib.suppress(FileNotFoundError):
            self.socket.unlink()
        self.log = open(self.socket.parent / f"{self.name}.log", "w+")
        # A child inherits where its parent may run.
        os.sched_setaffinity(0, {SERVER_CPU})
        started = time.perf_counter()
        try:
            self.process = subprocess.Popen(
                self.command, env=os.environ | self.env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
            )
        finally:
            os.sched_setaffinity(0, {LOAD_CPU})
        while True:
            with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
                status, _ = self.request("GET", "/public/hello")
                if status == 200:
                    return (time.perf_counter() - started) * 1000
            if self.process.poll() is not None or time.perf_counter() - started > START_TIMEOUT_S:
                self.fail("did not start")
            time.sleep(0.0002)

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.process = None

    def request(self, method, target, body=None, token=""):
        connection = UnixConnection(self.socket)
        try:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            if body is not None:
                headers["Content-Type"] = "application/octet-stream"
            connection.request(method, self.prefix + target, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def check(self):
        """Fails unless this server does the job that is measured."""
        body = os.urandom(ECHO_LEN)
        stream = b"".join(b'data: {"delta":"token-%d"}\n\n' % i for i in range(EVENTS))
        expect = [
            (("GET", "/hello", None, self.token), (200, HELLO)),
            (("GET", "/public/hello"), (200, HELLO)),
            (("POST", "/echo", body, self.token), (200, body)),
            *(
                (("GET", f"/stream?n={EVENTS}&from={source}", None, self.token), (200, stream))
                for source in ["turns", "burst", "task"]
            ),
        ]
        if isinstance(self, Midplane):
            expect.append((("GET", "/call", None, self.token), (200, HELLO)))
        for request, answer in expect:
            got = self.request(*request)
            if got != answer:
                self.fail(f"{request[0]} {request[1]}: {got[0]} {got[1][:200]!r}")
        if self.checks_token:
            for token in ["", self.token[:-4] + "AAAA"]:
                if self.request("GET", "/hello", None, token)[0] != 401:
                    self.fail("answers without a valid token")

    def cpu_s(self):
        """Processor time of all its threads, ended ones too: CPUCLOCK_SCHED of the process (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def memory_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024

    def said(self):
        self.log.flush()
        return Path(self.log.name).read_text()

    def fail(self, what):
        sys.exit(f"bench: {self.name}: {what}\n{self.said()[-4000:]}")


class Midplane(Server):
    modules = ("bench",)

    def start(self):
        ms = super().start()
        key = (self.socket.parent / "host.key").read_text().strip()
        connection = UnixConnection(self.socket)
        session = json.dumps({"user": "bench", "modules": self.modules, "expires_in": 3600})
        connection.request("POST", "/sessions", session, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status != 201:
            self.fail(f"POST /sessions: {response.status} {answer.decode()}")
        self.token = json.loads(answer)["client_secret"]
        return ms

    def own_start_ms(self):
        ready = re.search(r"ready on .* \(([\d.]+) ms\)", self.said())
        return float(ready[1]) if ready else None


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def servers(directory, only):
    release = ROOT / "target/release"
    peers = ROOT / "target/bench-peers/release"
    sockets = {name: directory / name / "s" for name in ["midplane", "bare", "axum-jwt", "fastify"]}
    for path in sockets.values():
        path.parent.mkdir(mode=0o700)
    config = directory / "midplane/midplane.toml"
    config.write_text(
        f"""
[kernel]
socket = "{sockets["midplane"]}"
data_dir = "{directory / "data"}"
write_host_key = true
[sessions]
max_ttl = "1h"
[limits]
connections_per_process = 256   # a closed connection may be counted while the next one is open
[modules.bench]
path = "{release / "libmidplane_bench.so"}"
public = true
"""
    )
    config.chmod(0o600)
    jwt_token = jwt({"sub": "bench", "aud": "bench", "exp": int(time.time()) + 86400})
    opaque = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    everyone = [
        Server("bare", [peers / "bench-bare", sockets["bare"]], sockets["bare"], checks_token=False, token=jwt_token),
        Midplane("midplane", [release / "midplane", "serve", "--config", config], sockets["midplane"], prefix="/api/bench"),
        Server(
            "axum-jwt", [peers / "bench-axum-jwt", sockets["axum-jwt"]], sockets["axum-jwt"],
            env={"BENCH_JWT_KEY": JWT_KEY}, token=jwt_token, share=0.5,
        ),
        Server(
            "fastify", ["node", ROOT / "tests/bench/fastify/server.js", sockets["fastify"]], sockets["fastify"],
            env={"BENCH_TOKEN": opaque, "NODE_ENV": "production"}, token=opaque, share=0.15,
        ),
    ]
    return [server for server in everyone if server.name in only or server.name == BASELINE]


def jwt(claims):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    head, body = (part(json.dumps(x, separators=(",", ":")).encode()) for x in [{"alg": "HS256", "typ": "JWT"}, claims])
    signature = hmac.new(JWT_KEY.encode(), head + b"." + body, hashlib.sha256).digest()
    return b".".join([head, body, part(signature)]).decode()


def load(server, case, requests, body):
    """One run of one case; the figures of that run."""
    oha = [
        "taskset", "-c", str(LOAD_CPU), ROOT / "target/bench-tools/bin/oha", "--no-tui", "--output-format", "json",
        "-n", str(requests), "-c", str(case.connections), "--unix-socket", server.socket,
        *(body if flag == "BODY" else flag for flag in case.flags),
    ]  # fmt: skip
    if case.token:
        oha += ["-H", f"Authorization: Bearer {server.token}"]
    if "-D" in case.flags:
        oha += ["-T", "application/octet-stream"]
    before = server.cpu_s()
    done = subprocess.run(
        [*oha, f"http://localhost{server.prefix}{case.target_of(server)}"], capture_output=True, text=True, timeout=LOAD_TIMEOUT_S
    )
    if done.returncode != 0:
        server.fail(f"{case.name}: oha: {done.stderr[-2000:]}")
    cpu_s = server.cpu_s() - before
    report = json.loads(done.stdout)
    statuses, errors = report["statusCodeDistribution"], report["errorDistribution"]
    if statuses != {"200": requests} or errors:
        server.fail(f"{case.name}: {requests} requests, but the answers were {statuses}, the errors {errors}")
    total = requests * case.per_request
    return {
        "cpu_s_per_100k": cpu_s / total * 100_000,
        "per_s": total / report["summary"]["total"],
        "p50_us": report["latencyPercentiles"]["p50"] * 1e6,
        "p99_us": report["latencyPercentiles"]["p99"] * 1e6,
    }


def measure(options, directory):
    body = directory / "body"
    body.write_bytes(os.urandom(ECHO_LEN))
    field_ = servers(directory, options.servers)
    cases = [case for case in CASES if options.case in case.name]
    starts, runs = {}, {case.name: {server.name: [] for server in filter(case.concerns, field_)} for case in cases}
    with contextlib.ExitStack() as stack:
        for server in field_:
            stack.callback(server.stop)
            starts[server.name] = start(server, 1 if options.quick else STARTS)
            server.check()
        for number in range(options.rounds):
            for case in cases:
                for server in filter(case.concerns, field_):
                    note(f"round {number + 1} of {options.rounds}: {case.name}: {server.name}")
                    requests = max(case.connections, int(options.requests * case.weight * server.share))
                    if number == 0:
                        # What is compiled, grown or cached on the first requests is not what is measured.
                        load(server, case, max(case.connections, requests // 10), body)
                    runs[case.name][server.name].append(load(server, case, requests, body))
        for server in field_:
            starts[server.name]["loaded_mib"] = server.memory_mib()
    return {
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} processors",
        "rounds": options.rounds,
        "cases": {
            case.name: {"per": case.unit, "servers": {name: summary(runs[case.name], name) for name in runs[case.name]}}
            for case in cases
        },
        "start": starts,
    }


def start(server, times):
    """Leaves it running."""
    answered, own = [], []
    for _ in range(times):
        server.stop()
        answered.append(server.start())
        if isinstance(server, Midplane):
            own.append(server.own_start_ms())
    idle = {"first_answer_ms": statistics.median(answered), "idle_mib": server.memory_mib()}
    return idle | ({"own_ready_ms": statistics.median(own)} if own and None not in own else {})


def summary(by_server, name):
    """Medians over the rounds; the ratio is to the baseline in the same round."""
    figures = {key: statistics.median(run[key] for run in by_server[name]) for key in by_server[name][0]}
    pairs = list(zip(by_server[name], by_server[BASELINE], strict=True))
    ratios = sorted(run["cpu_s_per_100k"] / base["cpu_s_per_100k"] for run, base in pairs)
    throughput = statistics.median(run["per_s"] / base["per_s"] for run, base in pairs)
    return figures | {
        "ratio": statistics.median(ratios),
        "ratio_min": ratios[0],
        "ratio_max": ratios[-1],
        "per_s_ratio": throughput,
    }


def table(result):
    head = ["", "server", "CPU s/100k", "x bare", "(least-most)", "per s", "x bare", "p50 us", "p99 us"]
    rows = [head]
    for case, measured in result["cases"].items():
        for name, f in measured["servers"].items():
            label = f"{case} ({measured['per']})" if name == BASELINE else ""
            spread = f"{f['ratio_min']:.2f}-{f['ratio_max']:.2f}"
            rows.append([label, name, f"{f['cpu_s_per_100k']:.3f}", f"{f['ratio']:.2f}", spread,
                         f"{f['per_s']:,.0f}", f"{f['per_s_ratio']:.2f}", f"{f['p50_us']:,.0f}", f"{f['p99_us']:,.0f}"])  # fmt: skip
    show(rows)
    print()
    rows = [["", "first answer ms", "own ready ms", "idle MiB", "after load MiB"]]
    for name, f in result["start"].items():
        own = f"{f['own_ready_ms']:.0f}" if "own_ready_ms" in f else ""
        rows.append([name, f"{f['first_answer_ms']:.1f}", own, f"{f['idle_mib']:.1f}", f"{f['loaded_mib']:.1f}"])
    show(rows)
    print(f"\n{result['machine']}; medians of {result['rounds']} rounds; server on processor {SERVER_CPU}, load on {LOAD_CPU}")


def show(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    text = {i for i in range(len(rows[0])) if not any(ch.isdigit() for row in rows[1:] for ch in row[i][:1])}
    for row in rows:
        cells = [cell.ljust(width) if i in text else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def note(text):
    print(f"\r\033[K{text}" if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)


def arguments():
    names = ["bare", "midplane", "axum-jwt", "fastify"]
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Midplane against its peers, on this machine.")
    parser.add_argument("--rounds", type=int, default=3, help="how often every server takes its turn (default 3)")
    parser.add_argument("--requests", type=int, default=100_000, help="requests of the longest case (default 100,000)")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, measures little")
    parser.add_argument("--servers", default=",".join(names), help=f"of {','.join(names)}; {BASELINE} is always there")
    parser.add_argument("--case", default="", help="only cases whose name has this in it")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    options = parser.parse_args()
    options.servers = options.servers.split(",")
    if unknown := set(options.servers) - set(names):
        parser.error(f"there is no server {', '.join(unknown)}")
    if not any(options.case in case.name for case in CASES):
        parser.error(f"there is no such case; there are: {'; '.join(case.name for case in CASES)}")
    if options.quick:
        options.rounds, options.requests = 1, 5_000
    return options


def expect_two_processors():
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: needs Linux and two processors, one for the server and one for the load")


def run(options, measure, table, parent="/tmp"):
    """Measures in a directory that is gone afterwards, and shows it as the options want."""
    # Short: a socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="mpb-", dir=parent) as directory:
        result = measure(options, Path(directory))
    note("")
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        table(result)


def main():
    options = arguments()
    expect_two_processors()
    run(options, measure, table)


if __name__ == "__main__":
    main()
