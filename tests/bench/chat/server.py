"""The same turn by the protocol's own server package, under uvicorn: `uvicorn server:app --uds SOCKET`.

The model is asked through the `openai` package directly, without the agents package that most would put between, which only
costs more. Threads are in memory.
"""

import os
from datetime import datetime, timezone

from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import NotFoundError, Store
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    Page,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
)
from openai import AsyncOpenAI
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

TOKEN = os.environ["BENCH_TOKEN"]
openai = AsyncOpenAI(base_url=os.environ["BENCH_PROVIDER"], api_key="none", max_retries=0)


class Memory(Store):
    def __init__(self):
        self.threads, self.items = {}, {}

    async def load_thread(self, thread_id, context):
        if thread_id not in self.threads:
            raise NotFoundError(thread_id)
        return self.threads[thread_id]

    async def save_thread(self, thread, context):
        self.threads[thread.id] = thread

    async def load_threads(self, limit, after, order, context):
        return Page(data=list(self.threads.values())[:limit])

    async def delete_thread(self, thread_id, context):
        self.threads.pop(thread_id, None)

    async def load_thread_items(self, thread_id, after, limit, order, context):
        items = self.items.get(thread_id, [])
        return Page(data=(items if order == "asc" else items[::-1])[:limit])

    async def add_thread_item(self, thread_id, item, context):
        self.items.setdefault(thread_id, []).append(item)

    async def save_item(self, thread_id, item, context):
        await self.add_thread_item(thread_id, item, context)

    async def load_item(self, thread_id, item_id, context):
        return next(item for item in self.items[thread_id] if item.id == item_id)

    async def delete_thread_item(self, thread_id, item_id, context):
        self.items[thread_id] = [item for item in self.items[thread_id] if item.id != item_id]

    async def save_attachment(self, attachment, context):
        raise NotImplementedError

    async def load_attachment(self, attachment_id, context):
        raise NotFoundError(attachment_id)

    async def delete_attachment(self, attachment_id, context):
        raise NotImplementedError


class Server(ChatKitServer):
    async def respond(self, thread, input_user_message, context):
        item = AssistantMessageItem(
            id=self.store.generate_item_id("message", thread, context),
            thread_id=thread.id,
            created_at=datetime.now(timezone.utc),
            content=[],
        )
        said = [{"role": "user", "content": input_user_message.content[0].text}]
        text = ""
        async for event in await openai.responses.create(model="bench", input=said, stream=True, store=False):
            if event.type != "response.output_text.delta":
                continue
            if not text:
                yield ThreadItemAddedEvent(item=item)
                content = AssistantMessageContent(text="", annotations=[])
                yield updated(item, AssistantMessageContentPartAdded(content_index=0, content=content))
            text += event.delta
            yield updated(item, AssistantMessageContentPartTextDelta(content_index=0, delta=event.delta))
        content = AssistantMessageContent(text=text, annotations=[])
        yield updated(item, AssistantMessageContentPartDone(content_index=0, content=content))
        yield ThreadItemDoneEvent(item=item.model_copy(update={"content": [content]}))


def updated(item, update):
    return ThreadItemUpdatedEvent(item_id=item.id, update=update)


server = Server(Memory())


async def chatkit(request):
    if request.headers.get("authorization") != f"Bearer {TOKEN}":
        return JSONResponse({"error": "unauthorized"}, 401)
    result = await server.process(await request.body(), {})
    if isinstance(result, StreamingResult):
        return StreamingResponse(result, media_type="text/event-stream")
    return Response(content=result.json, media_type="application/json")


app = Starlette(routes=[Route("/chatkit", chatkit, methods=["POST"])])
