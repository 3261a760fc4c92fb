"""A conversation with the echo, read by openai-chatkit's types and held against its own server."""

import asyncio
import json

from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import NotFoundError, Store
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    ChatKitReq,
    NoticeEvent,
    Page,
    Thread,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
)
from datetime import datetime, timezone
from pydantic import TypeAdapter

import midplane
from midplane import Session, said, text_input, types

EVENT = TypeAdapter(ThreadStreamEvent)
REQUEST = TypeAdapter(ChatKitReq)


def same(adapter, value):
    """The types read the value, and what they write is the value: nothing in it is unknown to them."""
    read = adapter.validate_json(json.dumps(value))
    written = json.loads(adapter.dump_json(read, by_alias=True, exclude_none=True, context={"exclude_metadata": True}))
    assert written == value, f"sent {value}\nread {written}"


class OracleStore(Store):
    def __init__(self):
        self.threads, self.items = {}, {}

    async def load_thread(self, thread_id, context):
        if thread_id not in self.threads:
            raise NotFoundError(thread_id)
        return self.threads[thread_id].model_copy(deep=True)

    async def save_thread(self, thread, context):
        # the server saves a Thread now and then, whose items are kept apart
        self.threads[thread.id] = ThreadMetadata(**thread.model_dump(exclude={"items"}))
        self.items.setdefault(thread.id, {})

    @staticmethod
    def page(records, after, limit, order):
        records = list(records) if order == "asc" else list(records)[::-1]
        if after:
            records = records[[record.id for record in records].index(after) + 1 :]
        has_more = len(records) > limit
        records = records[:limit]
        return Page(data=records, has_more=has_more, after=records[-1].id if has_more else None)

    async def load_thread_items(self, thread_id, after, limit, order, context):
        return self.page(self.items[thread_id].values(), after, limit, order)

    async def load_threads(self, limit, after, order, context):
        return self.page(self.threads.values(), after, limit, order)

    async def add_thread_item(self, thread_id, item, context):
        self.items[thread_id][item.id] = item

    save_item = add_thread_item

    async def load_item(self, thread_id, item_id, context):
        return self.items[thread_id][item_id]

    async def delete_thread(self, thread_id, context):
        del self.threads[thread_id], self.items[thread_id]

    async def delete_thread_item(self, thread_id, item_id, context):
        del self.items[thread_id][item_id]

    async def save_attachment(self, attachment, context): ...
    async def load_attachment(self, attachment_id, context): ...
    async def delete_attachment(self, attachment_id, context): ...


class Oracle(ChatKitServer):
    """The same echo, written as a user of openai-chatkit writes a server."""

    async def respond(self, thread, input_user_message, context):
        text = "".join(part.text for part in input_user_message.content)
        yield NoticeEvent(level="info", title="Echo", message="echo")
        item = AssistantMessageItem(
            id=self.store.generate_item_id("message", thread, context),
            thread_id=thread.id,
            created_at=datetime.now(timezone.utc),
            content=[],
        )
        yield ThreadItemAddedEvent(item=item)

        def update(change):
            return ThreadItemUpdatedEvent(item_id=item.id, update=change)

        yield update(AssistantMessageContentPartAdded(content_index=0, content=AssistantMessageContent(text="")))
        words = text.split(" ")
        for word in [word + " " for word in words[:-1]] + words[-1:]:
            yield update(AssistantMessageContentPartTextDelta(content_index=0, delta=word))
        content = AssistantMessageContent(text=text)
        yield update(AssistantMessageContentPartDone(content_index=0, content=content))
        if thread.title is None:
            thread.title = text
        yield ThreadItemDoneEvent(item=item.model_copy(update={"content": [content]}))

    def ask(self, type, **params):
        async def process():
            result = await self.process(json.dumps({"type": type, "params": params}), None)
            if isinstance(result, StreamingResult):
                return [json.loads(event.removeprefix(b"data: ")) async for event in result]
            return json.loads(result.json)

        return asyncio.run(process())


def shape(value, ids):
    """A value with ids numbered in the order of their appearance, and without its times."""
    if isinstance(value, dict):
        known = {key: shape(part, ids) for key, part in sorted(value.items()) if key not in ("created_at", "message")}
        return known
    if isinstance(value, list):
        return [shape(part, ids) for part in value]
    if isinstance(value, str) and value.split("_")[0] in ("thr", "msg"):
        return ids.setdefault(value, len(ids))
    return value


class Pair:
    """Asks both servers, checks each of our answers, and that they are alike."""

    def __init__(self):
        self.ours, self.oracle = Session(user=f"pair-{id(self)}"), Oracle(OracleStore())
        self.our_ids, self.oracle_ids = {}, {}

    def ask(self, type, adapter=None, **params):
        names = {number: id for id, number in self.our_ids.items()}
        theirs_named = {number: id for id, number in self.oracle_ids.items()}
        mine = {key: names.get(value, value) if key in IDS else value for key, value in params.items()}
        theirs = {key: theirs_named.get(value, value) if key in IDS else value for key, value in params.items()}
        if "item_ids" in params:
            mine["item_ids"] = [names[number] for number in params["item_ids"]]
            theirs["item_ids"] = [theirs_named[number] for number in params["item_ids"]]
        REQUEST.validate_python({"type": type, "params": mine})
        streams = type in ("threads.create", "threads.add_user_message", "threads.retry_after_item")
        answer = (self.ours.events if streams else self.ours.json)(type, **mine)
        expected = self.oracle.ask(type, **theirs)
        if streams:
            for event in answer:
                same(EVENT, event)
            assert types(answer) == types(expected), f"{types(answer)}\n{types(expected)}"
        elif adapter:
            same(adapter, answer)
        ours, theirs = shape(answer, self.our_ids), shape(expected, self.oracle_ids)
        assert ours == theirs, f"{type}\nours   {ours}\noracle {theirs}"
        return answer, ours


IDS = ("thread_id", "item_id", "after")


def a_conversation_is_the_reference_s():
    pair = Pair()
    thread_page, item_page, thread = TypeAdapter(Page[Thread]), TypeAdapter(Page[ThreadItem]), TypeAdapter(Thread)
    first, shaped = pair.ask("threads.create", input=text_input("Hello there"))
    assert said(first) == "Hello there"
    number, question = shaped[0]["thread"]["id"], shaped[1]["item"]["id"]
    tag = {"type": "input_tag", "id": "file", "text": "@main.rs", "data": {"line": 3}, "interactive": True}
    rich = {"content": [{"type": "input_text", "text": "what is "}, tag], "attachments": [], "inference_options": {}}
    pair.ask("threads.add_user_message", thread_id=number, input=rich)
    pair.ask("threads.get_by_id", thread, thread_id=number)
    for order in ("asc", "desc"):
        after = {}
        for _ in range(4):
            page, shaped = pair.ask("items.list", item_page, thread_id=number, limit=1, order=order, **after)
            after = {"after": shaped.get("after")}
        assert not page["has_more"]
    pair.ask("items.feedback", thread_id=number, item_ids=[question], kind="negative")
    pair.ask("threads.retry_after_item", thread_id=number, item_id=question)
    pair.ask("items.list", item_page, thread_id=number)
    pair.ask("threads.update", thread, thread_id=number, title="Renamed")
    pair.ask("threads.create", input=text_input("Another"))
    _, shaped = pair.ask("threads.list", thread_page, limit=1)
    pair.ask("threads.list", thread_page, limit=1, after=shaped["after"])
    pair.ask("threads.list", thread_page, order="asc")
    pair.ask("threads.delete", thread_id=number)
    pair.ask("threads.list", thread_page)


def a_quote_is_kept():
    session = Session(user="quote")
    events = session.events("threads_create", input=text_input("why?", quoted_text="fn main"))
    for event in events:
        same(EVENT, event)
    assert events[1]["item"]["quoted_text"] == "fn main"


def another_user_sees_nothing():
    mine = Session(user="ada").events("threads.create", input=text_input("secret plan"))
    thread_id = mine[0]["thread"]["id"]
    answer = Session(user="eve").ask("threads.get_by_id", thread_id=thread_id)
    assert answer.status_code == 404 and "secret plan" not in answer.text, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def what_is_wrong_is_a_problem():
    session = Session(user="wrong")
    for type, params, status in [
        ("threads.explode", {}, 400),
        ("threads.create", {}, 400),
        ("threads.get_by_id", {"thread_id": "thr_0"}, 404),
        ("input.transcribe", {"audio_base64": "", "mime_type": "audio/webm"}, 501),
        ("threads.sync_custom_action", {"thread_id": "thr_0", "action": {"type": "a"}}, 404),
        ("attachments.delete", {"attachment_id": "atc_0"}, 404),
    ]:
        answer = session.ask(type, **params)
        assert answer.status_code == status, (type, answer.text)
        assert answer.json()["detail"], answer.text


midplane.configure({"provider": "echo"})
midplane.run([a_conversation_is_the_reference_s, a_quote_is_kept, another_user_sees_nothing, what_is_wrong_is_a_problem])
