"""Whatever another module sends, well formed or not: what reaches the client is what the package's types accept.

Events are made at random from the types' own JSON schema, and then spoilt at random. A well formed one arrives as it was
sent, but for its thread and time; a spoilt one arrives only if the types accept it. (They may write it otherwise than it came:
of a widget's properties, which are the client's business, they know defaults.)
"""

import json
import os
import random

from chatkit.types import Page, ThreadItem, ThreadStreamEvent
from pydantic import TypeAdapter, ValidationError

from pair import EVENT, same

from midplane import Session, configure, run, text_input

SEED = int(os.environ.get("MIDPLANE_SWEEP_SEED", "6"))
EVENTS = int(os.environ.get("MIDPLANE_SWEEP_EVENTS", "150"))
DEPTH_MAX = 12
ITEMS = TypeAdapter(Page[ThreadItem])
SCHEMA = TypeAdapter(ThreadStreamEvent).json_schema()
# What chat does not take from a module, or not as it is: it makes threads itself, and sends what it changed of one.
OWN = {"thread.created", "thread.updated"}
HIDDEN = {"hidden_context_item", "sdk_hidden_context"}
# Updates and removals name an item, which must be there, and be of the right kind: tests/rust has those.
NAMING = {"thread.item.updated", "thread.item.removed"}


class Maker:
    """Values of a JSON schema, the small ones first when it gets deep."""

    def __init__(self, dice):
        self.dice = dice

    def make(self, schema, depth=0):
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            return self.make(SCHEMA["$defs"][name], depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.dice.choice(schema["enum"])
        for union in ("oneOf", "anyOf"):
            if union in schema:
                choices = schema[union]
                plain = [one for one in choices if "$ref" not in one and one.get("type") not in ("object", "array")]
                return self.make(self.dice.choice(plain if plain and depth > DEPTH_MAX else choices), depth)
        match schema.get("type"):
            case "object":
                return self.object(schema, depth)
            case "array":
                length = 0 if depth > DEPTH_MAX else self.dice.randrange(3)
                return [self.make(schema.get("items", {}), depth + 1) for _ in range(length)]
            case "string":
                return self.string(schema)
            case "integer":
                return self.dice.randrange(100)
            case "number":
                return self.dice.choice([0.5, 1.25, 7.0])
            case "boolean":
                return self.dice.random() < 0.5
            case "null":
                return None
            case _:
                return self.dice.choice([None, 1, "any", {"a": [1, None]}, [True]])

    def object(self, schema, depth):
        required, made = schema.get("required", []), {}
        for name, member in schema.get("properties", {}).items():
            wanted = self.dice.random() < (0.5 if depth < DEPTH_MAX else 0.1)
            if name in required or name == "type" or wanted:
                made[name] = self.make(member, depth + 1)
        more = schema.get("additionalProperties")
        if isinstance(more, dict) and self.dice.random() < 0.5:
            made["more"] = self.make(more, depth + 1)
        return made

    def string(self, schema):
        if schema.get("format") == "date-time":
            return "2026-11-18T11:06:40Z"
        if schema.get("format") == "uri":
            return self.dice.choice(["https://example.com/a", "http://localhost/b?c=d"])
        if "pattern" in schema:
            return schema["pattern"].removeprefix("^") + "x"
        return self.dice.choice(["a", "two words", "ü\n\"quoted\" \\ \u2028", "x" * 300])

    def spoil(self, value):
        """One place of the value changed: gone, or of another type."""
        places = list(places_of(value))
        at, key = self.dice.choice(places)
        if isinstance(at, dict) and self.dice.random() < 0.4:
            del at[key]
        else:
            at[key] = self.dice.choice([None, 7, "spoilt", [], {}, {"type": "spoilt"}, -1, True])
        return value


def places_of(value):
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield value, key
        yield from places_of(part)


def canonical(event):
    """As the package would send it; nothing if its own types do not read it."""
    try:
        read = EVENT.validate_json(json.dumps(event))
    except ValidationError:
        return None
    return json.loads(EVENT.dump_json(read, by_alias=True, exclude_none=True, context={"exclude_metadata": True}))


class Thread:
    def __init__(self):
        self.session = Session(user=f"sweep-{os.getpid()}")
        created = self.session.events("threads.create", input=text_input("hello"))
        self.id = created[0]["thread"]["id"]

    def say(self, event, accepted=same):
        """What arrives of this event."""
        action = {"type": "say", "payload": {"events": [event]}}
        answer = self.session.ask("threads.custom_action", thread_id=self.id, action=action)
        assert answer.status_code == 200, answer.text
        # httpx would end lines at U+2028, too, which event streams do not.
        arrived = [json.loads(event.removeprefix(b"data: ")) for event in answer.content.split(b"\n\n") if event]
        for event in arrived:
            accepted(EVENT, event)
        return arrived[1:]

    def placed(self, event):
        """In this thread, under an id that a module may give."""
        if "item" in event:
            event["item"] = {**event["item"], "thread_id": self.id, "id": f"msg_{random.randrange(10**12)}"}
        return event


def has_attachments(event):
    """They are chat's own: a module cannot make one."""
    return bool(event.get("item", {}).get("attachments"))


def timeless(event):
    if "item" in event:
        event = {**event, "item": {key: part for key, part in event["item"].items() if key != "created_at"}}
    return event


def what_is_well_formed_arrives_as_it_was_sent():
    maker, thread, seen = Maker(random.Random(SEED)), Thread(), set()
    for _ in range(EVENTS):
        event = canonical(maker.make(SCHEMA))
        if event is None or event["type"] in OWN | NAMING or has_attachments(event):
            continue
        arrived = thread.say(thread.placed(event))
        if event.get("item", {}).get("type") in HIDDEN:
            assert arrived == [], arrived
            continue
        assert [timeless(one) for one in arrived] == [timeless(event)], f"sent {event}\narrived {arrived}"
        seen |= {event["type"], event.get("item", {}).get("type")}
    assert len(seen) > 12, seen
    kept(thread)


def what_is_spoilt_arrives_only_if_the_types_accept_it():
    maker, thread, refused = Maker(random.Random(SEED + 1)), Thread(), 0
    for _ in range(EVENTS):
        event = canonical(maker.make(SCHEMA))
        if event is None:
            continue
        arrived = thread.say(maker.spoil(thread.placed(event)), accepted=read)
        refused += any(one["type"] == "error" and "message" in one for one in arrived)
    assert refused > EVENTS / 10, refused
    kept(thread, accepted=read)


def read(adapter, value):
    adapter.validate_json(json.dumps(value))


def kept(thread, accepted=same):
    """What was kept of it is listed, page by page, and the types accept that too."""
    after = {}
    while True:
        page = thread.session.json("items.list", thread_id=thread.id, limit=50, **after)
        accepted(ITEMS, page)
        if not page["has_more"]:
            break
        after = {"after": page["after"]}


configure({"provider": "echo", "actions": "actions"})
run([what_is_well_formed_arrives_as_it_was_sent, what_is_spoilt_arrives_only_if_the_types_accept_it])
