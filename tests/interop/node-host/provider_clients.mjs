// openai and the AI SDK with a session's fetch: what an extension does that has such a client already.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";

// The packages lie in tests/.cache, not beside this file.
const installed = createRequire(`${process.env.NODE_PATH_DIR}/`);
const { OpenAI, APIConnectionError, APIUserAbortError, NotFoundError } = installed("openai");
const { generateText, streamText } = installed("ai");
const { createOpenAICompatible } = installed("@ai-sdk/openai-compatible");
const { attachKernel, startKernel } = createRequire(new URL("../../../sdk/node/package.json", import.meta.url))("@midplane/host");

const { MIDPLANE_SOCKET: SOCKET, MIDPLANE_HOST_KEY: HOST_KEY } = process.env;
const MODULES = join(dirname(SOCKET), "modules");
const BASE = "http://localhost/api/completions/v1";
const TEXT = "the words come back one by one";

const place = mkdtempSync(join(tmpdir(), "midplane-node-host-"));
const options = {
  modules: { completions: join(MODULES, readdirSync(MODULES).find((name) => name.includes("completions"))) },
  dataDir: place,
  restart: { delaysMs: [0] },
};
const started = await startKernel(options);
const attached = await attachKernel({ socket: SOCKET, hostKey: HOST_KEY });
after(async () => {
  await Promise.all([started.dispose(), attached.dispose()]);
  rmSync(place, { recursive: true });
});

const messages = [{ role: "user", content: TEXT }];

for (const [how, kernel] of [["started", started], ["attached to", attached]]) {
  describe(`over a kernel that is ${how}`, async () => {
    const { fetch } = await kernel.createSession({ modules: ["completions"] });
    const openai = new OpenAI({ baseURL: BASE, apiKey: "unused", fetch });
    const provider = createOpenAICompatible({ name: "midplane", baseURL: BASE, fetch, includeUsage: true });

    test("openai: models and a whole answer", async () => {
      const ids = [];
      for await (const { id } of openai.models.list()) {
        ids.push(id);
      }
      assert.deepEqual(ids, ["echo", "endless"]);
      const { choices, usage } = await openai.chat.completions.create({ model: "echo", messages });
      assert.deepEqual([choices[0].message.content, choices[0].finish_reason, usage.completion_tokens], [TEXT, "stop", 7]);
    });

    test("openai: a stream", async () => {
      const stream = await openai.chat.completions.create({ model: "echo", messages, stream: true, stream_options: { include_usage: true } });
      const pieces = [];
      let usage;
      for await (const chunk of stream) {
        pieces.push(chunk.choices[0]?.delta.content ?? "");
        usage = chunk.usage ?? usage;
      }
      assert.deepEqual(pieces.filter(Boolean), TEXT.match(/\S+ ?/g));
      assert.equal(usage.completion_tokens, 7);
    });

    test("openai: a refusal, and a stream that is left", async () => {
      await assert.rejects(openai.chat.completions.create({ model: "none", messages }), (error) => error instanceof NotFoundError && error.code === "model_not_found");
      const abort = new AbortController();
      const stream = await openai.chat.completions.create({ model: "endless", messages, stream: true }, { signal: abort.signal });
      const pieces = [];
      for await (const chunk of stream) {
        pieces.push(chunk.choices[0].delta.content);
        if (pieces.length === 2) {
          abort.abort();
        }
      }
      assert.deepEqual(pieces, ["", "the "]);
      await assert.rejects(openai.chat.completions.create({ model: "echo", messages }, { signal: AbortSignal.abort() }), APIUserAbortError);
    });

    test("AI SDK: a whole answer and a stream", async () => {
      const whole = await generateText({ model: provider("echo"), prompt: TEXT });
      assert.deepEqual([whole.text, whole.finishReason, whole.usage.outputTokens], [TEXT, "stop", 7]);
      const { textStream, finishReason, usage } = streamText({ model: provider("echo"), prompt: TEXT });
      const pieces = [];
      for await (const piece of textStream) {
        pieces.push(piece);
      }
      assert.deepEqual([pieces, await finishReason, (await usage).outputTokens], [TEXT.match(/\S+ ?/g), "stop", 7]);
    });

    test("AI SDK: a stream that is left", async () => {
      const abort = new AbortController();
      const { fullStream } = streamText({ model: provider("endless"), prompt: TEXT, abortSignal: abort.signal });
      const types = [];
      for await (const part of fullStream) {
        types.push(part.type);
        if (part.type === "text-delta") {
          abort.abort();
        }
      }
      assert.equal(types.at(-1), "abort");
    });
  });
}

test("openai: a kernel that is killed in the middle breaks the stream, and the next request is answered", async () => {
  const { fetch } = await started.createSession({ modules: ["completions"] });
  const openai = new OpenAI({ baseURL: BASE, apiKey: "unused", fetch, maxRetries: 0 });
  const stream = await openai.chat.completions.create({ model: "endless", messages, stream: true });
  const words = stream[Symbol.asyncIterator]();
  await words.next();
  process.kill(started.pid, "SIGKILL");
  await assert.rejects(async () => {
    while (!(await words.next()).done);
  }, TypeError);
  const { choices } = await openai.chat.completions.create({ model: "echo", messages });
  assert.equal(choices[0].message.content, TEXT);
});

test("openai: a kernel that is gone is a connection error", async (t) => {
  const kernel = await startKernel(options);
  t.after(() => kernel.dispose());
  const { fetch } = await kernel.createSession();
  await kernel.dispose();
  const openai = new OpenAI({ baseURL: BASE, apiKey: "unused", fetch, maxRetries: 0 });
  await assert.rejects(openai.models.list(), (error) => error instanceof APIConnectionError && error.cause?.cause?.code === "kernel_stopped");
});
