"""The Autobahn test suite against the kernel's WebSocket endpoint.

    conform.py                    all cases, with kosoku
    conform.py 5.* 6.4.1          these cases
    conform.py --wstest PROGRAM   with the original runner, `wstest` of PyPI's autobahntestsuite, which needs Python 2.7

Verdicts are Autobahn's: OK, NON-STRICT (allowed, but not what it prefers), INFORMATIONAL (not judged), FAILED. Its cases on
compression (12 and 13) must come out as UNIMPLEMENTED: the kernel declines the extension.
"""

import argparse
import asyncio
import collections
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from relay import relay

SOCKET = os.environ["MIDPLANE_SOCKET"]
HOST_KEY = os.environ["MIDPLANE_HOST_KEY"]
ROUTE = os.environ.get("MIDPLANE_ECHO", "/api/sockets/echo")

# How many cases the suite has, so that none goes missing unseen.
CASES = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "12": 90, "13": 126}
TITLES = {
    "1": "framing", "2": "pings and pongs", "3": "reserved bits", "4": "opcodes", "5": "fragmentation", "6": "UTF-8",
    "7": "closing", "9": "sizes and speed", "10": "fragments as the sender likes", "12": "compression: declined",
    "13": "compression, parameters: declined",
}
DECLINED = ("12", "13")
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")
DEADLINE_S = 300
# Cases at once. The suite waits in several of its cases, for seconds in some.
CONCURRENCY = 4
SHOWN_FRAMES = 12


@dataclass
class Verdict:
    case: str
    behavior: str
    closing: str
    # What to show of a failure.
    story: list = field(default_factory=list)

    @property
    def group(self):
        return self.case.split(".")[0]

    @property
    def good(self):
        if self.group in DECLINED:
            return self.behavior == "UNIMPLEMENTED" and self.closing in GOOD
        return self.behavior in GOOD and self.closing in GOOD

    @property
    def column(self):
        """Autobahn tells how the messages went and how the connection ended: the worse of both."""
        if not self.good:
            return "FAILED"
        if self.group in DECLINED:
            return "declined"
        return max(self.behavior, self.closing, key=GOOD.index)


async def with_kosoku(port, patterns):
    # The case files are Autobahn's own; the runner around them is not.
    from kosoku import FailureError, run_fuzzingclient

    try:
        results = await run_fuzzingclient(f"ws://127.0.0.1:{port}{ROUTE}", patterns or None, concurrency=CONCURRENCY)
    except FailureError as failure:
        # Also raised for UNIMPLEMENTED, which we judge ourselves.
        results = failure.results
    return [
        Verdict(r.case_id, r.behavior.value, r.behavior_close.value,
                [r.result, r.result_close, f"expected {r.expected}, {r.expected_close}", f"received {r.received}",
                 f"closed with {r.remote_close_code} {r.remote_close_reason!r}", *frames(r.wirelog)])
        for r in results
    ]


def frames(wirelog):
    """The bytes on the wire, in hexadecimal; TO and RO are Autobahn's words for what it sent and received."""
    said = {"TO": "sent", "RO": "received"}
    octets = [f"{said[entry[0]]} {entry[1][0]} bytes: {entry[1][1]}" for entry in wirelog if entry[0] in said]
    more = len(octets) - SHOWN_FRAMES
    return octets[:SHOWN_FRAMES] + ([f"… and {more} more"] if more > 0 else [])


async def with_wstest(program, port, patterns):
    with tempfile.TemporaryDirectory() as work:
        spec = {
            "outdir": f"{work}/reports",
            "servers": [{"agent": "midplane", "url": f"ws://127.0.0.1:{port}{ROUTE}"}],
            "cases": patterns or ["*"],
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        Path(work, "spec.json").write_text(json.dumps(spec))
        wstest = await asyncio.create_subprocess_exec(
            program, "--mode", "fuzzingclient", "--spec", f"{work}/spec.json", cwd=work,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert await wstest.wait() == 0, f"{program} ended with {wstest.returncode}"
        finally:
            if wstest.returncode is None:
                wstest.kill()
        index = json.loads(Path(work, "reports/index.json").read_text())["midplane"]
        verdicts = []
        for case, found in index.items():
            report = json.loads(Path(work, "reports", found["reportfile"]).read_text())
            story = [report["result"], report["resultClose"], f"received {report['received']}", *frames(report["wirelog"])]
            verdicts.append(Verdict(case, found["behavior"], found["behaviorClose"], story))
        return verdicts


def order(verdict):
    return [int(number) for number in verdict.case.split(".")]


def show(verdicts):
    columns = ["OK", "NON-STRICT", "INFORMATIONAL", "declined", "FAILED"]
    print("{:36}{:>7}{:>13}{:>16}{:>11}{:>9}".format("cases", *columns))
    for group in sorted({verdict.group for verdict in verdicts}, key=int):
        counts = collections.Counter(verdict.column for verdict in verdicts if verdict.group == group)
        cells = [counts[column] or "-" for column in columns]
        print("{:>4} {:31}{:>7}{:>13}{:>16}{:>11}{:>9}".format(group, TITLES.get(group, ""), *cells))
    for column in ("NON-STRICT", "INFORMATIONAL"):
        if found := [verdict.case for verdict in verdicts if verdict.column == column]:
            print(f"{column}: {' '.join(found)}")
    for verdict in verdicts:
        if not verdict.good:
            print(f"FAILED {verdict.case}: messages {verdict.behavior}, closing {verdict.closing}")
            print("\n".join(f"    {line}" for line in verdict.story))


def missing(verdicts):
    """Groups of which not every case was run."""
    counts = collections.Counter(verdict.group for verdict in verdicts)
    return [f"group {group}: {counts[group]} cases ran, not {number}" for group, number in CASES.items() if counts[group] != number]


def client_secret():
    with httpx.Client(transport=httpx.HTTPTransport(uds=SOCKET), base_url="http://localhost") as host:
        wish = {"user": "autobahn", "modules": ["sockets"]}
        answer = host.post("/sessions", json=wish, headers={"authorization": f"Bearer {HOST_KEY}"})
    assert answer.status_code == 201, answer.text
    return answer.json()["client_secret"]


async def run(arguments):
    async with asyncio.timeout(DEADLINE_S), relay(SOCKET, client_secret()) as port:
        if arguments.wstest:
            return await with_wstest(arguments.wstest, port, arguments.cases)
        return await with_kosoku(port, arguments.cases)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="numbers or patterns; all if none is named")
    parser.add_argument("--wstest", metavar="PROGRAM", help="the original runner")
    arguments = parser.parse_args()
    started = time.monotonic()
    verdicts = sorted(asyncio.run(run(arguments)), key=order)
    show(verdicts)
    faults = [verdict for verdict in verdicts if not verdict.good]
    gone = [] if arguments.cases else missing(verdicts)
    print("\n".join(gone), end="\n" if gone else "")
    print(f"autobahn: {time.monotonic() - started:.0f} s")
    print(f"{len(verdicts) - len(faults)} passed, {len(faults)} failed", flush=True)
    sys.exit(1 if faults or gone or not verdicts else 0)


main()
