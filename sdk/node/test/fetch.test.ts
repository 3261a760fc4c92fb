import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { MidplaneError, type Session } from "@midplane/host";

import { scripted, start } from "./support/scene.js";

interface Echo {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

async function echoed(answer: Response): Promise<Echo> {
  assert.equal(answer.status, 200);
  return (await answer.json()) as Echo;
}

const ECHO = "/api/t/echo";

test("paths, URLs and Requests are taken, and nothing that is elsewhere", async (t) => {
  const { fetch } = await (await start(t, scripted(t))).createSession();
  const url = `http://localhost${ECHO}`;
  for (const input of [ECHO, url, new URL(url), new Request(url)]) {
    const answer = await fetch(input);
    assert.equal(answer.url, url);
    assert.equal((await echoed(answer)).method, "GET");
  }
  for (const input of ["https://localhost/api/t/echo", "http://localhost:8080/", "http://example.com/", "//example.com/", "file:///etc/passwd", "http://u:p@localhost/"]) {
    await assert.rejects(fetch(input), TypeError, input);
  }
});

test("the answer is this runtime's Response", async (t) => {
  const { fetch } = await (await start(t, scripted(t))).createSession();
  const answer = await fetch(ECHO);
  assert(answer instanceof Response);
  assert(answer.body instanceof ReadableStream);
  assert(answer.headers instanceof Headers);
  assert.deepEqual([answer.ok, answer.type, answer.redirected], [true, "basic", false]);
  const copy = answer.clone();
  assert(copy instanceof Response);
  assert.equal(copy.url, answer.url);
  assert.deepEqual(await copy.json(), await answer.json());
  const empty = await fetch("/api/t/empty");
  assert.deepEqual([empty.status, empty.body, await empty.text()], [204, null, ""]);
});

test("bodies of every kind arrive", async (t) => {
  const { fetch } = await (await start(t, scripted(t))).createSession();
  const post = async (body: RequestInit["body"], init: object = {}) => echoed(await fetch(ECHO, { method: "POST", body: body ?? null, ...init }));
  const text = await post("über");
  assert.deepEqual([text.body, text.headers["content-length"], text.headers["content-type"]], ["über", "5", "text/plain;charset=UTF-8"]);
  assert.equal((await post(new TextEncoder().encode("bytes"))).body, "bytes");
  assert.equal((await post(new Blob(["blob"]))).body, "blob");
  assert.equal((await post(new URLSearchParams({ a: "b c" }))).body, "a=b+c");
  const form = new FormData();
  form.set("field", "value");
  const sent = await post(form);
  assert.match(sent.headers["content-type"] ?? "", /^multipart\/form-data; boundary=/);
  assert.match(sent.body, /name="field"\r\n\r\nvalue/);
  const stream = ReadableStream.from(["one ", "two"]).pipeThrough(new TextEncoderStream());
  const streamed = await post(stream, { duplex: "half" });
  assert.deepEqual([streamed.body, streamed.headers["transfer-encoding"]], ["one two", "chunked"]);
  await assert.rejects(post(ReadableStream.from([])), TypeError);
  const request = new Request(`http://localhost${ECHO}`, { method: "PUT", body: "of a Request", headers: { "x-one": "1" } });
  const asked = await echoed(await fetch(request));
  assert.deepEqual([asked.method, asked.body, asked.headers["x-one"]], ["PUT", "of a Request", "1"]);
  await assert.rejects(fetch(ECHO, { method: "GET", body: "x" }), TypeError);
});

test("the token takes the place of whatever key a client sends", async (t) => {
  const { fetch } = await (await start(t, scripted(t))).createSession();
  const { headers } = await echoed(await fetch(ECHO, { headers: { Authorization: "Bearer sk-unused" } }));
  assert.equal(headers["authorization"], "Bearer token-1-1");
});

test("a signal aborts before, during and after the head, with its reason", async (t) => {
  const { fetch } = await (await start(t, scripted(t))).createSession();
  await assert.rejects(fetch(ECHO, { signal: AbortSignal.abort() }), { name: "AbortError" });
  await assert.rejects(fetch(ECHO, { signal: AbortSignal.abort(new RangeError("mine")) }), RangeError);
  await assert.rejects(fetch("/api/t/hang", { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
  const abort = new AbortController();
  const answer = await fetch("/api/t/stream", { signal: abort.signal });
  assert(answer.body);
  const reader = answer.body.getReader();
  await reader.read();
  abort.abort();
  await assert.rejects(reader.read(), { name: "AbortError" });
  const request = new Request("http://localhost/api/t/hang", { signal: AbortSignal.timeout(50) });
  await assert.rejects(fetch(request), { name: "TimeoutError" });
});

test("redirects are followed within the kernel only", async (t) => {
  const { fetch } = await (await start(t, scripted(t))).createSession();
  const answer = await fetch("/api/t/redirect");
  assert.deepEqual([answer.redirected, answer.url, await answer.json()], [true, "http://localhost/api/t/start", { start: 1 }]);
  assert.equal((await fetch("/api/t/redirect", { redirect: "manual" })).status, 302);
  await assert.rejects(fetch("/api/t/redirect", { redirect: "error" }), TypeError);
  // The host name changes nothing: the socket is the kernel's.
  assert.equal((await fetch("/api/t/elsewhere")).status, 404);
});

test("an answer that nobody holds is read to its end", async (t) => {
  const { fetch } = await (await start(t, scripted(t))).createSession();
  const { body } = await fetch("/api/t/echo", { method: "POST", body: "kept" });
  globalThis.gc?.();
  assert(body);
  assert.match(await new Response(body).text(), /kept/);
});

test("a token that the kernel refuses is renewed once, and a module's 401 is the module's", async (t) => {
  const session = await (await start(t, scripted(t))).createSession();
  await (await session.fetch("/api/t/forget")).text();
  const { headers } = await echoed(await session.fetch(ECHO, { method: "POST", body: "again" }));
  assert.equal(headers["authorization"], "Bearer token-1-2");
  const refused = await session.fetch("/api/t/unauthorized");
  assert.deepEqual([refused.status, await refused.json()], [401, { mine: true }]);
});

test("a body that is a stream is not sent twice", async (t) => {
  const session = await (await start(t, scripted(t))).createSession();
  await (await session.fetch("/api/t/forget")).text();
  const body = ReadableStream.from(["once"]).pipeThrough(new TextEncoderStream());
  const answer = await session.fetch(ECHO, { method: "POST", body, duplex: "half" } as RequestInit);
  assert.equal(answer.status, 401);
});

async function methods(session: Session): Promise<string[]> {
  const calls = (await (await session.fetch("/api/t/calls")).json()) as { method: string }[];
  return calls.map(({ method }) => method).filter((method) => method.startsWith("session/"));
}

test("a token that is over is renewed before it is used, by one request for many", async (t) => {
  const session = await (await start(t, scripted(t, { create_s: [-1] }))).createSession();
  const before = session.expiresAt;
  const answers = await Promise.all([1, 2, 3].map(() => session.fetch(ECHO)));
  const headers = await Promise.all(answers.map(echoed));
  assert.deepEqual(headers.map(({ headers: { authorization } }) => authorization), Array(3).fill("Bearer token-1-2"));
  assert.deepEqual(await methods(session), ["session/create", "session/renew"]);
  assert(session.expiresAt > before);
});

test("a session at the end of its longest life is followed by another one", async (t) => {
  const session = await (await start(t, scripted(t, { create_s: [-1, 600], renew_s: -2 }))).createSession();
  const { id } = session;
  assert.equal((await session.fetch(ECHO)).status, 200);
  assert.deepEqual(await methods(session), ["session/create", "session/renew", "session/create"]);
  assert.notEqual(session.id, id);
});

test("a token that holds is used when it cannot be renewed", async (t) => {
  const part = { refuse: { "session/renew": [503, "draining"] } };
  const session = await (await start(t, scripted(t, part))).createSession();
  await assert.rejects(session.renew(), { code: "draining", status: 503 });
  assert.equal((await session.fetch(ECHO)).status, 200);
  const over = await (await start(t, scripted(t, { ...part, create_s: [-1] }))).createSession();
  await assert.rejects(over.fetch(ECHO), (error) => error instanceof TypeError && error.cause instanceof MidplaneError && error.cause.code === "draining");
});

test("a revoked session sends nothing more", async (t) => {
  const session = await (await start(t, scripted(t))).createSession();
  await session.revoke();
  await session.revoke();
  await assert.rejects(session.fetch(ECHO), (error) => error instanceof TypeError && error.cause instanceof MidplaneError && error.cause.code === "session_revoked");
  await assert.rejects(session.renew(), { code: "session_revoked" });
});

test("a refused session tells the kernel's problem", async (t) => {
  const kernel = await start(t, scripted(t, { refuse: { "session/create": [403, "secret_denied"] } }));
  await assert.rejects(kernel.createSession({ secretKeyId: "k" }), (error) => {
    assert(error instanceof MidplaneError);
    assert.deepEqual([error.code, error.status, error.message, error.problem?.type], ["secret_denied", 403, "it is secret_denied", "urn:midplane:error:secret_denied"]);
    return true;
  });
});

test("nothing that a log would print holds a token or the host key", async (t) => {
  const kernel = await start(t, scripted(t));
  const session = await kernel.createSession();
  const answer = await session.fetch(ECHO);
  const errors: unknown[] = [];
  await session.fetch("/api/t/die", { method: "POST" }).catch((error: unknown) => errors.push(error));
  assert.equal(errors.length, 1);
  for (const value of [kernel, session, answer, session.fetch, session.webSocket("/api/t/x"), errors]) {
    const printed = inspect(value, { depth: Infinity, showHidden: true, getters: true });
    assert(!/token-1|mph_/.test(printed), printed);
    assert(!/token-1|mph_/.test(JSON.stringify(value) ?? ""));
  }
});
