// The relay in a real browser: a hostile page in a sandboxed frame tries every route of the kernel and looks for a token; an
// honest one streams, uploads, aborts and is reloaded.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { relayFetch } from "../../dist/esm/webview/host.js";
import { PARENT, launchChromium, servePages, webviewOf } from "./chromium.mjs";
import { ALLOW, TOKEN, bodyOf, gate, soon, upstream } from "./support.mjs";

const { browser, missing } = await launchChromium();
const skip = missing ?? false;
test.after(() => browser?.close());

const HONEST_FRAME = `
  import { createFetch } from "/webview/page.js";
  globalThis.relayed = createFetch(acquireVsCodeApi());
  globalThis.ready = true;`;

/** Writes its messages by hand, and keeps all it hears. */
const HOSTILE_FRAME = `
  const api = acquireVsCodeApi();
  const heard = (globalThis.heard = []);
  addEventListener("message", ({ data }) => heard.push(data));
  const name = "00112233445566778899aabbccddeeff";
  globalThis.post = (content) => api.postMessage({ channel: "midplane.fetch", version: 1, page: name, ...content });
  globalThis.answerTo = async (content) => {
    post(content);
    for (;;) {
      const answer = heard.find(({ id, type }) => id === content.id && type !== "credit");
      if (answer !== undefined) return answer;
      await new Promise((resolve) => addEventListener("message", resolve, { once: true }));
    }
  };
  globalThis.ready = true;`;

async function openFrame(t, frameSource, fetch) {
  const origin = await servePages(t, { parent: PARENT, frame: frameSource });
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const webview = await webviewOf(page);
  const relay = relayFetch(webview, fetch, { allow: ALLOW, limits: { messagesPerSecond: 20_000 } });
  t.after(() => relay.dispose());
  await page.goto(origin);
  const frame = async () => {
    const found = page.frames().find((candidate) => candidate.url().endsWith("/frame"));
    await found.waitForFunction(() => globalThis.ready === true);
    return found;
  };
  return { page, webview, frame, relay };
}

/** Every path of the kernel's own description, with something in place of each parameter, and some it does not name. */
async function kernelPaths() {
  const description = JSON.parse(await readFile(new URL("../../../../kernel/src/routes/openapi.json", import.meta.url), "utf8"));
  const described = Object.keys(description.paths).map((path) =>
    path.replaceAll("{id}", "ses_0123456789").replaceAll("{name}", "chat").replaceAll("{module}", "notes").replaceAll("{path}", "x/y"),
  );
  assert.ok(described.includes("/sessions") && described.includes("/modules/chat/reload") && described.length > 10, described.join(" "));
  return [...described, "/bridge", "/sessions?user=me", "/modules/chat?drain_ms=0", "/api/chat", "/api/chat/", "/api/chat/stream/../../../sessions"];
}

test("a hostile page in Chromium reaches no route of the kernel and sees no token", { skip }, async (t) => {
  const { fetch, reached, origin: kernel } = await upstream(t, (_request, response) => {
    response.writeHead(200, { "set-cookie": `session=${TOKEN}`, "www-authenticate": `Bearer ${TOKEN}`, "authentication-info": TOKEN, "content-type": "text/plain" });
    response.end("what the module says");
  });
  const { frame, webview } = await openFrame(t, HOSTILE_FRAME, fetch);
  const page = await frame();
  const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
  const ways = (path) => [path, `http://localhost${path}`, `/api/chat/open/..${path}`, `/api/chat/open/%2e%2e/%2e%2e/%2e%2e${path}`, `/${path}`, path.replaceAll("/", "\\"), `/api/chat/open/..%2f..%2f..${path.replaceAll("/", "%2f")}`];
  const asked = (await kernelPaths()).flatMap((path) => methods.flatMap((method) => ways(path).map((url) => ({ method, url }))));
  const answers = await soon(
    page.evaluate(async (requests) => {
      const told = [];
      for (const [at, { method, url }] of requests.entries()) {
        const body = method === "GET" || method === "HEAD" ? {} : { body: new TextEncoder().encode("{}") };
        const { type, code } = await globalThis.answerTo({ type: "open", id: at + 1, method, url, headers: [["authorization", "Bearer x"], ["content-type", "application/json"]], ...body });
        told.push({ method, url, type, code });
      }
      return told;
    }, asked),
    "the answers to every route",
  );
  assert.equal(answers.length, asked.length);
  assert.ok(asked.length > 1_000);
  for (const { method, url, type, code } of answers) {
    assert.ok(type === "fail" && (code === "url_refused" || code === "not_allowed"), `${method} ${url}: ${type} ${code}`);
  }
  assert.deepEqual(reached, []);

  // What it is allowed, it gets; and the credential that went with it upstream is nowhere to be seen.
  const head = await page.evaluate((id) => globalThis.answerTo({ type: "open", id, method: "GET", url: "/api/chat/stream", headers: [] }), asked.length + 1);
  assert.deepEqual([head.type, head.status], ["head", 200]);
  await page.waitForFunction(() => globalThis.heard.some(({ type }) => type === "end"));
  assert.equal(reached.length, 1);
  assert.equal(reached[0].headers.authorization, `Bearer ${TOKEN}`);
  const seen = await page.evaluate(async (kernelOrigin) => {
    const found = [JSON.stringify(globalThis.heard, (_name, value) => (value instanceof Uint8Array ? new TextDecoder().decode(value) : value))];
    const look = (what) => {
      try {
        found.push(String(what()));
      } catch (error) {
        found.push(`refused: ${error.name}`);
      }
    };
    look(() => document.cookie);
    look(() => JSON.stringify({ ...localStorage }));
    look(() => JSON.stringify({ ...sessionStorage }));
    look(() => parent.document.documentElement.outerHTML);
    look(() => parent.toExtension);
    look(() => document.documentElement.outerHTML);
    look(() => JSON.stringify(performance.getEntries()));
    look(() => Object.getOwnPropertyNames(globalThis).map((name) => `${name}=${String(globalThis[name])}`).join());
    const direct = await fetch(`${kernelOrigin}/api/chat/stream`).then(
      (response) => `reached ${response.status}`,
      (error) => `refused: ${error.name}`,
    );
    return { found, direct };
  }, kernel);
  assert.ok(seen.found[0].includes("what the module says"));
  assert.deepEqual(seen.found.filter((text) => text.includes(TOKEN)), []);
  assert.ok(seen.found.includes("refused: SecurityError"));
  assert.equal(seen.direct, "refused: TypeError", "the content security policy lets the page dial out");
  assert.equal(reached.length, 1);
  assert.ok(!webview.posted.some((json) => json.includes(TOKEN) || json.includes(Buffer.from(TOKEN).toString("base64").slice(0, 20))));
});

test("an honest page in Chromium streams both ways, uploads, aborts and is reloaded", { skip }, async (t) => {
  const next = [gate(), gate(), gate()];
  const silent = gate();
  const { fetch } = await upstream(t, async (request, response) => {
    if (request.url === "/api/chat/open/silent") {
      silent.open({ closed: once(response, "close") });
      return;
    }
    if (request.url === "/api/chat/stream") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (const [at, { opened }] of next.entries()) {
        response.write(`data: ${at}\n\n`);
        await opened;
      }
      response.end();
      return;
    }
    const body = await bodyOf(request);
    response.writeHead(200, { "content-type": request.headers["content-type"] ?? "none" }).end(body);
  });
  const { frame, page } = await openFrame(t, HONEST_FRAME, fetch);
  const inside = await frame();
  await page.exposeFunction("gotEvent", (at) => next[at].open());

  // Event by event: each is read before the server writes the next.
  const events = await soon(
    inside.evaluate(async () => {
      const response = await globalThis.relayed("/api/chat/stream", { headers: { accept: "text/event-stream" } });
      const reader = response.body.getReader();
      const read = [];
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return { type: response.headers.get("content-type"), url: response.url, read };
        read.push(new TextDecoder().decode(value));
        await globalThis.gotEvent(read.length - 1);
      }
    }),
    "the stream",
  );
  assert.deepEqual(events, { type: "text/event-stream", url: "http://localhost/api/chat/stream", read: ["data: 0\n\n", "data: 1\n\n", "data: 2\n\n"] });

  const uploads = await soon(
    inside.evaluate(async () => {
      const large = Uint8Array.from({ length: 700_000 }, (_, at) => at % 251);
      const form = new FormData();
      form.set("file", new File([large], "large.bin"));
      form.set("word", "blåbär");
      let left = 5;
      const stream = new ReadableStream({ pull: (controller) => (left-- > 0 ? controller.enqueue(large.slice(0, 100_000)) : controller.close()) });
      const post = (body) => globalThis.relayed("/api/chat/open/echo", { method: "POST", body });
      const parsed = await (await post(form)).formData();
      const same = async (blob) => {
        const got = new Uint8Array(await blob.arrayBuffer());
        return got.length === large.length && got.every((byte, at) => byte === large[at]);
      };
      const ofRequest = await globalThis.relayed(new Request("http://localhost/api/chat/open/echo", { method: "PUT", body: "of a Request" }));
      return {
        text: await (await post("blåbär")).text(),
        params: await (await post(new URLSearchParams({ a: "1 2" }))).text(),
        large: await same(await post(large)),
        blob: await same(await post(new Blob([large]))),
        file: await same(parsed.get("file")),
        word: parsed.get("word"),
        streamed: (await (await post(stream)).arrayBuffer()).byteLength,
        ofRequest: await ofRequest.text(),
      };
    }),
    "the uploads",
  );
  assert.deepEqual(uploads, { text: "blåbär", params: "a=1+2", large: true, blob: true, file: true, word: "blåbär", streamed: 500_000, ofRequest: "of a Request" });

  const refused = await soon(
    inside.evaluate(async () => {
      const told = [];
      for (const input of ["/health", "/api/notes/x", "https://example.org/api/chat/stream", "/api/chat/open/../../../sessions"]) {
        await globalThis.relayed(input).catch((error) => told.push([error.name, error.cause?.name, error.cause?.code]));
      }
      const stop = new AbortController();
      const pending = globalThis.relayed("/api/chat/open/silent", { signal: stop.signal });
      stop.abort();
      await pending.catch((error) => told.push([error.name]));
      return told;
    }),
    "the refusals",
  );
  assert.deepEqual(refused, [
    ["TypeError", "RelayError", "url_refused"],
    ["TypeError", "RelayError", "not_allowed"],
    ["TypeError", "RelayError", "url_refused"],
    ["TypeError", "RelayError", "url_refused"],
    ["AbortError"],
  ]);

  // A reload in the middle of a request ends it upstream, and the new page has a fetch that works.
  await inside.evaluate(() => void globalThis.relayed("/api/chat/open/silent").catch(() => undefined));
  const { closed } = await soon(silent.opened, "the request upstream");
  await page.evaluate(() => globalThis.reloadFrame());
  await soon(closed, "the old page's request to be ended");
  await inside.waitForFunction(() => globalThis.ready === true);
  assert.equal(await (await frame()).evaluate(async () => (await globalThis.relayed("/api/chat/open/echo", { method: "POST", body: "again" })).text()), "again");
});
