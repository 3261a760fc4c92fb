import assert from "node:assert/strict";
import { test } from "node:test";

import { Changes } from "../src/changes";
import type { Change } from "../src/messages";

type Answer = string[] | "hang" | number;

/** Follows a module that answers each request for changes as said, and then not at all. */
function followed(...answers: Answer[]) {
  const signals: (AbortSignal | undefined)[] = [];
  let asked!: () => void;
  const all = new Promise<void>((resolve) => (asked = resolve));
  const changes = new Changes(
    (async (route: string, init?: RequestInit) => {
      assert.equal(route, "/api/chat/changes");
      signals.push(init?.signal ?? undefined);
      const answer = answers[signals.length - 1] ?? "hang";
      if (signals.length > answers.length) asked();
      if (typeof answer === "number") return new Response("{}", { status: answer });
      const encoder = new TextEncoder();
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          init?.signal?.addEventListener("abort", () => controller.error(init.signal?.reason));
          if (answer === "hang") return;
          for (const text of answer) controller.enqueue(encoder.encode(text));
          controller.close();
        },
      });
      return new Response(body);
    }) as typeof fetch,
    { debug: () => undefined },
  );
  const told: Change[] = [];
  changes.onDidChange((change) => told.push(change));
  return { changes, told, signals, all };
}

const READY = 'data: {"type":"ready"}\n\n';
const CHANGED = 'data: {"type":"thread.changed","thread_id":"thr_1"}\n\n';

test("changes are told as they come, comments are not, however the bytes are cut", async () => {
  const { changes, told, all } = followed([":\n\n", READY, CHANGED.slice(0, 20), CHANGED.slice(20)]);
  changes.follow();
  await all;
  assert.deepEqual(told, [{ type: "ready" }, { type: "thread.changed", thread_id: "thr_1" }]);
  changes.dispose();
});

test("the next generation is asked when one drains, and a module that is away is asked again", async () => {
  const { changes, told, all } = followed([READY, 'data: {"type":"drained"}\n\n'], 503, [READY]);
  changes.follow();
  await all;
  assert.deepEqual(told, [{ type: "ready" }, { type: "ready" }]);
  changes.dispose();
});

test("nobody is asked once nobody listens, and one at a time", async () => {
  const { changes, signals, all } = followed();
  changes.follow();
  changes.follow();
  await all;
  assert.equal(signals.length, 1);
  changes.unfollow();
  assert.equal(signals[0]?.aborted, true);
  changes.follow();
  while (signals.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  changes.dispose();
  assert.equal(signals[1]?.aborted, true);
});
