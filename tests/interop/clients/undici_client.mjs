// Node's undici and Node's own http as callers of the kernel: what a VS Code extension does.

import assert from "node:assert/strict";
import http from "node:http";
import { createRequire } from "node:module";

// The packages lie in tests/.cache, not beside this file.
const require = createRequire(`${process.env.NODE_PATH_DIR}/`);
const { Agent, request } = require("undici");

const SOCKET = process.env.MIDPLANE_SOCKET;
const HOST_KEY = process.env.MIDPLANE_HOST_KEY;
const DEADLINE_MS = 30_000;
const agent = new Agent({ connect: { socketPath: SOCKET }, connections: 16, bodyTimeout: DEADLINE_MS, headersTimeout: DEADLINE_MS });

function ask(method, path, { credential, json } = {}) {
  const headers = {};
  if (credential) headers.authorization = `Bearer ${credential}`;
  if (json) headers["content-type"] = "application/json";
  return request(`http://localhost${path}`, { dispatcher: agent, method, headers, body: json && JSON.stringify(json) });
}

async function issue(wish) {
  const answer = await ask("POST", "/sessions", { credential: HOST_KEY, json: wish });
  const body = await answer.body.json();
  assert.equal(answer.statusCode, 201, JSON.stringify(body));
  return body;
}

function createThread(text) {
  const input = { content: [{ type: "input_text", text }], attachments: [], inference_options: {} };
  return { type: "threads.create", params: { input } };
}

// A pause between the echo's words, so that an answer takes as long as a model's.
async function slowEcho(delay) {
  const json = { config: { provider: "echo", echo_delay: delay } };
  const answer = await ask("POST", "/modules/chat/reload?wait=drained", { credential: HOST_KEY, json });
  const text = await answer.body.text();
  assert.equal(answer.statusCode, 200, text);
}

const tests = {
  async health_is_for_everybody() {
    const answer = await ask("GET", "/health");
    assert.equal(answer.statusCode, 200);
    assert.deepEqual(Object.keys(await answer.body.json()).sort(), ["protocol", "status", "version"]);
  },

  async a_session_opens_its_modules_until_it_is_revoked() {
    const issued = await issue({ user: "undici", modules: ["hello"] });
    const credential = issued.client_secret;
    const hello = await ask("GET", "/api/hello/hello", { credential });
    assert.equal(await hello.body.text(), "hello undici");
    assert.match(hello.headers["x-midplane-module"], /^hello#\d+$/);
    const control = await ask("GET", "/modules", { credential });
    assert.equal(control.statusCode, 403);
    await control.body.dump();
    const revoked = await ask("DELETE", `/sessions/${issued.id}`, { credential: HOST_KEY });
    assert.equal(revoked.statusCode, 204);
    await revoked.body.dump();
    const after = await ask("GET", "/api/hello/hello", { credential });
    assert.equal(after.statusCode, 401);
    assert.equal((await after.body.json()).code, "invalid_token");
  },

  async an_answer_streams_event_by_event() {
    await slowEcho("20ms");
    const { client_secret: credential } = await issue({ user: "undici", modules: ["chat"] });
    const answer = await ask("POST", "/api/chat/chatkit", { credential, json: createThread("one two three") });
    assert.equal(answer.statusCode, 200);
    assert.equal(answer.headers["content-type"], "text/event-stream");
    let chunks = 0;
    let text = "";
    for await (const chunk of answer.body) {
      chunks += 1;
      text += chunk;
    }
    assert.ok(chunks >= 2, "the answer came in one piece");
    const events = text.split("\n\n").filter(Boolean).map((frame) => JSON.parse(frame.slice("data: ".length)));
    assert.equal(events[0].type, "thread.created");
    assert.match(events.map((event) => event.update?.delta ?? "").join(""), /one two three/);
  },

  async a_revoked_session_ends_its_stream() {
    await slowEcho("20ms");
    const { id, client_secret: credential } = await issue({ user: "undici", modules: ["chat"] });
    const answer = await ask("POST", "/api/chat/chatkit", { credential, json: createThread("word ".repeat(2000)) });
    assert.equal(answer.statusCode, 200);
    let events = 0;
    const read = (async () => {
      for await (const chunk of answer.body) events += String(chunk).split("\n\n").length - 1;
    })().catch(() => {});
    const revoked = await ask("DELETE", `/sessions/${id}`, { credential: HOST_KEY });
    assert.equal(revoked.statusCode, 204);
    await revoked.body.dump();
    await read;
    assert.ok(events < 2000, "the whole answer came although its session was revoked");
  },

  async many_at_once_are_all_answered_and_not_mixed_up() {
    const users = Array.from({ length: 10 }, (_, n) => `user-${n}`);
    const tokens = await Promise.all(users.map(async (user) => (await issue({ user, modules: ["hello"] })).client_secret));
    await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        const answer = await ask("GET", "/api/hello/hello", { credential: tokens[n % users.length] });
        assert.equal(await answer.body.text(), `hello ${users[n % users.length]}`);
      }),
    );
  },

  // No package at all: the module that comes with Node.
  async nodes_own_http_will_do() {
    const { client_secret } = await issue({ user: "node", modules: ["hello"] });
    const text = await new Promise((resolve, reject) => {
      const options = { socketPath: SOCKET, path: "/api/hello/hello", headers: { authorization: `Bearer ${client_secret}` } };
      http.get(options, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => (text += chunk)).on("end", () => resolve(text));
      }).on("error", reject);
    });
    assert.equal(text, "hello node");
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok undici: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED undici: ${name}`);
    console.error(error);
  }
}
console.log(`${Object.keys(tests).length - failed} passed, ${failed} failed`);
await agent.close();
process.exitCode = failed ? 1 : 0;
