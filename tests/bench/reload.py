"""Reloads modules thousands of times under load, and shows whether anything of the old ones is left in the process.

A release kernel serves hello and chat. Clients send requests all the time, first without reloads and then with them, each
answered by `?wait=drained`. From time to time the process is looked at: regions it has mapped, threads, descriptors, memory.
scripts/bench builds what this needs: `scripts/bench reload --help`.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from run import ROOT, Midplane, UnixConnection, note, show

# Samples of the series that are printed; ten times as many are taken and drawn.
SAMPLES_SHOWN = 10
SAMPLES = 100
# Reloads after which the series counts: allocators' arenas, the kernel's tables and the page cache have grown by then to what
# a swap under load needs. Both drains overlap, so that a run of them is needed.
WARM_UP_SHARE = 0.1
MEMORY_FLAT_MIB = 5
# Long enough for a hundred requests in the last hundredth.
STEADY_S = 5
# Short requests on kept connections, and streams, which live as long as the longest drain here.
CLIENTS = 4
PAUSE_S = 0.002
# The threads that a stream makes stay below what the module holds for one user.
STREAM_PAUSE_S = 0.05

LIST = {"type": "threads.list", "params": {"limit": 20, "order": "desc"}}
STREAM = {"type": "threads.create", "params": {"input": {
    "content": [{"type": "input_text", "text": "Say it again, please."}], "quoted_text": "", "attachments": [],
    "inference_options": {}}}}  # fmt: skip


class Client(threading.Thread):
    """Sends one request after the other on a connection that is kept, and remembers how long each took."""

    def __init__(self, kernel, over, method, target, body=None, pause_s=PAUSE_S):
        super().__init__(daemon=True)
        self.kernel, self.over, self.pause_s = kernel, over, pause_s
        self.request = (method, target, body and json.dumps(body))
        self.took_ms, self.failed = [], []

    def run(self):
        headers = {"Authorization": f"Bearer {self.kernel.token}", "Content-Type": "application/json"}
        method, target, body = self.request
        connection = UnixConnection(self.kernel.socket)
        while not self.over.is_set():
            started = time.perf_counter()
            try:
                connection.request(method, target, body, headers)
                response = connection.getresponse()
                answer = response.read()
                if response.status != 200:
                    self.failed.append(f"{response.status} {answer[:200]!r}")
            except OSError as error:
                self.failed.append(repr(error))
                connection.close()
            self.took_ms.append((time.perf_counter() - started) * 1000)
            time.sleep(self.pause_s)
        connection.close()


class Kernel(Midplane):
    """A kernel that is steered and looked at."""

    key = ""

    def control(self, connection, method, target, body=None):
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status not in (200, 201):
            self.fail(f"{method} {target}: {response.status} {answer}")
        return answer

    def look(self):
        """What the process has now."""
        proc = Path(f"/proc/{self.process.pid}")
        maps = (proc / "maps").read_text().splitlines()
        rollup = (proc / "smaps_rollup").read_text()
        return {
            "regions": len(maps),
            "module regions": sum("/data/modules/" in line for line in maps),
            "threads": len(os.listdir(proc / "task")),
            "descriptors": len(os.listdir(proc / "fd")),
            "resident MiB": int(re.search(r"^Rss:\s+(\d+)", rollup, re.M)[1]) / 1024,
            "private MiB": int(re.search(r"^Private_Dirty:\s+(\d+)", rollup, re.M)[1]) / 1024,
        }


def start(directory):
    release = ROOT / "target/release"
    suffix = "dylib" if sys.platform == "darwin" else "so"
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
[limits]
connections_per_process = 256
[modules.hello]
path = "{release / f"libmidplane_hello.{suffix}"}"
[modules.chat]
path = "{release / f"libmidplane_chat.{suffix}"}"
config = {{ provider = "echo" }}
""")
    config.chmod(0o600)
    kernel = Kernel("midplane", [release / "midplane", "serve", "--config", config], socket)
    kernel.log = open(socket.parent / "log", "w+")
    kernel.process = subprocess.Popen(kernel.command, stdin=subprocess.DEVNULL, stdout=kernel.log, stderr=kernel.log)
    deadline = time.monotonic() + 20
    while "ready on" not in kernel.said():
        if kernel.process.poll() is not None or time.monotonic() > deadline:
            kernel.fail("did not start")
        time.sleep(0.01)
    kernel.key = (socket.parent / "host.key").read_text().strip()
    connection = UnixConnection(socket)
    body = json.dumps({"user": "bench", "modules": ["hello", "chat"]})
    kernel.token = kernel.control(connection, "POST", "/sessions", body)["client_secret"]
    connection.close()
    return kernel


def clients(kernel, module, over):
    if module == "chat":
        some = [Client(kernel, over, "POST", "/api/chat/chatkit", LIST) for _ in range(CLIENTS)]
        some += [Client(kernel, over, "POST", "/api/chat/chatkit", STREAM, STREAM_PAUSE_S) for _ in range(CLIENTS // 2)]
    else:
        some = [Client(kernel, over, "GET", f"/api/{module}/hello") for _ in range(CLIENTS)]
    for client in some:
        client.start()
    return some


@contextlib.contextmanager
def load(kernel, module):
    """Clients at work; at its end all they have measured."""
    over, outcome = threading.Event(), {}
    working = clients(kernel, module, over)
    try:
        yield outcome
    finally:
        over.set()
        for client in working:
            client.join()
    took = sorted(ms for client in working for ms in client.took_ms)
    outcome |= {
        "requests": len(took),
        "failed": [text for client in working for text in client.failed],
        "p50 ms": statistics.quantiles(took, n=100)[49],
        "p99 ms": statistics.quantiles(took, n=100)[98],
        "longest ms": took[-1],
    }


def reload(kernel, module, times):
    """The series of looks, how long the reloads took, and what their receipts say of the old code."""
    connection = UnixConnection(kernel.socket)
    connection.timeout = 60
    series, took_ms, swap_us, held = [(0, kernel.look())], [], [], {}
    every = max(1, times // SAMPLES)
    for number in range(1, times + 1):
        started = time.perf_counter()
        receipt = kernel.control(connection, "POST", f"/modules/{module}/reload?wait=drained", "{}")
        took_ms.append((time.perf_counter() - started) * 1000)
        swap_us.append(receipt["swap_us"])
        if not receipt["unloaded"]:
            reason = receipt["resident_reason"]
            held[reason] = held.get(reason, 0) + 1
        if number % every == 0:
            series.append((number, kernel.look()))
            note(f"{module}: {number} of {times} reloads")
    connection.close()
    return {"series": series, "reload_ms": statistics.median(took_ms), "swap_us": statistics.median(swap_us), "held": held}


def verdicts(measured):
    """What did not stay flat after the warm-up."""
    series, times = measured["series"], measured["series"][-1][0]
    counted = [look for number, look in series if number >= times * WARM_UP_SHARE]
    first, last = counted[: max(1, len(counted) // 5)], counted[-max(1, len(counted) // 5) :]

    def grown(what):
        return statistics.median(look[what] for look in last) - statistics.median(look[what] for look in first)

    flat = {what: abs(grown(what)) <= 1 for what in ["threads", "descriptors", "module regions"]}
    # The allocator splits and joins its own regions; it does not add to them with every reload.
    flat["regions"] = grown("regions") <= max(4, times / 1000)
    flat["private MiB"] = grown("private MiB") <= MEMORY_FLAT_MIB
    return {what: {"grown": grown(what), "flat": flat[what]} for what in flat}


def drawing(title, series):
    """A small plot for each quantity, below one another, as SVG that is readable on light and dark ground."""
    names = [name for name in series[0][1] if name != "resident MiB"]
    width, height, left, gap = 640, 110, 110, 34
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {len(names) * (height + gap) + 40}" font-family="sans-serif" font-size="12">',
        "<style>text{fill:#333}.line{fill:none;stroke:#0a6ebd;stroke-width:1.5}.axis{stroke:#999}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}.line{stroke:#6cb6ff}.axis{stroke:#777}}</style>",
        f'<text x="{left}" y="18" font-size="14">{title}</text>',
    ]
    last = max(1, series[-1][0])
    for row, name in enumerate(names):
        top = 40 + row * (height + gap)
        values = [look[name] for _, look in series]
        high = max(values) * 1.1 or 1
        points = " ".join(
            f"{left + number / last * (width - left - 20):.1f},{top + height - look[name] / high * height:.1f}" for number, look in series
        )
        out += [
            f'<line class="axis" x1="{left}" y1="{top + height}" x2="{width - 20}" y2="{top + height}"/>',
            f'<text x="{left - 8}" y="{top + 12}" text-anchor="end">{name}</text>',
            f'<text x="{left - 8}" y="{top + 30}" text-anchor="end">{values[-1]:.4g}</text>',
            f'<text x="{left}" y="{top + height + 15}">0</text>',
            f'<text x="{width - 20}" y="{top + height + 15}" text-anchor="end">{last} reloads</text>',
            f'<polyline class="line" points="{points}"/>',
        ]
    return "\n".join([*out, "</svg>", ""])


def report(module, measured, steady, loaded):
    series = measured["series"]
    names = list(series[0][1])
    every = max(1, (len(series) - 1) // SAMPLES_SHOWN)
    rows = [[f"{module}: reloads", *names]]
    for number, look in series[::every]:
        rows.append([str(number), *(f"{look[name]:.1f}" if "MiB" in name else str(look[name]) for name in names)])
    show(rows)
    print()
    show([
        ["requests", "count", "failed", "p50 ms", "p99 ms", "longest ms"],
        *([name, str(f["requests"]), str(len(f["failed"])), *(f"{f[key]:.2f}" for key in ["p50 ms", "p99 ms", "longest ms"])]
          for name, f in [("without reloads", steady), ("with reloads", loaded)]),
    ])  # fmt: skip
    print(f"\na reload takes {measured['reload_ms']:.2f} ms to the end of the old one, of which requests wait {measured['swap_us']:.0f} us")
    for what, verdict in verdicts(measured).items():
        print(f"{what}: {'flat' if verdict['flat'] else 'NOT FLAT'} (grown by {verdict['grown']:.2f} after the warm-up)")
    for reason, times in measured["held"].items():
        print(f"not unloaded: {times} times: {reason}")
    for text in loaded["failed"][:5]:
        print(f"FAILED: {text}")
    print()


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench reload", description="Reloads modules under load, and looks for what is left.")
    parser.add_argument("--times", type=int, default=10_000, help="reloads of each module (default 10,000)")
    parser.add_argument("--modules", default="hello,chat", help="which (default hello,chat)")
    parser.add_argument("--out", type=Path, default=ROOT / "target/bench", help="where the drawings go (default target/bench)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args()


def main():
    options = arguments()
    if not sys.platform.startswith("linux"):
        sys.exit("bench: reads /proc, so needs Linux")
    options.out.mkdir(parents=True, exist_ok=True)
    results, well = {}, True
    # Short: a socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="mpb-", dir="/tmp") as directory, contextlib.ExitStack() as stack:
        kernel = start(Path(directory))
        stack.callback(kernel.stop)
        for module in options.modules.split(","):
            with load(kernel, module) as steady:
                time.sleep(STEADY_S)
            with load(kernel, module) as loaded:
                measured = reload(kernel, module, options.times)
            note("")
            drawn = options.out / f"reload-{module}.svg"
            drawn.write_text(drawing(f"{options.times} reloads of {module}, under load", measured["series"]))
            results[module] = measured | {"without_reloads": steady, "with_reloads": loaded, "verdicts": verdicts(measured)}
            well &= all(verdict["flat"] for verdict in verdicts(measured).values()) and not loaded["failed"] and not measured["held"]
            if not options.json:
                report(module, measured, steady, loaded)
                print(f"drawn in {drawn}\n")
    if options.json:
        print(json.dumps(results, indent=2))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
