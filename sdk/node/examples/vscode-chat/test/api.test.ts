import assert from "node:assert/strict";
import { test } from "node:test";

import { ChatKit } from "../webview/api";
import { userInput, type Event } from "../webview/chatkit";
import { Refused } from "../webview/failure";

const TURN = { type: "threads.create", params: { input: userInput("hi") } } as const;

interface Request {
  url: unknown;
  init: RequestInit;
}

/** A client whose every request gets `answer`. */
function client(answer: (request: Request) => Response): { api: ChatKit; requests: Request[] } {
  const requests: Request[] = [];
  const fetch = async (url: unknown, init: RequestInit = {}) => {
    requests.push({ url, init });
    return answer({ url, init });
  };
  return { api: new ChatKit(fetch as typeof globalThis.fetch), requests };
}

function streamOf(...chunks: string[]): Response {
  const encoder = new TextEncoder();
  return new Response(new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(encoder.encode(chunk));
      controller.close();
    },
  }));
}

async function all(events: AsyncGenerator<Event>): Promise<Event[]> {
  const found: Event[] = [];
  for await (const event of events) found.push(event);
  return found;
}

const collect = (...chunks: string[]) => all(client(() => streamOf(...chunks)).api.stream(TURN, new AbortController().signal));

test("a turn is one POST that accepts an event stream", async () => {
  const { api, requests } = client(() => streamOf());
  await all(api.stream(TURN, new AbortController().signal));
  const [{ url, init }] = requests as [Request];
  assert.equal(url, "/api/chat/chatkit");
  assert.equal(init.method, "POST");
  assert.equal(new Headers(init.headers).get("accept"), "text/event-stream");
  assert.deepEqual(JSON.parse(String(init.body)), TURN);
});

test("events are read however they are cut", async () => {
  const source = 'data: {"type":"progress_update","text":"é"}\n\n: a comment\n\ndata: {"type":"notice","level":"info","message":"m"}\r\n\r\n';
  const expect = [{ type: "progress_update", text: "é" }, { type: "notice", level: "info", message: "m" }];
  assert.deepEqual(await collect(source), expect);
  assert.deepEqual(await collect(...source), expect);
});

test("what is no event is passed over", async () => {
  const events = await collect("data: {\n\n", "data: 7\n\n", "data: null\n\n", "data: {}\n\n", 'data: {"type":"progress_update","text":"a"}\n\n');
  assert.deepEqual(events, [{ type: "progress_update", text: "a" }]);
});

test("an event that was cut off is none", async () => {
  assert.deepEqual(await collect('data: {"type":"progress_update","text":"a"}'), []);
});

test("a refusal carries the problem, or at least the status", async () => {
  const refused = async (body: string, status: number) => {
    const { api } = client(() => new Response(body, { status }));
    return all(api.stream(TURN, new AbortController().signal)).then(
      () => assert.fail("not refused"),
      (error: unknown) => error as Refused,
    );
  };
  const error = await refused('{"code":"thread_not_found","detail":"no such thread"}', 404);
  assert.ok(error instanceof Refused);
  assert.equal(error.problem.code, "thread_not_found");
  assert.equal(error.message, "no such thread");
  assert.match((await refused("<html>", 502)).message, /status 502/);
});

test("leaving a turn cancels it", async () => {
  let cancelled = false;
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode('data: {"type":"progress_update","text":"a"}\n\n')),
    cancel: () => void (cancelled = true),
  });
  const { api } = client(() => new Response(body));
  for await (const _ of api.stream(TURN, new AbortController().signal)) break;
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(cancelled, true);
});

test("pages are asked for newest first, and go on after a cursor", async () => {
  const { api, requests } = client(() => Response.json({ data: [], has_more: false }));
  await api.threads();
  await api.threads("thr_9");
  await api.items("thr_1", "msg_1");
  const bodies = requests.map(({ init }) => JSON.parse(String(init.body)));
  assert.deepEqual(bodies, [
    { type: "threads.list", params: { limit: 50, order: "desc" } },
    { type: "threads.list", params: { limit: 50, order: "desc", after: "thr_9" } },
    { type: "items.list", params: { thread_id: "thr_1", limit: 40, order: "desc", after: "msg_1" } },
  ]);
});
