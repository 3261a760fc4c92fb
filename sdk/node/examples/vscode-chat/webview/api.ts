// Speaks ChatKit over a fetch that the extension relays; knows nothing of what is shown.

import { EventSourceParserStream } from "eventsource-parser/stream";

import type { Event, Item, Page, StreamingRequest, Thread } from "./chatkit";
import { BrokenOff, Refused, type Problem } from "./failure";

const ROUTE = "/api/chat/chatkit";
/** As many threads as a person looks through at once. */
export const THREADS_PAGE_LEN = 50;
/** A few screens of a conversation; the rest is a click away. */
export const ITEMS_PAGE_LEN = 40;

type Json = Record<string, unknown>;

export class ChatKit {
  constructor(private readonly fetch: typeof globalThis.fetch) {}

  /**
   * The events of a turn, in order. Aborting `signal` stops the turn in the module; the generator then throws the
   * signal's reason. Throws `Refused` for a status of 400 and above.
   */
  async *stream(request: StreamingRequest, signal: AbortSignal): AsyncGenerator<Event> {
    const response = await this.post(request, "text/event-stream", signal);
    if (!response.body) throw new BrokenOff();
    const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
    const reader = events.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const event = parse(value.data);
        if (event) yield event;
      }
    } finally {
      // Also when the consumer leaves early: an abandoned answer must not go on upstream.
      reader.cancel().catch(() => undefined);
    }
  }

  threads(after?: string): Promise<Page<Thread>> {
    return this.ask("threads.list", { limit: THREADS_PAGE_LEN, order: "desc", ...(after ? { after } : {}) });
  }

  thread(id: string): Promise<Thread> {
    return this.ask("threads.get_by_id", { thread_id: id });
  }

  /** The latest items, newest first, or those before `after`. */
  items(thread: string, after?: string): Promise<Page<Item>> {
    const params = { thread_id: thread, limit: ITEMS_PAGE_LEN, order: "desc" };
    return this.ask("items.list", after ? { ...params, after } : params);
  }

  rename(thread: string, title: string): Promise<Thread> {
    return this.ask("threads.update", { thread_id: thread, title });
  }

  async delete(thread: string): Promise<void> {
    await this.ask("threads.delete", { thread_id: thread });
  }

  private async ask<T>(type: string, params: Json): Promise<T> {
    const response = await this.post({ type, params }, "application/json");
    return (await response.json()) as T;
  }

  private async post(request: object, accept: string, signal?: AbortSignal): Promise<Response> {
    const response = await this.fetch(ROUTE, {
      method: "POST",
      headers: { "content-type": "application/json", accept },
      body: JSON.stringify(request),
      ...(signal ? { signal } : {}),
    });
    if (response.ok) return response;
    throw new Refused(response.status, await problemOf(response));
  }
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    const body: unknown = await response.json();
    return typeof body === "object" && body !== null ? (body as Problem) : {};
  } catch {
    return {};
  }
}

/** Nothing for what is not an event: one such line is no reason to lose the answer. */
function parse(data: string): Event | undefined {
  try {
    const event: unknown = JSON.parse(data);
    const isEvent = typeof event === "object" && event !== null && typeof (event as Json)["type"] === "string";
    return isEvent ? (event as Event) : undefined;
  } catch {
    return undefined;
  }
}
