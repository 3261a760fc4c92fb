// Back-pressure, both ways, by counting what was asked of a source that never ends; and what crosses beside the bytes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CHUNK_BYTES_MAX, CHUNK_OVERHEAD, WINDOW_BYTES, chunkCost } from "../../dist/esm/webview/protocol.js";
import { Bucket } from "../../dist/esm/webview/rate.js";
import { CARRIER_NAMES, quiet, relayed, seeded, soon } from "./support.mjs";

/** A body that never ends, of chunks this long, and how much of it was asked for. */
function endless(byteLength) {
  const asked = { chunks: 0, cancelled: false };
  const stream = new ReadableStream(
    {
      pull: (controller) => {
        asked.chunks += 1;
        controller.enqueue(new Uint8Array(byteLength).fill(asked.chunks % 256));
      },
      cancel: () => {
        asked.cancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  return { stream, asked };
}

/** Chunks of a length that fit into a window; and, while there is room for a byte, the one that was read to find that it does not fit. */
const mostInWindow = (byteLength) => Math.floor(WINDOW_BYTES / chunkCost(byteLength)) + (WINDOW_BYTES % chunkCost(byteLength) >= chunkCost(1) ? 1 : 0);

for (const carrier of CARRIER_NAMES) {
  for (const byteLength of [1, 1_000, CHUNK_BYTES_MAX]) {
    test(`over ${carrier}: a response of ${byteLength}-byte chunks is read as the page reads`, async (t) => {
      const { stream, asked } = endless(byteLength);
      const { fetch, posted } = relayed(t, () => Promise.resolve(new Response(stream)), {}, carrier);
      const response = await fetch("/api/chat/stream");
      await quiet();
      assert.ok(asked.chunks > 0 && asked.chunks <= mostInWindow(byteLength), `${asked.chunks} chunks were read with nobody reading`);
      const reader = response.body.getReader();
      let read = 0;
      const target = 3 * mostInWindow(byteLength);
      while (read < target) {
        read += (await soon(reader.read(), "a chunk")).value.byteLength === byteLength ? 1 : Number.NaN;
      }
      await quiet();
      assert.ok(asked.chunks <= target + mostInWindow(byteLength), `${asked.chunks} chunks were read for ${read}`);
      // Credit is returned in lumps, not by the chunk.
      assert.ok(posted.toHost.filter(({ type }) => type === "credit").length <= 1 + (target * chunkCost(byteLength)) / (WINDOW_BYTES / 4));
      await reader.cancel();
      await quiet();
      assert.ok(asked.cancelled);
    });

    test(`over ${carrier}: an upload of ${byteLength}-byte chunks is made as upstream reads`, async (t) => {
      const { stream, asked } = endless(byteLength);
      let body;
      const { fetch } = relayed(t, (_path, init) => {
        body = init.body;
        return new Promise((_resolve, reject) => init.signal.addEventListener("abort", () => reject(init.signal.reason)));
      }, {}, carrier);
      const stop = new AbortController();
      const pending = fetch("/api/chat/open/up", { method: "POST", body: stream, signal: stop.signal });
      await quiet();
      // A `Request` may hold two chunks of its own.
      assert.ok(asked.chunks > 0 && asked.chunks <= mostInWindow(byteLength) + 2, `${asked.chunks} chunks were made with nobody reading`);
      const reader = body.getReader();
      const target = Math.min(3 * mostInWindow(byteLength), 1_500);
      for (let read = 0; read < target; read += 1) {
        assert.equal((await soon(reader.read(), "a chunk")).value.byteLength, byteLength);
      }
      await quiet();
      assert.ok(asked.chunks <= target + mostInWindow(byteLength) + 2, `${asked.chunks} chunks were made for ${target}`);
      stop.abort();
      await assert.rejects(pending, { name: "AbortError" });
      await quiet();
      assert.ok(asked.cancelled);
    });
  }

  test(`over ${carrier}: bytes arrive in order and whole, whatever the chunks`, async (t) => {
    const random = seeded(7);
    const whole = Uint8Array.from({ length: 2_000_000 }, () => random() * 256);
    const chunks = [];
    for (let at = 0; at < whole.byteLength; ) {
      const length = random() < 0.7 ? 1 + Math.floor(random() * 3_000) : 1 + Math.floor(random() * 3 * CHUNK_BYTES_MAX);
      // Views of one large buffer, as a socket's chunks are views of a pool.
      chunks.push(whole.subarray(at, at + length));
      at += length;
    }
    const down = chunks.slice();
    const { fetch, posted } = relayed(t, async (_path, init) => {
      const uploaded = Buffer.from(await new Response(init.body).arrayBuffer());
      assert.ok(uploaded.equals(whole), "the upload");
      return new Response(new ReadableStream({ pull: (controller) => (down.length > 0 ? controller.enqueue(down.shift()) : controller.close()) }));
    }, {}, carrier);
    const up = chunks.slice();
    const body = new ReadableStream({ pull: (controller) => (up.length > 0 ? controller.enqueue(up.shift()) : controller.close()) });
    const response = await soon(fetch("/api/chat/open/both", { method: "POST", body }), "the response");
    assert.ok(Buffer.from(await soon(response.arrayBuffer(), "the body")).equals(whole), "the download");
    assert.ok(up.length === 0 && down.length === 0);
    assert.ok(posted.toPage.length > 0);
  });
}

test("a chunk crosses in a buffer of its own, never with the pool it was read into", async (t) => {
  const pool = Buffer.alloc(4096, "another request's token ");
  const chunk = pool.subarray(1000, 1010).fill("x");
  const sent = [];
  const { fetch, webview } = relayed(t, () => Promise.resolve(new Response(new ReadableStream({ start: (controller) => (controller.enqueue(chunk), controller.close()) }))));
  const post = webview.postMessage.bind(webview);
  webview.postMessage = (message) => {
    if (message.type === "data") {
      sent.push([message.bytes.constructor.name, message.bytes.buffer.byteLength, Buffer.from(message.bytes.buffer.slice(0)).toString()]);
    }
    return post(message);
  };
  assert.equal(await (await fetch("/api/chat/stream")).text(), "xxxxxxxxxx");
  assert.deepEqual(sent, [["Uint8Array", 10, "xxxxxxxxxx"]]);
});

test("a page that writes very many small chunks waits its turn and is no flood", async (t) => {
  let left = 2_300;
  let received = 0;
  const { fetch, refusals } = relayed(
    t,
    async (_path, init) => {
      received = (await new Response(init.body).arrayBuffer()).byteLength;
      return new Response("taken");
    },
    { limits: { messagesPerSecond: 2_000 } },
    "port",
  );
  const body = new ReadableStream({ pull: (controller) => (left-- > 0 ? controller.enqueue(new Uint8Array(1)) : controller.close()) });
  assert.equal(await (await soon(fetch("/api/chat/open/up", { method: "POST", body }), "the upload")).text(), "taken");
  assert.equal(received, 2_300);
  assert.deepEqual(refusals, []);
});

test("the bucket: tokens come with time and not otherwise", () => {
  const bucket = new Bucket(10, 2, 0);
  const steps = [
    // [cost, at ms, taken, wait for one more like it]
    [20, 0, true, 2_000],
    [1, 0, false, 100],
    [1, 99, false, 1],
    [1, 100, true, 100],
    // A clock gone back gives nothing and takes nothing.
    [1, 50, false, 100],
    [1, 150, true, 100],
    [20, 1_000_000, true, 2_000],
  ];
  for (const [cost, at, taken, waitMs] of steps) {
    assert.equal(bucket.take(cost, at), taken, `${cost} at ${at}`);
    assert.equal(bucket.waitMs(cost, at), waitMs, `wait for ${cost} at ${at}`);
  }
  bucket.charge(5, 1_000_000);
  assert.equal(bucket.waitMs(1, 1_000_000), 600);
});

test("a window of one-byte chunks is bounded in messages", () => {
  assert.equal(mostInWindow(1), Math.floor(WINDOW_BYTES / (CHUNK_OVERHEAD + 1)));
  assert.ok(mostInWindow(1) < 1_100);
});
