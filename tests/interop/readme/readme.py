"""Runs the examples of a README as a reader would, one after the other in one shell, and compares what they print.

    readme.py FILE

A block of `sh` is run; the block of `json` or `text` that follows is what it prints. In it `…` stands for what differs or is left
out: a string that is `…` is any value, a line or an array's item that is `…` any number of them, a member `"…"` any other
members. Times are any time. An identifier, such as `thr_5f0c…`, is whatever is printed in its place first, and from then on that,
in commands too. A block of `sh` with no block behind it must succeed, and what it prints is not looked at.

Lines of `{…}` and `data: {…}` are compared as JSON, if what is expected is some.
"""

import json
import re
import signal
import subprocess
import sys

IDENTIFIER = re.compile(r"\b(?:thr|msg|wf|tc|tsk|atc|shcx|sdst|ses|cksess)_[0-9a-z]{8,}\b")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
ANY = "…"
# For one example, on a loaded machine; SIGALRM ends what takes longer.
DEADLINE_S = 60


def main():
    path = sys.argv[1]
    shell = Shell()
    names = {}
    failures = examples = 0
    blocks = list(read(path))
    for (line, kind, text), following in zip(blocks, [*blocks[1:], (0, "", "")], strict=True):
        if kind != "sh":
            continue
        examples += 1
        for written, actual in names.items():
            text = text.replace(written, actual)
        status, printed = shell.run(text)
        try:
            if status != 0:
                raise Mismatch(f"exit status {status}")
            if following[1] == "json":
                compare(json.loads(following[2]), json.loads(printed), names, "")
            elif following[1] == "text":
                lines(following[2].splitlines(), printed.splitlines(), names)
        except (Mismatch, ValueError) as error:
            failures += 1
            print(f"{path}:{line}: {error}\n$ {text}{printed}\n--- expected ---\n{following[2]}")
    print(f"{examples} examples, {failures} failed")
    sys.exit(failures > 0 or examples == 0)


def read(path):
    """The fenced blocks: line, kind, text."""
    fence = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for block in fence.finditer(text):
        yield text.count("\n", 0, block.start()) + 1, block[1], block[2]


class Mismatch(Exception):
    pass


class Shell:
    """One bash for all of them, so that functions and variables last."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, text):
        mark = "--- the end of this example ---"
        self.process.stdin.write(f"{{ {text}\n}} </dev/null; printf '\\n%s %s\\n' '{mark}' \"$?\"\n")
        self.process.stdin.flush()
        signal.alarm(DEADLINE_S)
        printed = []
        for line in self.process.stdout:
            if line.startswith(mark):
                signal.alarm(0)
                return int(line.split()[-1]), "".join(printed).removesuffix("\n")
            printed.append(line)
        raise SystemExit(f"the shell ended:\n{''.join(printed)}")


def compare(expected, actual, names, where):
    if expected == ANY:
        return
    if isinstance(expected, str) and isinstance(actual, str):
        strings(expected, actual, names, where)
    elif isinstance(expected, dict) and isinstance(actual, dict):
        for name in expected:
            if name != ANY and name not in actual:
                raise Mismatch(f"{where}: there is no `{name}` in {json.dumps(actual)[:400]}")
        for name in actual:
            if name in expected:
                compare(expected[name], actual[name], names, f"{where}/{name}")
            elif ANY not in expected:
                raise Mismatch(f"{where}: there is `{name}`, too: {json.dumps(actual[name])[:400]}")
    elif isinstance(expected, list) and isinstance(actual, list):
        sequence(expected, actual, lambda one, other, where: compare(one, other, names, where), names, where)
    elif expected != actual:
        raise Mismatch(f"{where}: {json.dumps(expected)} was expected, {json.dumps(actual)[:400]} came")


def lines(expected, actual, names):
    def one(expected, actual, where):
        told = [line.removeprefix("data: ") for line in (expected, actual)]
        is_event = [line.startswith("data: ") for line in (expected, actual)]
        try:
            parsed = [json.loads(line) for line in told if line.startswith("{")]
        except ValueError:
            parsed = []
        if len(parsed) == 2 and is_event[0] == is_event[1]:
            compare(*parsed, names, where)
        else:
            strings(expected, actual, names, where)

    def without_blank(lines):
        return [line.rstrip() for line in lines if line.strip()]

    sequence(without_blank(expected), without_blank(actual), one, names, "line ")


def sequence(expected, actual, one, names, where):
    """`…` stands for as many as it takes until the next one fits."""
    if not expected:
        if actual:
            raise Mismatch(f"{where}: nothing more was expected, and {actual[0]!r} came")
    elif expected[0] == ANY:
        rest = expected[1:]
        for skipped in range(len(actual) + 1):
            before = dict(names)
            try:
                return sequence(rest, actual[skipped:], one, names, f"{where}+{skipped}")
            except Mismatch as error:
                last = error
                names.clear()
                names.update(before)
        raise last
    elif not actual:
        raise Mismatch(f"{where}: {expected[0]!r} was expected, and nothing came")
    else:
        one(expected[0], actual[0], f"{where}[{actual[0]!r:.60}]")
        sequence(expected[1:], actual[1:], one, names, where)


def strings(expected, actual, names, where):
    if TIME.match(expected) and TIME.match(actual):
        return
    pattern, at = "", 0
    written = []
    for found in IDENTIFIER.finditer(expected):
        pattern += wild(expected[at : found.start()])
        known = names.get(found[0])
        pattern += re.escape(known) if known else f"({IDENTIFIER.pattern})"
        if not known:
            written.append(found[0])
        at = found.end()
    match = re.fullmatch(pattern + wild(expected[at:]), actual, re.S)
    if not match:
        raise Mismatch(f"{where}: {expected!r} was expected, {actual[:400]!r} came")
    for name, got in zip(written, match.groups(), strict=True):
        names.setdefault(name, got)


def wild(text):
    return ".*?".join(re.escape(part) for part in text.split(ANY))


if __name__ == "__main__":
    main()
