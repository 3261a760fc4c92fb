"""Asks the chat module and the oracle the same, and holds their answers against each other."""

import json
import re
import sys
import time
from pathlib import Path

from chatkit.types import (
    ChatKitReq,
    Page,
    SyncCustomActionResponse,
    Thread,
    ThreadItem,
    ThreadStreamEvent,
)
from pydantic import TypeAdapter

sys.path.insert(0, str(Path(__file__).parent.parent / "chat"))
from midplane import Session  # noqa: E402

REQUEST, EVENT = TypeAdapter(ChatKitReq), TypeAdapter(ThreadStreamEvent)
STREAMED = {
    "threads.create",
    "threads.add_user_message",
    "threads.add_client_tool_output",
    "threads.add_structured_input",
    "threads.retry_after_item",
    "threads.custom_action",
}
ANSWERS = {
    "threads.get_by_id": TypeAdapter(Thread),
    "threads.list": TypeAdapter(Page[Thread]),
    "threads.update": TypeAdapter(Thread),
    "items.list": TypeAdapter(Page[ThreadItem]),
    "threads.sync_custom_action": TypeAdapter(SyncCustomActionResponse),
}
ID = re.compile(r"(thr|msg|tc|wf|tsk|atc|shcx|fc)_[0-9a-f]+")
# When something was written, and how long it took.
TIMES = {"created_at", "duration"}
DEADLINE_S = 20


def same(adapter, value):
    """The package's types read the value, and write it again as it was: nothing in it is unknown to them."""
    read = adapter.validate_json(json.dumps(value))
    written = adapter.dump_json(read, by_alias=True, exclude_none=True, context={"exclude_metadata": True})
    assert json.loads(written) == value, f"sent {value}\nread {json.loads(written)}"


def shape(value, ids):
    """The value with ids numbered in the order in which they appeared, and without times."""
    if isinstance(value, dict):
        return {key: shape(part, ids) for key, part in sorted(value.items()) if key not in TIMES}
    if isinstance(value, list):
        return [shape(part, ids) for part in value]
    if isinstance(value, str) and ID.fullmatch(value):
        return ids.setdefault(value, len(ids))
    return value


class Pair:
    """One user of both."""

    def __init__(self, oracle, user):
        self.user, self.oracle = user, oracle
        self.session = Session(user=user, secret=True)
        self.our_ids, self.their_ids = {}, {}

    def ask(self, type, leave_after=None, without=(), **params):
        """The shape of both answers; they are equal but for the members `without`, of which the caller says why."""
        mine, theirs = self.params(params)
        REQUEST.validate_python({"type": type, "params": mine})
        if type in STREAMED:
            answer = self.stream(type, mine, leave_after)
            for event in answer:
                same(EVENT, event)
        else:
            answer = self.session.json(type, **mine)
            if type in ANSWERS:
                same(ANSWERS[type], answer)
        expected = self.oracle.ask(self.user, type, theirs, leave_after)
        if isinstance(expected, Exception):
            raise expected
        ours, oracles = shape(answer, self.our_ids), shape(expected, self.their_ids)
        left, right = (leave_out(value, without) for value in (ours, oracles))
        assert left == right, f"{type} {params}\nours   {lines(left)}\noracle {lines(right)}"
        return ours

    def refused(self, status, type, **params):
        """Where the package raises an exception, whatever becomes of it, or does nothing, the module answers a problem."""
        mine, theirs = self.params(params)
        answer = self.session.ask(type, **mine)
        assert answer.status_code == status, (type, answer.status_code, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"], answer.text
        expected = self.oracle.ask(self.user, type, theirs)
        assert isinstance(expected, Exception) or expected == [], f"{type}: the oracle answers {expected}"

    def pages(self, type, limit, order, **params):
        """Every page of a list, compared one by one; gives the records."""
        records, after = [], {}
        while True:
            page = self.ask(type, limit=limit, order=order, **after, **params)
            assert len(page["data"]) <= limit
            records += page["data"]
            if not page["has_more"]:
                assert "after" not in page
                return records
            after = {"after": page["after"]}

    def everything(self, limits=(2,)):
        """All there is, in both orders, on pages of these sizes and on one."""
        for order in ("asc", "desc"):
            threads = self.pages("threads.list", 100, order)
            for limit in limits:
                assert self.pages("threads.list", limit, order) == threads
            for thread in threads:
                items = self.pages("items.list", 100, order, thread_id=thread["id"])
                for limit in limits:
                    assert self.pages("items.list", limit, order, thread_id=thread["id"]) == items
        self.ask("threads.list")
        for thread in threads:
            self.ask("threads.get_by_id", thread_id=thread["id"])
            self.ask("items.list", thread_id=thread["id"])

    def until_kept(self, thread_id):
        """Waits until the module kept what it keeps when a client leaves."""
        mine, theirs = self.params({"thread_id": thread_id, "limit": 100, "order": "asc"})
        expected = self.oracle.ask(self.user, "items.list", theirs)["data"]
        deadline = time.monotonic() + DEADLINE_S
        while len(kept := self.session.json("items.list", **mine)["data"]) != len(expected):
            assert time.monotonic() < deadline, f"ours   {kept}\noracle {expected}"
            time.sleep(0.01)

    def stream(self, type, params, leave_after):
        events = []
        for event in self.session.stream(type, **params):
            events.append(event)
            if len(events) == leave_after:
                break
        return events

    def params(self, params):
        """With the ids of each side."""

        def named(value, ids):
            names = {number: id for id, number in ids.items()}
            return {
                key: [names[number] for number in part]
                if key == "item_ids"
                else names.get(part, part)
                if key in ("thread_id", "item_id", "after")
                else part
                for key, part in value.items()
            }

        return named(params, self.our_ids), named(params, self.their_ids)


def leave_out(value, members):
    if isinstance(value, dict):
        return {key: leave_out(part, members) for key, part in value.items() if key not in members}
    if isinstance(value, list):
        return [leave_out(part, members) for part in value]
    return value


def lines(value):
    return "\n       ".join(json.dumps(part) for part in value) if isinstance(value, list) else json.dumps(value)
