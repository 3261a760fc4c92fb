// OpenAI's SDK for Node, unchanged, with the client secret as its API key: over the socket, in front of provider.py.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { createInterface } from "node:readline";

// The packages lie in tests/.cache, not beside this file.
const installed = createRequire(`${process.env.NODE_PATH_DIR}/`);
const openai = installed("openai");
const { Agent, request } = installed("undici");

const { MIDPLANE_SOCKET: SOCKET, MIDPLANE_HOST_KEY: HOST_KEY, MIDPLANE_SECRET_ID: SECRET_ID, MIDPLANE_SECRET: SECRET, PYTHON } = process.env;
const DEADLINE_MS = 30_000;
const WORDS = ["The ", "words ", "come ", "one ", "by ", "one."];
const TEXT = WORDS.join("");
const ARGUMENTS = '{"city": "Paris"}';
const messages = [{ role: "user", content: "speak" }];
const parameters = { type: "object", properties: { city: { type: "string" } } };

const dispatcher = new Agent({ connect: { socketPath: SOCKET } });
const provider = spawn(PYTHON, ["-B", new URL("provider.py", import.meta.url).pathname, SECRET], { stdio: ["ignore", "pipe", "inherit"] });
const [port] = await once(createInterface(provider.stdout), "line");
let token;

function client(more = {}) {
  const fetchOptions = { dispatcher };
  return new openai.OpenAI({ baseURL: "http://localhost/api/chat/v1", apiKey: token, maxRetries: 0, timeout: DEADLINE_MS, fetchOptions, ...more });
}

async function asHost(path, body) {
  const headers = { authorization: `Bearer ${HOST_KEY}`, "content-type": "application/json" };
  const answer = await request(`http://localhost${path}`, { dispatcher, method: "POST", headers, body: JSON.stringify(body) });
  const text = await answer.body.text();
  assert.ok(answer.statusCode < 300, text);
  return JSON.parse(text);
}

const configure = (config) => asHost("/modules/chat/reload?wait=drained", { config });

async function seen() {
  return (await fetch(`http://127.0.0.1:${port}/seen`)).json();
}

async function until(condition, what) {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function refused(kind, promise) {
  const error = await promise.then(
    () => assert.fail(`no ${kind.name}`),
    (error) => error,
  );
  assert.equal(error.constructor.name, kind.name, String(error));
  assert.ok(!JSON.stringify([error, error.message]).includes(SECRET));
  return error;
}

async function collect(stream) {
  const events = [];
  for await (const event of await stream) {
    events.push(event);
  }
  return events;
}

before(async () => {
  await configure({ provider: "openai", base_url: `http://127.0.0.1:${port}/v1`, model: "tiny" });
  token = (await asHost("/sessions", { user: "interop", modules: ["chat"], secret_key_id: SECRET_ID })).client_secret;
});
after(async () => {
  await configure({ provider: "echo" });
  provider.kill();
  await dispatcher.close();
});

test("a completion, whole and streamed", async () => {
  const ai = client();
  const { data, response, request_id } = await ai.chat.completions.create({ model: "tiny", messages }).withResponse();
  assert.equal(data.choices[0].message.content, TEXT);
  assert.match(response.headers.get("x-upstream-request-id"), /^req_\d+$/);
  assert.equal(response.headers.get("openai-processing-ms"), "7");
  assert.equal(response.headers.get("set-cookie"), null);
  assert.equal(request_id, response.headers.get("x-request-id"));
  const { headers } = (await seen()).requests.at(-1);
  assert.deepEqual([headers.authorization, headers["x-stainless-lang"]], [`Bearer ${SECRET}`, "js"]);
  const chunks = await collect(ai.chat.completions.create({ model: "tiny", messages, stream: true, stream_options: { include_usage: true } }));
  const words = chunks.map((chunk) => chunk.choices[0]?.delta.content).filter(Boolean);
  assert.deepEqual([words, chunks.at(-1).usage.total_tokens], [WORDS, 9]);
});

test("a completion that calls a tool, whole and streamed", async () => {
  const ai = client();
  const tools = [{ type: "function", function: { name: "weather", parameters } }];
  const { choices } = await ai.chat.completions.create({ model: "tools", messages, tools });
  assert.equal(choices[0].message.tool_calls[0].function.arguments, ARGUMENTS);
  const streamed = await ai.chat.completions.stream({ model: "tools", messages, tools }).finalMessage();
  assert.equal(streamed.tool_calls[0].function.arguments, ARGUMENTS);
});

test("a response, whole and streamed, and what is asked of it later", async () => {
  const ai = client();
  assert.equal((await ai.responses.create({ model: "tiny", input: "speak" })).output_text, TEXT);
  const events = await collect(ai.responses.create({ model: "tiny", input: "speak", stream: true }));
  const words = events.filter(({ type }) => type === "response.output_text.delta").map(({ delta }) => delta);
  assert.deepEqual(words, WORDS);
  const tools = [{ type: "function", name: "weather", parameters, strict: false }];
  const { output } = await ai.responses.stream({ model: "tools", input: "speak", tools }).finalResponse();
  assert.equal(output[0].arguments, ARGUMENTS);
  assert.equal((await ai.responses.retrieve("resp_1")).output_text, TEXT);
  assert.equal((await ai.responses.cancel("resp_1")).status, "cancelled");
  assert.deepEqual((await ai.responses.inputItems.list("resp_1")).data, []);
  await ai.responses.delete("resp_1");
});

test("embeddings and models", async () => {
  const ai = client();
  const { data } = await ai.embeddings.create({ model: "tiny", input: ["a", "b"], encoding_format: "float" });
  assert.deepEqual(data.map(({ embedding }) => embedding), [[0.5, 0], [0.5, 1]]);
  assert.deepEqual((await collect(ai.models.list())).map(({ id }) => id), ["tiny", "org/large"]);
  assert.equal((await ai.models.retrieve("org/large")).id, "org/large");
});

test("every refusal is the error of its status", async () => {
  const ai = client();
  const kinds = {
    400: openai.BadRequestError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
  };
  for (const [status, kind] of Object.entries(kinds)) {
    for (const stream of [false, true]) {
      const error = await refused(kind, ai.chat.completions.create({ model: `status-${status}`, messages, stream }));
      assert.deepEqual([error.status, error.code, error.param, error.type], [Number(status), `test_${status}`, "model", "test_error"]);
    }
  }
  assert.equal((await refused(openai.NotFoundError, ai.files.list())).code, "unknown_url");
  const leak = await refused(openai.BadRequestError, ai.embeddings.create({ model: "leak", input: "x" }));
  assert.match(leak.message, /\*{19}/);
  const stranger = client({ apiKey: "not-a-client-secret" });
  assert.equal((await refused(openai.AuthenticationError, stranger.models.list())).status, 401);
  const nowhere = new Agent({ connect: { socketPath: `${SOCKET}.none` } });
  await refused(openai.APIConnectionError, client({ fetchOptions: { dispatcher: nowhere } }).models.list());
  await refused(openai.APIConnectionTimeoutError, client({ timeout: 200 }).responses.create({ model: "hang", input: "x" }));
  assert.ok((await client({ maxRetries: 1 }).responses.create({ model: "once-503", input: "x" })).output_text);
});

test("a stream that breaks between events is an error, and one that is cut too", async () => {
  const ai = client();
  for (const call of [(model) => ai.chat.completions.create({ model, messages, stream: true }), (model) => ai.responses.create({ model, input: "x", stream: true })]) {
    const error = await refused(openai.APIError, collect(call("broken")));
    assert.equal(error.code, "provider_broke_off");
    await assert.rejects(collect(call("cut")));
  }
});

test("leaving a stream stops the provider", async () => {
  const { left } = await seen();
  const stream = await client().responses.create({ model: "endless", input: "speak", stream: true });
  for await (const event of stream) {
    if (event.type === "response.content_part.added") {
      break;
    }
  }
  await until(async () => (await seen()).left === left + 1, "the provider to see that nobody listens");
});

test("a hundred streams at once", async () => {
  const ai = client();
  const streams = Array.from({ length: 100 }, () => collect(ai.chat.completions.create({ model: "tiny", messages, stream: true })));
  for (const chunks of await Promise.all(streams)) {
    assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), TEXT);
  }
});
