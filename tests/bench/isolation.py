"""Measures what a module in a process of its own costs: the same requests to the same module in both isolations.

Two kernels, one for each isolation, take turns within a round; what is compared is of the same round, and shown are medians over
the rounds. A kernel and its module process share one processor, the load has another. Nothing is judged: the table is for
choosing. scripts/bench builds what this needs: `scripts/bench isolation --help`.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import signal
import statistics
import time
from pathlib import Path

from run import CASES, ECHO_LEN, ROOT, Midplane, UnixConnection, expect_two_processors, load, note, run

HERE, APART = "in-process", "process"
# Each with a kernel of its own, since the fifth crash within a minute is the last.
CRASHES = 7
RESTART_TIMEOUT_S = 20
# Public requests cost a process the same as those with a token, and new connections never reach it.
COMPARED = [case for case in CASES if case.token and "--disable-keepalive" not in case.flags]


class Isolated(Midplane):
    """A kernel with one module; `pid` is that of the module's process, if it has one."""

    pid = None

    def start(self):
        ms = super().start()
        self.pid = self.module_pid()
        return ms

    def module_pid(self):
        key = (self.socket.parent / "host.key").read_text().strip()
        with contextlib.closing(UnixConnection(self.socket)) as connection:
            connection.request("GET", "/modules/bench", headers={"Authorization": f"Bearer {key}"})
            module = json.loads(connection.getresponse().read())
        return (module.get("process") or {}).get("pid")

    def cpu_s(self):
        own = super().cpu_s()
        # As there.
        return own + time.clock_gettime((~self.pid << 3) | 2) if self.pid else own

    def private_mib(self):
        return {"kernel": private_mib(self.process.pid)} | ({"module process": private_mib(self.pid)} if self.pid else {})

    def crash(self):
        """Kills the module's process; the milliseconds until a request is answered again."""
        started = time.perf_counter()
        os.kill(self.pid, signal.SIGKILL)
        # One that comes before the end is noticed ends with it, as 502.
        while self.request("GET", "/hello", token=self.token)[0] != 200 or self.module_pid() == self.pid:
            if time.perf_counter() - started > RESTART_TIMEOUT_S:
                self.fail("its module was not started again")
        return (time.perf_counter() - started) * 1000


def private_mib(pid):
    """What it would give back if it ended alone."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+)", rollup, re.M)) / 1024


def kernel_in(directory, isolation):
    release = ROOT / "target/release"
    socket = directory / isolation / "s"
    socket.parent.mkdir(mode=0o700)
    config = socket.parent / "midplane.toml"
    config.write_text(f"""
[kernel]
socket = "{socket}"
data_dir = "{socket.parent / "data"}"
write_host_key = true
[sessions]
max_ttl = "1h"
[limits]
connections_per_process = 256
[modules.bench]
path = "{release / "libmidplane_bench.so"}"
public = true
isolation = "{isolation}"
""")
    config.chmod(0o600)
    command = [release / "midplane", "serve", "--config", config]
    return Isolated(isolation, command, socket, prefix="/api/bench")


def measure(options, directory):
    body = directory / "body"
    body.write_bytes(os.urandom(ECHO_LEN))
    kernels = [kernel_in(directory, isolation) for isolation in [HERE, APART]]
    cases = [case for case in COMPARED if options.case in case.name]
    runs = {case.name: {kernel.name: [] for kernel in kernels} for case in cases}
    memory, restarts = {}, []
    with contextlib.ExitStack() as stack:
        for kernel in kernels:
            stack.callback(kernel.stop)
        for number in range(1 if options.quick else CRASHES):
            note(f"crash {number + 1}")
            kernels[1].start()
            restarts.append(kernels[1].crash())
            kernels[1].stop()
        for kernel in kernels:
            kernel.start()
        # With all of them there: what the one program has mapped is then nobody's own.
        for kernel in kernels:
            memory[kernel.name] = {"started": kernel.private_mib()}
            kernel.check()
        for number in range(options.rounds):
            for case in cases:
                requests = max(case.connections, int(options.requests * case.weight))
                # Who goes first takes turns, too.
                for kernel in kernels if number % 2 == 0 else reversed(kernels):
                    note(f"round {number + 1} of {options.rounds}: {case.name}: {kernel.name}")
                    if number == 0:
                        load(kernel, case, max(case.connections, requests // 10), body)
                    runs[case.name][kernel.name].append(load(kernel, case, requests, body))
        for kernel in kernels:
            memory[kernel.name]["loaded"] = kernel.private_mib()
    return {
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} processors",
        "load_average": os.getloadavg(),
        "rounds": options.rounds,
        "cases": {case.name: {"per": case.unit, "connections": case.connections} | compared(runs[case.name]) for case in cases},
        "private_mib": memory,
        "restart_ms": {"median": statistics.median(restarts), "longest": max(restarts)},
    }


def compared(by_isolation):
    """Medians over the rounds of each, and of what the pairs of a round differ by."""
    pairs = list(zip(by_isolation[HERE], by_isolation[APART], strict=True))
    names = list(pairs[0][0])
    return {
        isolation: {name: statistics.median(run[name] for run in by_isolation[isolation]) for name in names} for isolation in by_isolation
    } | {
        "ratio": {name: statistics.median(apart[name] / here[name] for here, apart in pairs) for name in names},
        "added": {name: statistics.median(apart[name] - here[name] for here, apart in pairs) for name in names},
    }


def table(result):
    rows = []
    for name, case in result["cases"].items():
        here, apart, ratio, added = case[HERE], case[APART], case["ratio"], case["added"]
        if case["connections"] == 1:
            for key in ["p50_us", "p99_us"]:
                rows.append((f"{name}: {key[:3]}, us", f"{here[key]:,.0f}", f"{apart[key]:,.0f}", f"{added[key]:+,.0f} us"))
        rows.append((f"{name}: {case['per']} per second", *(f"{f['per_s']:,.0f}" for f in (here, apart)), f"x {ratio['per_s']:.2f}"))
        cpu = (f"{f['cpu_s_per_100k'] * 10:.1f}" for f in (here, apart))
        rows.append((f"{name}: CPU us for each of the {case['per']}", *cpu, f"x {ratio['cpu_s_per_100k']:.2f}"))
    memory = result["private_mib"]
    for when, text in [("started", "right after the start"), ("loaded", "after the load")]:
        kernel, apart = memory[HERE][when]["kernel"], memory[APART][when]
        rows.append((f"private memory of the kernel, {text}, MiB", f"{kernel:.1f}", f"{apart['kernel']:.1f}", ""))
        own = apart["module process"]
        rows.append((f"private memory of the module's process, {text}, MiB", "-", f"{own:.1f}", f"+{own:.1f} MiB"))
    restart = result["restart_ms"]
    rows.append(("from a crash to the next answer, ms", "ends the kernel", f"{restart['median']:.0f}", f"longest {restart['longest']:.0f}"))
    for row in [("", HERE, APART, ""), ("---",) * 4, *rows]:
        print(f"| {' | '.join(row)} |")
    busy = result["load_average"][0]
    print(f"\n{result['machine']}, load average {busy:.1f}; medians of {result['rounds']} rounds; kernel and module process on one processor")


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench isolation", description="One module in both isolations, side by side.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each takes its turn (default 5)")
    parser.add_argument("--requests", type=int, default=50_000, help="requests of the longest case (default 50,000)")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, measures little")
    parser.add_argument("--case", default="", help="only cases whose name has this in it")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    options = parser.parse_args()
    if not any(options.case in case.name for case in COMPARED):
        parser.error(f"there is no such case; there are: {'; '.join(case.name for case in COMPARED)}")
    if options.quick:
        options.rounds, options.requests = 1, 5_000
    if options.rounds < 1:
        parser.error("no round measures nothing")
    return options


def main():
    options = arguments()
    expect_two_processors()
    run(options, measure, table)


if __name__ == "__main__":
    main()
