"""A `ChatKitServer` as a user of openai-chatkit writes one: over its `agents.py`, with a store in memory and the actions of
tests/modules/actions."""

import asyncio
import json
import logging
from datetime import datetime

import chatkit.agents
from agents import Agent, FunctionTool, RunConfig, Runner, StopAtTools, set_tracing_disabled
from agents.models.openai_responses import OpenAIResponsesModel
from chatkit.agents import AgentContext, ClientToolCall, ThreadItemConverter, stream_agent_response
from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import NotFoundError, Store
from chatkit.types import (
    AssistantMessageItem,
    ClosedStatus,
    HiddenContextItem,
    Page,
    SyncCustomActionResponse,
    ThreadItem,
    ThreadMetadata,
    ThreadStreamEvent,
)
from openai import AsyncOpenAI
from openai.types.responses import ResponseInputTextParam
from pydantic import TypeAdapter

import actions

set_tracing_disabled(True)
logging.disable(logging.CRITICAL)
EVENT = TypeAdapter(ThreadStreamEvent)
ITEM = TypeAdapter(ThreadItem)


convert_annotation = chatkit.agents._convert_annotation


async def convert_any_annotation(annotation, converter):
    """As the package does, but of the class that the client openai 3 gives an annotation, too: its own fails on that."""
    plain = annotation.model_dump() if hasattr(annotation, "model_dump") else annotation
    return await convert_annotation(plain, converter)


chatkit.agents._convert_annotation = convert_any_annotation


class InMemory(Store):
    """Of one user each, as `context` says."""

    def __init__(self):
        self.users = {}

    def of(self, context):
        return self.users.setdefault(context, ({}, {}))

    def thread(self, thread_id, context):
        threads, _ = self.of(context)
        if thread_id not in threads:
            raise NotFoundError(thread_id)
        return threads[thread_id]

    def items(self, thread_id, context):
        self.thread(thread_id, context)
        return self.of(context)[1][thread_id]

    @staticmethod
    def page(records, after, limit, order):
        records = list(records) if order == "asc" else list(records)[::-1]
        if after:
            records = records[[record.id for record in records].index(after) + 1 :]
        data = [record.model_copy(deep=True) for record in records[:limit]]
        has_more = len(records) > limit
        return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)

    async def load_thread(self, thread_id, context):
        return self.thread(thread_id, context).model_copy(deep=True)

    async def save_thread(self, thread, context):
        threads, items = self.of(context)
        threads[thread.id] = ThreadMetadata(**thread.model_dump(exclude={"items"}))
        items.setdefault(thread.id, {})

    async def load_threads(self, limit, after, order, context):
        return self.page(self.of(context)[0].values(), after, limit, order)

    async def load_thread_items(self, thread_id, after, limit, order, context):
        return self.page(self.items(thread_id, context).values(), after, limit, order)

    async def add_thread_item(self, thread_id, item, context):
        self.items(thread_id, context)[item.id] = item.model_copy(deep=True)

    save_item = add_thread_item

    async def load_item(self, thread_id, item_id, context):
        if item_id not in self.items(thread_id, context):
            raise NotFoundError(item_id)
        return self.items(thread_id, context)[item_id].model_copy(deep=True)

    async def delete_thread(self, thread_id, context):
        self.thread(thread_id, context)
        threads, items = self.of(context)
        del threads[thread_id], items[thread_id]

    async def delete_thread_item(self, thread_id, item_id, context):
        self.items(thread_id, context).pop(item_id, None)

    async def save_attachment(self, attachment, context): ...
    async def load_attachment(self, attachment_id, context): ...
    async def delete_attachment(self, attachment_id, context): ...


class Converter(ThreadItemConverter):
    async def tag_to_message_content(self, tag):
        return ResponseInputTextParam(type="input_text", text=json.dumps(tag.data))

    async def hidden_context_to_input(self, item):
        return await super().hidden_context_to_input(item.model_copy(update={"content": json.dumps(item.content)}))


def title_of(text):
    """The rule of the chat module, which is its own: the first eight words."""
    words = text.split()
    return " ".join(words[:8]) + ("…" if len(words) > 8 else "")


class Oracle(ChatKitServer):
    def __init__(self, base_url, tools):
        super().__init__(InMemory())
        client = AsyncOpenAI(base_url=base_url, api_key="sk-scripted", max_retries=0)
        self.agent = Agent(
            name="scripted",
            model=OpenAIResponsesModel(model="scripted", openai_client=client),
            tools=[self.client_tool(tool) for tool in tools],
            tool_use_behavior=StopAtTools(stop_at_tool_names=[tool["name"] for tool in tools]),
        )
        self.loop = asyncio.new_event_loop()

    @staticmethod
    def client_tool(tool):
        async def invoke(run, arguments):
            run.context.client_tool_call = ClientToolCall(name=tool["name"], arguments=json.loads(arguments))
            return ""

        schema = tool.get("parameters", {"type": "object", "properties": {}})
        return FunctionTool(tool["name"], tool["description"], schema, invoke, strict_json_schema=False)

    async def respond(self, thread, input_user_message, context):
        run = AgentContext(thread=thread, store=self.store, request_context=context)
        newest_first = await self.store.load_thread_items(thread.id, None, 400, "desc", context)
        items = newest_first.data[::-1]
        input = await Converter().to_agent_input(items)
        result = Runner.run_streamed(
            self.agent,
            input,
            context=run,
            run_config=RunConfig(tracing_disabled=True),
            # A refusal is an answer, as chatkit.agents converts it, and not the exception that the Agents SDK makes of it.
            error_handlers={"model_refusal": lambda refusal: refusal.error.refusal},
        )
        async for event in stream_agent_response(run, result):
            yield event
        if thread.title is None:
            first = next(item for item in items if item.type == "user_message")
            thread.title = title_of("".join(part.text for part in first.content))

    async def action(self, thread, action, sender, context):
        for event in actions.events(action, sender, thread):
            if event["type"] == "midplane.respond":
                async for said in self.respond(thread, None, context):
                    yield said
            elif event["type"] == "thread.updated":
                thread.title, thread.status = event["thread"]["title"], ClosedStatus(reason=event["thread"]["status"]["reason"])
            elif event["type"] == "wait":
                await asyncio.Event().wait()
            else:
                event = EVENT.validate_python(self.whole(event, thread, context))
                # An integrator keeps what it updates; chat does it for its modules.
                if event.type == "thread.item.updated" and event.update.type == "widget.root.updated" and sender:
                    kept = sender.model_copy(update={"widget": event.update.widget})
                    await self.store.save_item(thread.id, kept, context)
                yield event

    async def sync_action(self, thread, action, sender, context):
        item = actions.item(action, sender)
        if item:
            await self.store.save_item(thread.id, ITEM.validate_python(item), context)
        return SyncCustomActionResponse(updated_item=item and ITEM.validate_python(item))

    def whole(self, event, thread, context):
        """The event with what chat fills in for a module."""
        if "item" not in event:
            return event
        filled = {
            "id": self.store.generate_item_id("message", thread, context),
            "thread_id": thread.id,
            "created_at": datetime.now(),
        }
        return {**event, "item": {**filled, **event["item"]}}

    def ask(self, user, type, params, leave_after=None):
        """The answer: a list of events, JSON, or the exception. Leaves behind so many events, if told to."""
        request = json.dumps({"type": type, "params": params})
        return self.loop.run_until_complete(self.answer(user, request, leave_after))

    async def answer(self, user, request, leave_after):
        try:
            result = await self.process(request, user)
            if not isinstance(result, StreamingResult):
                return json.loads(result.json)
            seen, enough = [], asyncio.Event()

            async def read():
                async for event in result:
                    seen.append(json.loads(event.removeprefix(b"data: ")))
                    if len(seen) == leave_after:
                        enough.set()
                enough.set()

            reading = asyncio.ensure_future(read())
            if leave_after is not None:
                await enough.wait()
                reading.cancel()
            await asyncio.gather(reading, return_exceptions=leave_after is not None)
            return seen
        except Exception as error:
            return error
