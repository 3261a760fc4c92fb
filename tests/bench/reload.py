"""Reloads modules thousands of times under load, and shows whether anything of the old ones is left in the process.

A release kernel serves hello and chat; oha sends short requests at a steady rate, first without reloads and then with them,
one after the other, each with `?wait=drained`; for chat, clients read streams besides. From time to time the process is looked
at: regions it has mapped, threads, descriptors, memory, generations. The load has one processor, the kernel may run on all.
scripts/bench builds what this needs: `scripts/bench reload --help`.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import plot
from run import LOAD_CPU, ROOT, Midplane, UnixConnection, note, show

# Looks at the process, besides the one before the first reload.
SAMPLES = 100
# Rows of the table besides the first.
ROWS = 10
# Reloads that do not count, as a share of all. By then the allocator has as many arenas as loads, drains and requests use at
# once (every load has a thread of its own), the kernel's tables have their final size, and its code is in memory.
WARM_UP_SHARE = 0.1
# What may be added from the end of the warm-up to the last reload: half of one, of what is counted, is noise. The allocator
# maps and unmaps regions of its own, a few at a time.
COUNT_FLAT, REGIONS_FLAT, MEMORY_FLAT_MIB = 0.5, 4, 5
# What a reload may cost. Shown, and no reason to fail: what else the machine does is in it.
P99_ADDED_MS, RELOAD_MS = 5, 50
STEADY_S = 10
# Short requests: far below what the kernel can take, so that what is measured is waiting and not a queue.
RATE_PER_S, CONNECTIONS = 500, 4
# Streams, a word every few milliseconds. A thread of the conversation is left by each, of which the module keeps a thousand.
STREAMS, STREAM_PAUSE_S = 2, 0.1

CHATKIT = "/api/chat/chatkit"
LIST = {"type": "threads.list", "params": {"limit": 20, "order": "desc"}}
STREAM = {"type": "threads.create", "params": {"input": {
    "content": [{"type": "input_text", "text": "Say it again, please, and take your time about it."}], "quoted_text": "",
    "attachments": [], "inference_options": {}}}}  # fmt: skip


class Kernel(Midplane):
    """A kernel that is steered and looked at."""

    key = ""

    def start(self):
        self.log = open(self.socket.parent / "log", "w+")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        # From here on: the kernel has inherited all.
        os.sched_setaffinity(0, {LOAD_CPU})
        deadline = time.monotonic() + 20
        while "ready on" not in self.said():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.fail("did not start")
            time.sleep(0.01)
        self.key = (self.socket.parent / "host.key").read_text().strip()
        with contextlib.closing(UnixConnection(self.socket)) as connection:
            session = {"user": "bench", "modules": ["hello", "chat"]}
            self.token = self.control(connection, "POST", "/sessions", session)["client_secret"]

    def control(self, connection, method, target, body=None):
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status not in (200, 201):
            self.fail(f"{method} {target}: {response.status} {answer}")
        return answer

    def look(self, connection, module):
        """What the process has now."""
        proc = Path(f"/proc/{self.process.pid}")
        maps = (proc / "maps").read_text().splitlines()
        rollup = (proc / "smaps_rollup").read_text()

        def mib(what):
            return int(re.search(rf"^{what}:\s+(\d+)", rollup, re.M)[1]) / 1024

        return {
            "regions": len(maps),
            "module regions": sum("/data/modules/" in line for line in maps),
            "generations": self.control(connection, "GET", f"/modules/{module}")["resident_generations"],
            "threads": len(os.listdir(proc / "task")),
            "descriptors": len(os.listdir(proc / "fd")),
            "resident MiB": mib("Rss"),
            "private MiB": mib("Private_Dirty"),
        }


def kernel_in(directory):
    release = ROOT / "target/release"
    socket = directory / "k/s"
    socket.parent.mkdir(mode=0o700)
    config = socket.parent / "midplane.toml"
    config.write_text(f"""
[kernel]
socket = "{socket}"
data_dir = "{directory / "data"}"
write_host_key = true
log_filter = "warn"
[sessions]
ttl = "1h"
[modules.hello]
path = "{release / "libmidplane_hello.so"}"
[modules.chat]
path = "{release / "libmidplane_chat.so"}"
config = {{ provider = "echo", echo_delay = "2ms", store = "memory" }}
""")
    config.chmod(0o600)
    return Kernel("midplane", [release / "midplane", "serve", "--config", config], socket)


class Streams(threading.Thread):
    """Reads one stream after the other to its end, on a connection that is kept."""

    def __init__(self, kernel):
        super().__init__(daemon=True)
        self.kernel, self.over, self.whole, self.failed = kernel, threading.Event(), 0, []
        self.start()

    def run(self):
        headers = {"Authorization": f"Bearer {self.kernel.token}", "Content-Type": "application/json"}
        connection = UnixConnection(self.kernel.socket)
        while not self.over.wait(STREAM_PAUSE_S):
            try:
                connection.request("POST", CHATKIT, json.dumps(STREAM), headers)
                response = connection.getresponse()
                text = response.read().decode()
                said = json.loads(text.rstrip().rpartition("data: ")[2])
                if response.status == 200 and text.endswith("\n\n") and said["type"] == "thread.updated":
                    self.whole += 1
                else:
                    self.failed.append(f"a stream: {response.status} {text[-200:]!r}")
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.failed.append(f"a stream: {error!r}")
                connection.close()
        connection.close()


@contextlib.contextmanager
def load(kernel, module, directory):
    """Requests all the time; at the end, what came of them."""
    oha = [
        "taskset", "-c", str(LOAD_CPU), ROOT / "target/bench-tools/bin/oha", "--no-tui", "--output-format", "json",
        "-z", "24h", "-q", str(RATE_PER_S), "-c", str(CONNECTIONS), "--latency-correction",
        "--unix-socket", kernel.socket, "-H", f"Authorization: Bearer {kernel.token}",
    ]  # fmt: skip
    if module == "chat":
        body = directory / "list.json"
        body.write_text(json.dumps(LIST))
        oha += ["-m", "POST", "-T", "application/json", "-D", body, f"http://localhost{CHATKIT}"]
    else:
        oha += [f"http://localhost/api/{module}/hello"]
    outcome = {}
    asking = subprocess.Popen(oha, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    streams = [Streams(kernel) for _ in range(STREAMS)] if module == "chat" else []
    try:
        yield outcome
        for stream in streams:
            stream.over.set()
            stream.join()
        # On an interrupt it ends and reports.
        asking.send_signal(signal.SIGINT)
        said, complaint = asking.communicate(timeout=60)
    finally:
        asking.kill()
    try:
        report = json.loads(said)
    except ValueError:
        kernel.fail(f"oha: {complaint[-2000:]}")
    statuses, latency = report["statusCodeDistribution"], report["latencyPercentiles"]
    others = {status: count for status, count in statuses.items() if status != "200"} | report["errorDistribution"]
    outcome |= {
        "requests": sum(statuses.values()),
        "failed": [f"{count} requests: {what}" for what, count in others.items()] + [text for one in streams for text in one.failed],
        "streams": sum(one.whole for one in streams),
        "p50 ms": latency["p50"] * 1000,
        "p99 ms": latency["p99"] * 1000,
        "longest ms": report["summary"]["slowest"] * 1000,
    }


def reload(kernel, module, times):
    """The series of looks, and what the receipts say."""
    connection = UnixConnection(kernel.socket)
    connection.timeout = 60
    every = max(1, times // SAMPLES)
    series, took_ms, receipts, held = [(0, kernel.look(connection, module))], [], [], {}
    for number in range(1, times + 1):
        started = time.perf_counter()
        receipt = kernel.control(connection, "POST", f"/modules/{module}/reload?wait=drained", {})
        took_ms.append((time.perf_counter() - started) * 1000)
        receipts.append(receipt)
        if not receipt["unloaded"]:
            reason = receipt["resident_reason"]
            held[reason] = held.get(reason, 0) + 1
        if number % every == 0:
            series.append((number, kernel.look(connection, module)))
        if number % (every * ROWS) == 0:
            note(f"{module}: {number:,} of {times:,} reloads")
    connection.close()
    took = statistics.quantiles(took_ms, n=100)
    return {
        "times": times,
        "series": series,
        "reload_ms": took[49],
        "reload_p99_ms": took[98],
        "swap_us": statistics.median(receipt["swap_us"] for receipt in receipts),
        "drain_ms": statistics.median(receipt["drain_ms"] for receipt in receipts),
        "finished_on_old": sum(receipt["requests"]["finished_on_old"] for receipt in receipts),
        "cancelled": sum(receipt["requests"]["cancelled"] for receipt in receipts),
        "held": held,
    }


def verdicts(measured):
    """What each quantity gains from the end of the warm-up to the last reload, and whether that is flat."""
    counted = [(number, look) for number, look in measured["series"] if number >= measured["times"] * WARM_UP_SHARE]
    numbers = [number for number, _ in counted]

    def verdict(name):
        if len(counted) < 2:
            return {"per_1000": 0.0, "gained": 0.0, "flat": False}
        fitted = statistics.linear_regression(numbers, [look[name] for _, look in counted]).slope
        # The straight line sees a step up. Between any two looks, the median does not mind that the allocator gives much back
        # at once, which hides a slow growth from the line.
        pairs = itertools.combinations(counted, 2)
        typical = statistics.median((b[name] - a[name]) / (later - earlier) for (earlier, a), (later, b) in pairs)
        slope = max(fitted, typical)
        limit = {"regions": REGIONS_FLAT, "resident MiB": MEMORY_FLAT_MIB, "private MiB": MEMORY_FLAT_MIB}.get(name, COUNT_FLAT)
        gained = slope * (numbers[-1] - numbers[0])
        return {"per_1000": slope * 1000, "gained": gained, "flat": gained <= limit}

    return {name: verdict(name) for name in counted[0][1]}


def report(module, measured, steady, loaded):
    series, judged = measured["series"], verdicts(measured)
    names = list(series[0][1])
    shown = [series[round(i * (len(series) - 1) / ROWS)] for i in range(ROWS + 1)] if len(series) > ROWS else series
    rows = [[f"{module}: reloads", *names]]
    for number, look in shown:
        rows.append([f"{number:,}", *(f"{look[name]:.2f}" if "MiB" in name else str(look[name]) for name in names)])
    rows.append(["gained per 1,000", *(f"{judged[name]['per_1000']:+.3f}" for name in names)])
    rows.append(["gained in all", *(f"{judged[name]['gained']:+.2f}" for name in names)])
    rows.append(["verdict", *("flat" if judged[name]["flat"] else "NOT FLAT" for name in names)])
    show(rows)
    print(f"what is gained counts from the end of the warm-up, the first {WARM_UP_SHARE:.0%}\n")
    rows = [[f"{RATE_PER_S} requests/s", "requests", "streams", "failed", "p50 ms", "p99 ms", "longest ms"]]
    for name, f in [("without reloads", steady), ("with reloads", loaded)]:
        figures = (f"{f[key]:.2f}" for key in ["p50 ms", "p99 ms", "longest ms"])
        rows.append([name, f"{f['requests']:,}", f"{f['streams']:,}", str(len(f["failed"])), *figures])
    show(rows)
    added = loaded["p99 ms"] - steady["p99 ms"]
    print(f"p99 with reloads is {added:+.2f} ms: {budget(added, P99_ADDED_MS)}")
    print(
        f"\na reload takes {measured['reload_ms']:.1f} ms to the end of the old one (p99 {measured['reload_p99_ms']:.1f} ms), of which"
        f" new requests wait {measured['swap_us']:.0f} us and the drain lasts {measured['drain_ms']:.0f} ms (medians):"
        f" {budget(measured['reload_ms'], RELOAD_MS)}"
    )
    print(f"requests that finished on an old generation: {measured['finished_on_old']:,}, cut: {measured['cancelled']:,}")
    for reason, times in measured["held"].items():
        print(f"NOT UNLOADED at once: {times:,} times: {reason}")
    for text in [*steady["failed"], *loaded["failed"]][:5]:
        print(f"FAILED: {text}")


def budget(ms, limit_ms):
    return f"within the budget of {limit_ms} ms" if ms <= limit_ms else f"OVER the budget of {limit_ms} ms"


def went_well(measured, steady, loaded):
    flat = all(verdict["flat"] for verdict in verdicts(measured).values())
    return flat and not (steady["failed"] or loaded["failed"] or measured["cancelled"] or measured["held"])


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench reload", description="Reloads modules under load, and looks for what is left.")
    parser.add_argument("--times", type=int, default=10_000, help="reloads of each module (default 10,000)")
    parser.add_argument("--modules", default="hello,chat", help="of hello,chat (default both)")
    parser.add_argument("--out", type=Path, default=ROOT / "target/bench", help="where the drawings go (default target/bench)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    options = parser.parse_args()
    options.modules = options.modules.split(",")
    if unknown := set(options.modules) - {"hello", "chat"}:
        parser.error(f"there is no load for {', '.join(sorted(unknown))}")
    if options.times < 2:
        parser.error("fewer than two reloads show nothing")
    return options


def main():
    options = arguments()
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: needs Linux and two processors, one for the kernel and one for the load")
    options.out.mkdir(parents=True, exist_ok=True)
    results, well = {}, True
    # Short: a socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="mpb-", dir="/tmp") as directory, contextlib.ExitStack() as stack:
        directory = Path(directory)
        kernel = kernel_in(directory)
        stack.callback(kernel.stop)
        kernel.start()
        for module in options.modules:
            note(f"{module}: without reloads, for {STEADY_S} s")
            with load(kernel, module, directory) as steady:
                time.sleep(STEADY_S)
            with load(kernel, module, directory) as loaded:
                measured = reload(kernel, module, options.times)
            note("")
            judged = verdicts(measured)
            gained = {name: f"{verdict['per_1000']:+.3f} per 1,000" for name, verdict in judged.items()}
            drawn = options.out / f"reload-{module}.svg"
            title = f"{options.times:,} reloads of {module}, under load"
            drawn.write_text(plot.drawing(title, measured["series"], options.times * WARM_UP_SHARE, gained))
            well &= went_well(measured, steady, loaded)
            results[module] = measured | {"without_reloads": steady, "with_reloads": loaded, "verdicts": judged}
            if not options.json:
                report(module, measured, steady, loaded)
                print(f"drawn in {drawn}\n")
    if options.json:
        print(json.dumps(results, indent=2))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
