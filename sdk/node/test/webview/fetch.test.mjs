// What a caller on the page sees: the semantics of fetch, over each way a message may cross, from a real server.
import assert from "node:assert/strict";
import { getEventListeners, once } from "node:events";
import { test } from "node:test";
import { CHUNK_BYTES_MAX, PAGE_ID } from "../../dist/esm/webview/protocol.js";
import { CARRIER_NAMES, TOKEN, bodyOf, fakeWebview, gate, relayed, soon, upstream } from "./support.mjs";
import { createFetch } from "../../dist/esm/webview/page.js";

/** Answers with what it was asked. */
async function echo(request, response) {
  const body = await bodyOf(request);
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body: body.toString("latin1") }));
}

const bytes = (length) => Uint8Array.from({ length }, (_, at) => (at * 31) % 251);
const latin1 = (array) => Buffer.from(array).toString("latin1");

for (const carrier of CARRIER_NAMES) {
  test(`over ${carrier}: every kind of input`, async (t) => {
    const { fetch: up } = await upstream(t, echo);
    const { fetch } = relayed(t, up, {}, carrier);
    const inputs = [
      ["/api/chat/open/a?x=1&y=%20", undefined],
      [new URL("http://localhost/api/chat/open/a?x=1&y=%20"), {}],
      ["http://localhost/api/chat/open/b/../a?x=1&y=%20#part", { method: "get" }],
      ["vscode-webview://0abc/api/chat/open/a?x=1&y=%20", {}],
      [new Request("http://localhost/api/chat/open/a?x=1&y=%20"), undefined],
    ];
    for (const [input, init] of inputs) {
      const response = await fetch(input, init);
      assert.equal(response.status, 200);
      assert.equal(response.ok, true);
      assert.equal(response.statusText, "OK");
      const seen = await response.json();
      assert.deepEqual([seen.method, seen.url], ["GET", "/api/chat/open/a?x=1&y=%20"], String(input));
      assert.equal(seen.headers.authorization, `Bearer ${TOKEN}`);
    }
  });

  test(`over ${carrier}: every kind of body`, async (t) => {
    const { fetch: up } = await upstream(t, echo);
    const { fetch } = relayed(t, up, {}, carrier);
    const large = bytes(3 * CHUNK_BYTES_MAX + 17);
    const form = new FormData();
    form.set("field", "värde");
    form.set("file", new Blob(["contents"], { type: "text/plain" }), "name.txt");
    const streamOf = (...chunks) => new ReadableStream({ pull: (controller) => (chunks.length > 0 ? controller.enqueue(chunks.shift()) : controller.close()) });
    const cases = [
      ["string", "hälsning", "text/plain;charset=UTF-8", latin1(Buffer.from("hälsning"))],
      ["empty string", "", "text/plain;charset=UTF-8", ""],
      ["Uint8Array", bytes(300), undefined, latin1(bytes(300))],
      ["view of a larger buffer", bytes(300).subarray(100, 200), undefined, latin1(bytes(300).subarray(100, 200))],
      ["ArrayBuffer", bytes(300).buffer, undefined, latin1(bytes(300))],
      ["exactly what travels inline", bytes(CHUNK_BYTES_MAX), undefined, latin1(bytes(CHUNK_BYTES_MAX))],
      ["one byte more", bytes(CHUNK_BYTES_MAX + 1), undefined, latin1(bytes(CHUNK_BYTES_MAX + 1))],
      ["more than a window", large, undefined, latin1(large)],
      ["Blob", new Blob([large], { type: "image/png" }), "image/png", latin1(large)],
      ["URLSearchParams", new URLSearchParams({ a: "1 2", b: "&" }), "application/x-www-form-urlencoded;charset=UTF-8", "a=1+2&b=%26"],
      ["stream", streamOf(bytes(10), bytes(20)), undefined, latin1(bytes(10)) + latin1(bytes(20))],
      ["stream of nothing", streamOf(), undefined, ""],
      ["stream of large chunks", streamOf(large, large), undefined, latin1(large) + latin1(large)],
    ];
    for (const [name, body, contentType, expected] of cases) {
      const seen = await (await soon(fetch("/api/chat/open/x", { method: "POST", body }), name)).json();
      assert.equal(seen.headers["content-type"], contentType, name);
      assert.equal(seen.body.length, expected.length, name);
      assert.equal(seen.body, expected, name);
    }
    const seen = await (await fetch("/api/chat/open/x", { method: "POST", body: form })).json();
    assert.match(seen.headers["content-type"], /^multipart\/form-data; boundary=/);
    const parsed = await new Response(Buffer.from(seen.body, "latin1"), { headers: { "content-type": seen.headers["content-type"] } }).formData();
    assert.equal(parsed.get("field"), "värde");
    assert.equal(await parsed.get("file").text(), "contents");
    const request = new Request("http://localhost/api/chat/open/x", { method: "PUT", body: "of a Request", headers: { "x-request-id": "mine" } });
    const ofRequest = await (await fetch(request)).json();
    assert.deepEqual([ofRequest.method, ofRequest.body, ofRequest.headers["x-request-id"]], ["PUT", "of a Request", "mine"]);
  });

  test(`over ${carrier}: responses whole, streamed, empty and refused`, async (t) => {
    const large = bytes(10 * CHUNK_BYTES_MAX + 5);
    const { fetch: up } = await upstream(t, (request, response) => {
      switch (request.url) {
        case "/api/chat/open/large":
          return response.end(large);
        case "/api/chat/open/empty":
          return response.writeHead(204).end();
        case "/api/chat/open/unchanged":
          return response.writeHead(304, { etag: '"a"' }).end();
        case "/api/chat/open/zero":
          return response.writeHead(200, { "content-length": "0" }).end();
        case "/api/chat/stream":
          return response.writeHead(200, { "content-length": "5" }).end("12345");
        default:
          return response.writeHead(404, "No Such Thing", { "content-type": "application/problem+json" }).end('{"code":"unknown"}');
      }
    });
    const { fetch, posted } = relayed(t, up, {}, carrier);
    const got = new Uint8Array(await (await fetch("/api/chat/open/large")).arrayBuffer());
    assert.ok(Buffer.from(got).equals(large));
    const empty = await fetch("/api/chat/open/empty");
    assert.deepEqual([empty.status, empty.body, await empty.text()], [204, null, ""]);
    const unchanged = await fetch("/api/chat/open/unchanged");
    assert.deepEqual([unchanged.status, unchanged.headers.get("etag"), unchanged.body], [304, '"a"', null]);
    assert.equal(await (await fetch("/api/chat/open/zero")).text(), "");
    const head = await fetch("/api/chat/stream", { method: "HEAD" });
    assert.deepEqual([head.status, head.headers.get("content-length"), head.body], [200, "5", null]);
    const missing = await fetch("/api/chat/open/missing");
    assert.deepEqual([missing.status, missing.ok, missing.statusText, missing.url], [404, false, "No Such Thing", "http://localhost/api/chat/open/missing"]);
    assert.deepEqual(await missing.clone().json(), { code: "unknown" });
    assert.deepEqual(await missing.json(), { code: "unknown" });
    for (const message of posted.toPage) {
      if (message.bytes !== undefined && message.type === "data") {
        assert.equal(message.bytes.constructor, Uint8Array);
      }
    }
  });

  test(`over ${carrier}: an event is there before the next is written`, async (t) => {
    const written = gate();
    const { fetch: up } = await upstream(t, async (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: one\n\n");
      await written.opened;
      response.end("data: two\n\n");
    });
    const { fetch } = relayed(t, up, {}, carrier);
    const response = await soon(fetch("/api/chat/stream"), "the head");
    const reader = response.body.getReader();
    assert.equal(Buffer.from((await soon(reader.read(), "the first event")).value).toString(), "data: one\n\n");
    written.open();
    assert.equal(Buffer.from((await soon(reader.read(), "the second event")).value).toString(), "data: two\n\n");
    assert.equal((await soon(reader.read(), "the end")).done, true);
    await reader.closed;
  });

  test(`over ${carrier}: an upload's chunk is upstream before the next is made`, async (t) => {
    const arrived = [gate(), gate()];
    const { fetch: up } = await upstream(t, async (request, response) => {
      let at = 0;
      for await (const chunk of request) {
        arrived[at].open(chunk.toString());
        at += 1;
      }
      response.end("done");
    });
    const { fetch } = relayed(t, up, {}, carrier);
    let controller;
    const body = new ReadableStream({ start: (given) => (controller = given) });
    const response = fetch("/api/chat/open/up", { method: "POST", body });
    controller.enqueue(Buffer.from("first"));
    assert.equal(await soon(arrived[0].opened, "the first chunk"), "first");
    controller.enqueue(Buffer.from("second"));
    assert.equal(await soon(arrived[1].opened, "the second chunk"), "second");
    controller.close();
    assert.equal(await (await soon(response, "the answer")).text(), "done");
  });

  test(`over ${carrier}: abort before the request, and before the head`, async (t) => {
    const came = gate();
    const left = gate();
    const { fetch: up, reached } = await upstream(t, (request, response) => {
      response.on("close", () => left.open());
      if (request.url === "/api/chat/stream") {
        response.writeHead(200).write("begun");
      }
      came.open();
    });
    const { fetch } = relayed(t, up, {}, carrier);
    const reason = new Error("changed my mind");
    await assert.rejects(fetch("/api/chat/open/x", { signal: AbortSignal.abort(reason) }), (error) => error === reason);
    const sameTurn = new AbortController();
    const never = fetch("/api/chat/open/x", { signal: sameTurn.signal });
    sameTurn.abort(reason);
    await assert.rejects(soon(never, "the rejection"), (error) => error === reason);
    const uploading = new AbortController();
    const inTheBody = fetch("/api/chat/open/x", { method: "POST", body: "text", signal: uploading.signal });
    await Promise.resolve();
    uploading.abort(reason);
    await assert.rejects(soon(inTheBody, "the rejection"), (error) => error === reason);
    assert.equal(reached.length, 0);

    const early = new AbortController();
    const pending = fetch("/api/chat/open/silent", { signal: early.signal });
    await soon(came.opened, "the request upstream");
    early.abort();
    await assert.rejects(pending, { name: "AbortError" });
    await soon(left.opened, "the upstream request to be broken off");
    assert.equal(getEventListeners(early.signal, "abort").length, 0);
  });

  test(`over ${carrier}: abort in the body, and cancel of the reader, end it upstream`, async (t) => {
    const left = [];
    const { fetch: up } = await upstream(t, (_request, response) => {
      left.push(once(response, "close"));
      response.writeHead(200).write("begun");
    });
    const { fetch } = relayed(t, up, {}, carrier);
    const late = new AbortController();
    const response = await fetch("/api/chat/stream", { signal: late.signal });
    const reader = response.body.getReader();
    await reader.read();
    const next = reader.read();
    const reason = new Error("enough");
    late.abort(reason);
    await assert.rejects(next, (error) => error === reason);
    await soon(left[0], "the upstream response to be broken off");
    assert.equal(getEventListeners(late.signal, "abort").length, 0);

    const cancelled = await fetch("/api/chat/stream");
    await cancelled.body.cancel("no more");
    await soon(left[1], "the second upstream response to be broken off");
  });

  test(`over ${carrier}: failures are TypeErrors with a cause and without the machine's secrets`, async (t) => {
    const { fetch: up, server, origin } = await upstream(t, (_request, response) => {
      response.writeHead(200).write("begun", () => response.destroy());
    });
    const { fetch, errors } = relayed(t, up, {}, carrier);
    const broken = await fetch("/api/chat/stream");
    await assert.rejects(broken.text(), (error) => error instanceof TypeError && error.cause.code === "upstream_failed");
    server.closeAllConnections();
    server.close();
    await once(server, "close");
    await assert.rejects(fetch("/api/chat/stream"), (error) => {
      assert.ok(error instanceof TypeError);
      assert.equal(error.cause.name, "RelayError");
      assert.equal(error.cause.code, "upstream_failed");
      assert.ok(!error.message.includes(new URL(origin).port) && !error.message.includes("ECONN"), error.message);
      return true;
    });
    assert.equal(errors.length, 2);
    await assert.rejects(fetch("https://example.org/api/chat/stream"), (error) => error instanceof TypeError && error.cause.code === "url_refused");
    await assert.rejects(fetch("/api/chat/stream", { method: "GET", body: "no" }), TypeError);
    await assert.rejects(fetch("/api/chat/stream", { method: "b a d" }), TypeError);
    await assert.rejects(fetch("/health"), (error) => error instanceof TypeError && error.cause.code === "url_refused");
    await assert.rejects(fetch("/api/notes/x"), (error) => error instanceof TypeError && error.cause.code === "not_allowed");
  });
}

test("a stable code of the upstream's error reaches the page, its message does not", async (t) => {
  const failure = Object.assign(new Error("/run/user/1000/secret.sock said no"), { code: "kernel_unavailable" });
  const { fetch, errors } = relayed(t, () => Promise.reject(failure));
  await assert.rejects(fetch("/api/chat/stream"), (error) => {
    assert.match(error.message, /kernel_unavailable/);
    assert.doesNotMatch(error.message, /secret\.sock/);
    return true;
  });
  assert.deepEqual(errors, [failure]);
  const thrown = relayed(t, () => {
    throw new TypeError("fetch failed", { cause: failure });
  });
  await assert.rejects(thrown.fetch("/api/chat/stream"), { name: "TypeError", message: /kernel_unavailable/ });
});

test("a redirect is an error, or itself, and never followed", async (t) => {
  const { fetch: up, reached } = await upstream(t, (_request, response) => response.writeHead(307, { location: "/sessions" }).end("moved"));
  const { fetch } = relayed(t, up);
  for (const redirect of [undefined, "follow", "error"]) {
    await assert.rejects(fetch("/api/chat/stream", redirect === undefined ? {} : { redirect }), (error) => error.cause.code === "redirect_refused");
  }
  const manual = await fetch("/api/chat/stream", { redirect: "manual" });
  assert.deepEqual([manual.status, manual.headers.get("location"), await manual.text()], [307, "/sessions", "moved"]);
  assert.deepEqual([...new Set(reached.map(({ url }) => url))], ["/api/chat/stream"]);
});

test("headers that say who asks, or carry a credential, do not cross", async (t) => {
  const { fetch: up, reached } = await upstream(t, (_request, response) => {
    response.setHeader("set-cookie", ["a=1", "b=2"]);
    response.setHeader("www-authenticate", "Bearer realm=midplane");
    response.setHeader("proxy-authenticate", "Basic");
    response.setHeader("x-midplane-module", "chat#3");
    response.setHeader("content-type", "text/plain");
    response.end("x");
  });
  const { fetch, refusals, posted } = relayed(t, up, { requestHeaders: ["X-Wanted"] });
  const response = await fetch("/api/chat/stream", {
    headers: {
      accept: "text/event-stream", "x-wanted": "1", "x-unknown": "2", "last-event-id": "7",
      authorization: "Bearer stolen", cookie: "c=1", host: "elsewhere", origin: "https://example.org", "proxy-authorization": "x",
      "sec-fetch-site": "none", "x-midplane-session": "other", "x-forwarded-for": "1.2.3.4", "x-http-method-override": "DELETE", te: "trailers",
    },
  });
  assert.equal(await response.text(), "x");
  const { headers } = reached[0];
  assert.deepEqual([headers.accept, headers["x-wanted"], headers["last-event-id"]], ["text/event-stream", "1", "7"]);
  assert.equal(headers.authorization, `Bearer ${TOKEN}`);
  assert.match(headers.host, /^127\.0\.0\.1:/);
  for (const name of ["cookie", "origin", "x-unknown", "proxy-authorization", "x-midplane-session", "x-forwarded-for", "x-http-method-override", "te"]) {
    assert.equal(headers[name], undefined, name);
  }
  assert.ok(refusals.some(({ code, detail }) => code === "header_dropped" && detail.includes("x-unknown")));
  assert.deepEqual([...response.headers.keys()].filter((name) => /cookie|authenticate/.test(name)), []);
  assert.equal(response.headers.get("x-midplane-module"), "chat#3");
  assert.ok(!JSON.stringify(posted.toPage).includes(TOKEN));
});

test("reading into the caller's own buffer works to the end", async (t) => {
  const { fetch: up } = await upstream(t, (_request, response) => response.end("0123456789"));
  const { fetch } = relayed(t, up);
  const reader = (await fetch("/api/chat/stream")).body.getReader({ mode: "byob" });
  let text = "";
  for (;;) {
    const { done, value } = await soon(reader.read(new Uint8Array(4)), "a read");
    if (done) {
      break;
    }
    text += Buffer.from(value).toString();
  }
  assert.equal(text, "0123456789");
});

test("an upload that fails takes the request with it", async (t) => {
  const left = gate();
  const { fetch: up } = await upstream(t, (request) => {
    request.resume();
    request.on("error", () => left.open());
  });
  const { fetch } = relayed(t, up);
  let controller;
  const pending = fetch("/api/chat/open/up", { method: "POST", body: new ReadableStream({ start: (given) => (controller = given) }) });
  controller.enqueue(Buffer.from("first"));
  const reason = new Error("the file is gone");
  controller.error(reason);
  await assert.rejects(pending, (error) => error === reason);
  await assert.rejects(
    fetch("/api/chat/open/up", { method: "POST", body: new ReadableStream({ pull: (given) => given.enqueue("text") }) }),
    TypeError,
  );
});

test("an answer before the upload's end ends the upload", async (t) => {
  const { fetch } = relayed(t, () => Promise.resolve(new Response("too large", { status: 413 })));
  const cancelled = gate();
  const body = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(1000)), cancel: () => cancelled.open() });
  const response = await soon(fetch("/api/chat/open/up", { method: "POST", body }), "the answer");
  assert.equal(response.status, 413);
  assert.equal(await response.text(), "too large");
  await soon(cancelled.opened, "the upload to be told");
});

test("createFetch gives one function for one page, whose name is random", () => {
  const fake = fakeWebview();
  const { api, scope } = fake.load();
  assert.equal(createFetch(api, { scope }), createFetch(api, { scope }));
  const names = new Set();
  for (let page = 0; page < 100; page += 1) {
    createFetch({ postMessage: (message) => names.add(message.page) }, { scope });
  }
  assert.equal(names.size, 100);
  assert.ok([...names].every((name) => PAGE_ID.test(name)));
});

test("the page's half imports nothing but its own files", async () => {
  const { readFile } = await import("node:fs/promises");
  const seen = new Set();
  const visit = async (file) => {
    if (seen.has(file)) {
      return;
    }
    seen.add(file);
    const source = await readFile(new URL(`../../dist/esm/webview/${file}`, import.meta.url), "utf8");
    for (const [, from] of source.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)) {
      assert.match(from, /^\.\/[a-z-]+\.js$/, `${file} imports ${from}`);
      await visit(from.slice(2));
    }
    assert.doesNotMatch(source, /\b(?:process|Buffer|require)\b[.(]/, file);
  };
  await visit("page.js");
  assert.ok(!seen.has("host.js") && !seen.has("exchange.js"));
});
