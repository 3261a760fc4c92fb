"""Measures whether chat's store stays as quick as it grows: the same requests with a hundred items kept, and with a million.

Both stores are filled by `midplane-store import`, with conversations as the module writes them (modules/chat/src/store/durable/keys.rs);
each is then asked through a real kernel, over its socket, by one client, a request at a time. Shown are the median and the 99th percentile
of the requests' times, and the processor's time that the kernel took for one, which a busy machine does not change.
scripts/bench builds what this needs: `scripts/bench chat-store --help`.
"""

import argparse
import base64
import contextlib
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from run import ROOT, Midplane, UnixConnection, note, show

USER = "bench"
SMALL = (100, 10)
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
TEXT = "The quick brown fox jumps over the lazy dog, and says so at some length. " * 4
SESSION_S = 3600
TURNS_PER_THREAD = 10


@dataclass(frozen=True)
class Filled:
    """How much a store holds: every thread has the same number of items."""

    items: int
    threads: int

    @property
    def of_each(self):
        return self.items // self.threads

    def thread(self, number):
        return f"thr_{number:016x}"

    def item(self, thread, place):
        return f"msg_{thread * self.of_each + place:016x}"

    def entries(self):
        """What the module would have written, key by key."""
        for number in range(self.threads):
            at = BEGIN + timedelta(seconds=60 * number)
            micros = int(at.timestamp()) * 1_000_000
            time = at.strftime("%Y-%m-%dT%H:%M:%SZ")
            name = self.thread(number)
            of = f"{USER}/{name}"
            thread = {"id": name, "title": f"Thread {number}", "created_at": time, "status": {"type": "active"}, "metadata": {}}
            yield f"t/{of}", {"v": 1, "thread": thread}
            yield f"l/{USER}/{micros:016x}/{name}", {"v": 1, "thread": thread}
            yield f"n/{of}", {"v": 1, "next": self.of_each}
            for place in range(self.of_each):
                item = {"id": self.item(number, place), "thread_id": name, "created_at": time} | said(place)
                yield f"i/{of}/{place:016x}", {"v": 1, "item": item}
                yield f"p/{of}/{item['id']}", {"v": 1, "at": place}


def said(place):
    if place % 2 == 0:
        content = [{"type": "input_text", "text": TEXT}]
        return {"type": "user_message", "content": content, "attachments": [], "inference_options": {}}
    return {"type": "assistant_message", "content": [{"type": "output_text", "text": TEXT, "annotations": []}]}


class Kernel(Midplane):
    """A kernel whose chat keeps `filled`."""

    def __init__(self, directory, filled):
        self.filled = filled
        release = ROOT / "target/release"
        socket = directory / f"{filled.items}" / "s"
        socket.parent.mkdir(mode=0o700)
        self.data = socket.parent / "data"
        config = socket.parent / "midplane.toml"
        config.write_text(f"""
[kernel]
socket = "{socket}"
data_dir = "{self.data}"
write_host_key = true
[sessions]
max_ttl = "1h"
[modules.chat]
path = "{release / "libmidplane_chat.so"}"
config = {{ provider = "echo", store = "durable" }}
[modules.store]
path = "{release / "libmidplane_store.so"}"
config = {{ quota = "16GiB" }}
""")
        config.chmod(0o600)
        super().__init__(f"{filled.items:,} items", [release / "midplane", "serve", "--config", config], socket)

    def fill(self):
        """Writes the store's file, as an operator does who restores an export."""
        file = self.data / "state/store/state.db"
        file.parent.mkdir(mode=0o700, parents=True)
        for private in [self.data, self.data / "state", file.parent]:
            private.chmod(0o700)
        command = [ROOT / "target/release/midplane-store", "--file", file, "import"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        text = lambda value: base64.b64encode(value.encode()).decode()
        lines = (
            json.dumps({"module": "chat", "key": text(key), "value": text(json.dumps(record, separators=(",", ":")))})
            for key, record in self.filled.entries()
        )
        for line in lines:
            process.stdin.write(line.encode() + b"\n")
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(f"bench: {errors.decode()}")
        return file.stat().st_size

    def start(self):
        self.log = open(self.socket.parent / "log", "w+")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        while "ready on" not in self.said():
            if self.process.poll() is not None:
                self.fail("did not start")
        key = (self.socket.parent / "host.key").read_text().strip()
        with contextlib.closing(UnixConnection(self.socket)) as connection:
            session = json.dumps({"user": USER, "modules": ["chat"], "expires_in": SESSION_S})
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            connection.request("POST", "/sessions", session, headers)
            self.token = json.loads(connection.getresponse().read())["client_secret"]
        self.connection = UnixConnection(self.socket)

    def ask(self, kind, params):
        """The answer's text, and the milliseconds until all of it was there."""
        body = json.dumps({"type": kind, "params": params})
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        started = time.perf_counter()
        self.connection.request("POST", "/api/chat/chatkit", body, headers)
        response = self.connection.getresponse()
        text = response.read().decode()
        ms = (time.perf_counter() - started) * 1000
        if response.status != 200 or '"type":"error"' in text:
            self.fail(f"{kind}: {response.status} {text[:300]}")
        return text, ms

    def stop(self):
        if self.process:
            self.connection.close()
        super().stop()


def list_threads(filled, chance):
    return "threads.list", {"limit": 20}


def list_threads_behind(filled, chance):
    return "threads.list", {"limit": 20, "after": filled.thread(chance.randrange(filled.threads))}


def thread_by_id(filled, chance):
    return "threads.get_by_id", {"thread_id": filled.thread(chance.randrange(filled.threads))}


def newest_items(filled, chance):
    return "items.list", {"thread_id": filled.thread(chance.randrange(filled.threads)), "limit": 20}


def items_behind(filled, chance):
    number = chance.randrange(filled.threads)
    after = filled.item(number, chance.randrange(filled.of_each))
    return "items.list", {"thread_id": filled.thread(number), "limit": 20, "order": "asc", "after": after}


def rename(filled, chance):
    return "threads.update", {"thread_id": filled.thread(chance.randrange(filled.threads)), "title": f"{chance.random()}"}


def said_by_user():
    content = [{"type": "input_text", "text": "hello"}]
    return {"content": content, "attachments": [], "inference_options": {}}


CASES = {
    "list threads": (list_threads, 1),
    "list threads, behind any": (list_threads_behind, 1),
    "a thread with its first items": (thread_by_id, 1),
    "newest items of a thread": (newest_items, 1),
    "items of a thread, behind any": (items_behind, 1),
    "rename a thread: one commit": (rename, 0.5),
    "a turn: a message and an answer": (None, 0.2),
}


def measure(options, directory):
    kernels = [Kernel(directory, Filled(*SMALL)), Kernel(directory, Filled(options.items, options.threads))]
    figures = {name: {} for name in CASES}
    sizes = {}
    with contextlib.ExitStack() as stack:
        for kernel in kernels:
            note(f"filling {kernel.name}")
            sizes[kernel.name] = kernel.fill()
            stack.callback(kernel.stop)
            kernel.start()
        for name, (request, share) in CASES.items():
            for kernel in kernels:
                note(f"{name}, {kernel.name}")
                count = max(10, int(options.requests * share))
                before = kernel.cpu_s()
                times = turns(kernel, count) if request is None else requests(kernel, request, count)
                cpu_ms = (kernel.cpu_s() - before) * 1000 / count
                figures[name][kernel.name] = {"p50_ms": percentile(times, 50), "p99_ms": percentile(times, 99), "cpu_ms": cpu_ms}
    return figures, sizes


def requests(kernel, request, count):
    chance = random.Random(1)
    return [kernel.ask(*request(kernel.filled, chance))[1] for _ in range(count)]


def turns(kernel, count):
    """In threads of their own, so that the model reads as much in both."""
    times = []
    for number in range(count):
        if number % TURNS_PER_THREAD == 0:
            created, _ = kernel.ask("threads.create", {"input": said_by_user()})
            thread = json.loads(created.split("data: ", 2)[1])["thread"]["id"]
        times.append(kernel.ask("threads.add_user_message", {"thread_id": thread, "input": said_by_user()})[1])
    return times


def percentile(times, percent):
    return sorted(times)[min(len(times) - 1, len(times) * percent // 100)]


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="midplane-bench-", dir=options.directory) as directory:
        figures, sizes = measure(options, Path(directory))
    note("")
    names = list(sizes)
    if options.json:
        print(json.dumps({"machine": platform.platform(), "file_bytes": sizes, "cases": figures}, indent=2))
        return
    rows = [["", *(text for name in names for text in [f"{name}: p50 ms", "p99 ms", "CPU ms"])]]
    for case, of in figures.items():
        rows.append([case, *(f"{of[name][figure]:.2f}" for name in names for figure in ["p50_ms", "p99_ms", "cpu_ms"])])
    rows.append(["file, MiB", *(text for name in names for text in [f"{sizes[name] / 2**20:.0f}", "", ""])])
    show(rows)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench chat-store", description="Chat's store, small and large.")
    parser.add_argument("--items", type=int, default=1_000_000, help="in the large store (default 1,000,000)")
    parser.add_argument("--threads", type=int, default=10_000, help="that they are spread over (default 10,000)")
    parser.add_argument("--requests", type=int, default=1_000, help="of each kind (default 1,000)")
    parser.add_argument("--directory", help="where the stores are put, to measure another disk")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
