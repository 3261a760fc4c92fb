import assert from "node:assert/strict";
import { test } from "node:test";

import { Turns } from "../src/turns";

const TURN = { method: "POST", headers: { accept: "text/event-stream" } };
const encoder = new TextEncoder();

/** A turn upstream, which the test feeds. */
function upstream() {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  let signal: AbortSignal | undefined;
  const body = new ReadableStream<Uint8Array>({ start: (given) => void (controller = given) });
  const turns = new Turns((async (_: unknown, init?: RequestInit) => {
    signal = init?.signal ?? undefined;
    signal?.addEventListener("abort", () => controller.error(signal?.reason));
    return new Response(body);
  }) as typeof fetch);
  return { turns, say: (text: string) => controller.enqueue(encoder.encode(text)), end: () => controller.close(), isStopped: () => signal?.aborted };
}

/** Resolves when the number of turns without a page is `expect`. */
function until(turns: Turns, expect: boolean): Promise<void> {
  if (turns.areUnattended === expect) return Promise.resolve();
  return new Promise((resolve) => {
    const listening = turns.onDidChange(() => {
      if (turns.areUnattended !== expect) return;
      listening.dispose();
      resolve();
    });
  });
}

test("an answer passes as it is", async () => {
  const { turns, say, end } = upstream();
  const response = await turns.fetch("/api/chat/chatkit", TURN);
  say("one ");
  say("two");
  end();
  assert.equal(await response.text(), "one two");
  assert.equal(turns.areUnattended, false);
});

test("an answer goes on when its page goes", async () => {
  const { turns, say, end, isStopped } = upstream();
  const page = new AbortController();
  const response = await turns.fetch("/api/chat/chatkit", { ...TURN, signal: page.signal });
  const reader = response.body!.getReader();
  say("one");
  await reader.read();
  page.abort();
  await assert.rejects(reader.read());
  await until(turns, true);
  assert.equal(isStopped(), false);
  say("two");
  end();
  await until(turns, false);
});

test("an answer goes on when its page cancels the body", async () => {
  const { turns, end, isStopped } = upstream();
  const response = await turns.fetch("/api/chat/chatkit", TURN);
  await response.body!.cancel();
  await until(turns, true);
  assert.equal(isStopped(), false);
  end();
  await until(turns, false);
});

test("a stop ends the answer, attended or not", async () => {
  for (const leave of [false, true]) {
    const { turns, isStopped } = upstream();
    const page = new AbortController();
    const response = await turns.fetch("/api/chat/chatkit", { ...TURN, signal: page.signal });
    if (leave) {
      page.abort();
      await until(turns, true);
    }
    turns.stop();
    assert.equal(isStopped(), true);
    await assert.rejects(response.text());
    await until(turns, false);
  }
});

test("other requests end with their page", async () => {
  let signal: AbortSignal | null | undefined;
  const turns = new Turns((async (_: unknown, init?: RequestInit) => {
    signal = init?.signal;
    return new Response("{}");
  }) as typeof fetch);
  const page = new AbortController();
  await turns.fetch("/api/chat/chatkit", { headers: { accept: "application/json" }, signal: page.signal });
  assert.equal(signal, page.signal);
});
