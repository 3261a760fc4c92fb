"""Measures what it costs a module to keep something: `Context::storage` in a real kernel, beside SQLite used directly.

Four take turns within a round, with the same keys, values and operations: SQLite on one connection behind a lock; the store's backend
without a kernel; a module whose store runs in the kernel's process; one whose store has a process of its own. What is compared is of
the same round, and shown are medians over the rounds. Nothing is pinned to a processor: the store has threads of its own, and that
they run beside the module is part of what is measured. scripts/bench builds what this needs: `scripts/bench store --help`.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from run import ROOT, Midplane, UnixConnection, note, run, show

ENTRIES, BATCH_LEN = 50_000, 100
COLUMNS = ["SQLite", "backend", "in-process", "process"]


@dataclass(frozen=True)
class Case:
    """`what` is done `operations` times, by `tasks` side by side. Reads do not know what a commit waits for."""

    name: str
    what: str
    tasks: int
    operations: int
    syncs: tuple = ("full", "normal")


CASES = [
    *(Case("get", "get", tasks, 6_000, ("full",)) for tasks in [1, 8, 64]),
    *(Case("scan of 100", "scan", tasks, 1_000, ("full",)) for tasks in [1, 8]),
    *(Case("put", "put", tasks, 640) for tasks in [1, 8, 64]),
    *(Case("commit of 100 puts", "commit", tasks, 64) for tasks in [1, 8]),
]


class Direct:
    """The program that has SQLite, and the backend, in its own process."""

    def __init__(self, program, directory, sync):
        directory.mkdir()
        self.process = subprocess.Popen([program, directory, sync], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def filled(self):
        if self.process.stdout.readline() != "filled\n":
            sys.exit("bench: the program beside did not start")

    def us(self, who, case, operations):
        self.process.stdin.write(f"{who} {case.what} {case.tasks} {operations}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Kernel(Midplane):
    """A kernel whose module does the job when it is asked to."""

    def start(self):
        self.log = open(self.socket.parent / "log", "w+")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        while "ready on" not in self.said():
            if self.process.poll() is not None:
                self.fail("did not start")
        key = (self.socket.parent / "host.key").read_text().strip()
        with contextlib.closing(UnixConnection(self.socket)) as connection:
            session = json.dumps({"user": "bench", "modules": ["notes"], "expires_in": 3600})
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            connection.request("POST", "/sessions", session, headers)
            self.token = json.loads(connection.getresponse().read())["client_secret"]
        self.ask("fill", 4, ENTRIES // BATCH_LEN)

    def ask(self, what, tasks, operations):
        query = f"what={what}&tasks={tasks}&operations={operations}"
        with contextlib.closing(UnixConnection(self.socket)) as connection:
            connection.timeout = 300
            connection.request("POST", f"/api/notes/measure?{query}", headers={"Authorization": f"Bearer {self.token}"})
            response = connection.getresponse()
            answer = response.read().decode()
        if response.status != 200:
            self.fail(f"{query}: {response.status} {answer}")
        return int(answer)


def kernel_in(directory, isolation, sync):
    release = ROOT / "target/release"
    socket = directory / f"{isolation}-{sync}" / "s"
    socket.parent.mkdir(mode=0o700)
    config = socket.parent / "midplane.toml"
    config.write_text(f"""
[kernel]
socket = "{socket}"
data_dir = "{socket.parent / "data"}"
write_host_key = true
[sessions]
max_ttl = "1h"
[modules.notes]
path = "{release / "libmidplane_notes.so"}"
[modules.store]
path = "{release / "libmidplane_store.so"}"
isolation = "{isolation}"
config = {{ sync = "{sync}" }}
""")
    config.chmod(0o600)
    return Kernel(f"{isolation}, {sync}", [release / "midplane", "serve", "--config", config], socket)


def measure(options, directory):
    cases = [case for case in CASES if options.case in case.name]
    runs = {}
    with contextlib.ExitStack() as stack:
        for sync in ["full", "normal"]:
            direct = Direct(options.beside, directory / sync, sync)
            stack.callback(direct.stop)
            direct.filled()
            kernels = [kernel_in(directory, isolation, sync) for isolation in ["in-process", "process"]]
            for kernel in kernels:
                stack.callback(kernel.stop)
                kernel.start()
            for number in range(options.rounds):
                for case in (case for case in cases if sync in case.syncs):
                    note(f"{sync}, round {number + 1} of {options.rounds}: {case.name}, {case.tasks} at once")
                    operations = max(case.tasks, case.operations // (10 if options.quick else 1))
                    us = [
                        *(direct.us(who, case, operations) for who in ["direct", "backend"]),
                        *(kernel.ask(case.what, case.tasks, operations) for kernel in kernels),
                    ]
                    runs.setdefault((case, sync), []).append([one / operations for one in us])
    return {
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} processors",
        "rounds": options.rounds,
        "load_average": os.getloadavg(),
        "cases": [
            {
                "case": case.name,
                "tasks": case.tasks,
                "sync": sync if len(case.syncs) > 1 else "",
                "us": {name: statistics.median(run[i] for run in measured) for i, name in enumerate(COLUMNS)},
                "ratio": {name: statistics.median(run[i] / run[0] for run in measured) for i, name in enumerate(COLUMNS)},
            }
            for (case, sync), measured in runs.items()
        ],
    }


def table(result):
    rows = [["us per operation", "at once", "sync", *COLUMNS, *(f"x ({name})" for name in COLUMNS[1:])]]
    for case in result["cases"]:
        us = (f"{case['us'][name]:.1f}" for name in COLUMNS)
        ratios = (f"{case['ratio'][name]:.2f}" for name in COLUMNS[1:])
        rows.append([case["case"], str(case["tasks"]), case["sync"], *us, *ratios])
    show(rows)
    load = result["load_average"][1]
    print(f"\n{result['machine']}, load average {load:.1f}; medians of {result['rounds']} rounds; x: of SQLite in the same round")


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench store", description="A module's storage beside SQLite used directly.")
    parser.add_argument("--rounds", type=int, default=7, help="how often each takes its turn (default 7)")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, measures little")
    parser.add_argument("--case", default="", help="only cases whose name has this in it")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    parser.add_argument("--directory", default="/tmp", help="on the disk that is meant (default /tmp)")
    parser.add_argument("--beside", type=Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not any(options.case in case.name for case in CASES):
        parser.error(f"there is no such case; there are: {'; '.join(sorted({case.name for case in CASES}))}")
    if options.quick:
        options.rounds = 1
    return options


def main():
    options = arguments()
    run(options, measure, table, options.directory)


if __name__ == "__main__":
    main()
