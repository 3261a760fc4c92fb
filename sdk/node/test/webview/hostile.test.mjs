// A page that lies, floods, reloads or dies: it loses its own requests, is told so, and reaches nothing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createFetch } from "../../dist/esm/webview/page.js";
import { relayFetch } from "../../dist/esm/webview/host.js";
import { CHUNK_BYTES_MAX, INLINE_BODY_BYTES_MAX, OPEN_COST, WINDOW_BYTES } from "../../dist/esm/webview/protocol.js";
import { ALLOW, PAGE, fakeWebview, hostilePage, message, quiet, relayed, seeded, soon } from "./support.mjs";

const OTHER_PAGE = "ffeeddccbbaa99887766554433221100";

/** An upstream that answers when asked to, and knows what is under way. */
function held() {
  const calls = [];
  const fetch = (url, init) =>
    new Promise((resolve, reject) => {
      const call = { url, init, resolve, aborted: false };
      calls.push(call);
      init.signal.addEventListener("abort", () => {
        call.aborted = true;
        reject(init.signal.reason);
      });
    });
  return { calls, fetch };
}

const open = (id, more = {}) => ({ type: "open", id, method: "GET", url: "/api/chat/stream", headers: [], ...more });
const upload = (id, more = {}) => open(id, { method: "POST", url: "/api/chat/open/x", body: "stream", ...more });

const LIES = [
  // [what, messages after an honest request 1, the code it is told]
  ["more credit than was used", [{ type: "credit", id: 1, bytes: 1 }], "flow_violation"],
  ["credit of nothing", [{ type: "credit", id: 1, bytes: 0 }], "malformed"],
  ["negative credit", [{ type: "credit", id: 1, bytes: -1 }], "malformed"],
  ["endless credit", [{ type: "credit", id: 1, bytes: Number.POSITIVE_INFINITY }], "malformed"],
  ["credit of more than a window", [{ type: "credit", id: 1, bytes: WINDOW_BYTES + 1 }], "malformed"],
  ["credit in words", [{ type: "credit", id: 1, bytes: "100" }], "malformed"],
  ["a chunk nobody asked for", [{ type: "data", id: 1, bytes: new Uint8Array(1) }], "malformed"],
  ["an end to no upload", [{ type: "end", id: 1 }], "malformed"],
  ["a chunk that is text", [{ type: "data", id: 1, bytes: "text" }], "malformed"],
  ["a chunk whose bytes were lost", [{ type: "data", id: 1, bytes: { 0: 1, 1: 2 } }], "bytes_lost"],
  ["a chunk of other numbers", [{ type: "data", id: 1, bytes: new Float64Array(1) }], "bytes_lost"],
  ["a member nobody knows", [{ type: "abort", id: 1, authorization: "x" }], "malformed"],
  ["a type nobody knows", [{ type: "constructor", id: 1 }], "malformed"],
  ["its id again", [open(1)], "malformed"],
  ["an id below it", [open(5), open(3)], "malformed", 3],
];

const WRONG_OPENS = [
  ["lower case method", { method: "get" }, "malformed"],
  ["method with a space", { method: "GET /x" }, "malformed"],
  ["method that is a list", { method: ["GET"] }, "malformed"],
  ["long method", { method: "G".repeat(17) }, "malformed"],
  ["no url", { url: undefined }, "malformed"],
  ["url object", { url: { toString: "x" } }, "malformed"],
  ["huge url", { url: `/api/chat/open/${"a".repeat(1_000_000)}` }, "url_refused"],
  ["headers object", { headers: { accept: "x" } }, "malformed"],
  ["headers with holes", { headers: new Array(3) }, "malformed"],
  ["header triple", { headers: [["a", "b", "c"]] }, "malformed"],
  ["header in upper case", { headers: [["Accept", "x"]] }, "malformed"],
  ["header name with colon", { headers: [["accept:", "x"]] }, "malformed"],
  ["header name empty", { headers: [["", "x"]] }, "malformed"],
  ["header splitting", { headers: [["accept", "x\r\nauthorization: y"]] }, "malformed"],
  ["header with NUL", { headers: [["accept", "x\0"]] }, "malformed"],
  ["header beyond Latin-1", { headers: [["accept", "\u0100"]] }, "malformed"],
  ["header value a number", { headers: [["accept", 1]] }, "malformed"],
  ["too many headers", { headers: Array.from({ length: 65 }, () => ["accept", "x"]) }, "headers_too_large"],
  ["too large headers", { headers: Array.from({ length: 3 }, () => ["accept", "x".repeat(3_000)]) }, "headers_too_large"],
  ["body on GET", { body: new Uint8Array(1) }, "malformed"],
  ["body a number", { method: "POST", body: 1 }, "malformed"],
  ["body a string", { method: "POST", body: "streams" }, "malformed"],
  ["body lost on the way", { method: "POST", body: {} }, "bytes_lost"],
  ["inline body too long", { method: "POST", body: new Uint8Array(INLINE_BODY_BYTES_MAX + 1) }, "flow_violation"],
  ["redirects asked for", { manualRedirect: "follow" }, "malformed"],
  ["member of fetch's", { redirect: "follow" }, "malformed"],
];

test("a lie ends the request it is about, upstream too, and no other", async (t) => {
  for (const [what, messages, code, blamed = 1] of LIES) {
    const { calls, fetch } = held();
    const page = hostilePage(t, fetch);
    page.post(open(1));
    page.post(open(2));
    messages.forEach((content) => page.post(content));
    const told = await page.hears((heard) => heard.type === "fail" && heard.id === blamed, `what came of ${what}`);
    assert.equal(told.code, code, what);
    await quiet(5);
    if (blamed === 1) {
      assert.equal(calls[0].aborted, true, what);
    }
    assert.equal(calls[1].aborted, false, what);
  }
});

test("a request that is not what the protocol says is refused before anything is done", async (t) => {
  const { calls, fetch } = held();
  const page = hostilePage(t, fetch);
  let id = 0;
  for (const [what, wrong, code] of WRONG_OPENS) {
    id += 1;
    const mine = id;
    page.post({ ...open(mine), ...wrong });
    assert.equal((await page.hears((heard) => heard.id === mine, what)).code, code, what);
  }
  for (const wrongId of [0, -1, 1.5, 2 ** 31, Number.NaN, "1", null, undefined, {}, [1]]) {
    page.heard.length = 0;
    page.post({ ...open(1), id: wrongId });
    assert.equal((await page.hears((heard) => heard.type === "halt", `what came of id ${String(wrongId)}`)).code, "malformed");
  }
  assert.deepEqual(calls, []);
});

test("an upload past its window, its limit or its end is refused", async (t) => {
  const { calls, fetch } = held();
  const page = hostilePage(t, fetch, { limits: { bodyBytesMax: 2 * CHUNK_BYTES_MAX } });
  const chunk = (id, byteLength = CHUNK_BYTES_MAX) => page.post({ type: "data", id, bytes: new Uint8Array(byteLength) });
  const told = async (id, code) => assert.equal((await page.hears((heard) => heard.id === id && heard.type === "fail", `the end of ${id}`)).code, code);
  page.post(upload(1));
  [1, 2, 3].forEach(() => chunk(1));
  await told(1, "body_too_large");
  page.post(upload(2));
  chunk(2, CHUNK_BYTES_MAX + 1);
  await told(2, "flow_violation");
  page.post(upload(3));
  chunk(3, 0);
  await told(3, "flow_violation");
  page.post(upload(4));
  page.post({ type: "end", id: 4 });
  chunk(4, 1);
  await told(4, "flow_violation");
  page.post(upload(5));
  page.post({ type: "end", id: 5 });
  page.post({ type: "end", id: 5 });
  await told(5, "malformed");
  page.post(upload(6));
  for (let sent = 0; sent <= WINDOW_BYTES / 257; sent += 1) {
    chunk(6, 1);
  }
  await told(6, "flow_violation");
  await quiet(5);
  assert.ok(calls.every(({ aborted }) => aborted));
});

test("requests at once are counted until they are over upstream", async (t) => {
  const { calls, fetch } = held();
  const page = hostilePage(t, fetch, { limits: { requestsMax: 2 } });
  [1, 2, 3].forEach((id) => page.post(open(id)));
  assert.equal((await page.hears((heard) => heard.id === 3, "the refusal")).code, "too_many_requests");
  page.post({ type: "abort", id: 1 });
  await quiet(5);
  page.post(open(4));
  await quiet(5);
  assert.deepEqual(calls.map(({ aborted }) => aborted), [true, false, false]);
  // An upstream that does not let go keeps its place, also across pages.
  const stuck = hostilePage(t, () => new Promise(() => {}), { limits: { requestsMax: 1 } });
  stuck.post(open(1));
  stuck.post({ type: "abort", id: 1 });
  stuck.post(open(1), OTHER_PAGE);
  assert.equal((await stuck.hears((heard) => heard.page === OTHER_PAGE && heard.id === 1, "the refusal")).code, "too_many_requests");
});

test("a flood ends the page's requests, is said once, and passes", async (t) => {
  let now = 0;
  const { calls, fetch } = held();
  const page = hostilePage(t, fetch, { now: () => now, limits: { messagesPerSecond: 100 } });
  page.post(open(1));
  for (let sent = 0; sent < 1_000; sent += 1) {
    page.post({ type: "abort", id: 99 });
  }
  const halt = await page.hears((heard) => heard.type === "halt", "the halt");
  assert.deepEqual([halt.code, halt.page, halt.pauseMs], ["flooded", PAGE, 1_000]);
  await quiet(5);
  assert.equal(calls[0].aborted, true);
  assert.equal(page.heard.filter(({ type }) => type === "halt").length, 1);
  page.post(open(2));
  await quiet(5);
  assert.equal(calls.length, 1, "it was not listened to");
  now = 1_000;
  page.post(open(3));
  await quiet(5);
  assert.equal(calls.length, 2, "it was listened to again");
  // A new name is no new budget.
  for (let sent = 0; sent < 1_000; sent += 1) {
    page.post({ type: "hello" }, sent.toString(16).padStart(32, "0"));
  }
  await quiet(5);
  assert.ok(calls[1].aborted);
  assert.equal(page.heard.filter(({ code }) => code === "flooded").length, 2);
});

test("opening and aborting in turn is a flood much sooner", async (t) => {
  const { calls, fetch } = held();
  const page = hostilePage(t, fetch, { now: () => 0, limits: { messagesPerSecond: 1_000 } });
  for (let id = 1; id <= 1_000; id += 1) {
    page.post(open(id));
    page.post({ type: "abort", id });
  }
  assert.equal((await page.hears((heard) => heard.type === "halt", "the halt")).code, "flooded");
  assert.ok(calls.length <= 2_000 / OPEN_COST, `${calls.length} reached upstream`);
});

test("the page's fetch rejects at once when the extension stops listening, and tries again after", async (t) => {
  let now = 0;
  const { fetch: up } = held();
  const { fetch, page, posted } = relayed(t, up, { now: () => now, limits: { messagesPerSecond: 100 } });
  const pending = fetch("/api/chat/stream");
  await quiet(5);
  for (let sent = 0; sent < 1_000; sent += 1) {
    page.api.postMessage({ ...posted.toHost[0] });
  }
  await assert.rejects(pending, (error) => error instanceof TypeError && error.cause.code === "flooded");
  await assert.rejects(fetch("/api/chat/stream"), (error) => error.cause.code === "flooded");
});

test("a reload ends the old page's requests; its late messages meet nobody", async (t) => {
  const { calls, fetch } = held();
  const page = hostilePage(t, fetch);
  page.post(open(1));
  page.post(upload(2));
  page.post({ type: "hello" }, OTHER_PAGE);
  page.post(open(1), OTHER_PAGE);
  await quiet(5);
  assert.deepEqual(calls.map(({ aborted }) => aborted), [true, true, false]);
  page.post({ type: "abort", id: 1 });
  page.post(open(7));
  const told = await page.hears((heard) => heard.page === PAGE && heard.type === "halt", "the old page to be told");
  assert.equal(told.code, "page_superseded");
  await quiet(5);
  assert.equal(calls.length, 3);
  assert.equal(calls[2].aborted, false);
});

test("a page that goes away says so; a second script in it makes the first fail, not hang", async (t) => {
  const { calls, fetch: up } = held();
  const { fetch, page, addWindow } = relayed(t, up);
  const pending = fetch("/api/chat/stream");
  await quiet(5);
  const second = addWindow();
  const secondFetch = createFetch({ ...second.api }, { scope: second.scope });
  const running = secondFetch("/api/chat/stream");
  running.catch(() => undefined);
  await quiet(5);
  assert.deepEqual(calls.map(({ aborted }) => aborted), [true, false]);
  const again = fetch("/api/chat/stream");
  await assert.rejects(again, (error) => error.cause.code === "page_superseded");
  await assert.rejects(pending, (error) => error.cause.code === "page_superseded");
  second.hide();
  await quiet(5);
  assert.equal(calls[1].aborted, true);
  assert.notEqual(page, second);
});

test("dispose ends everything, tells the page, and another relay can take over", async (t) => {
  const { calls, fetch: up } = held();
  const { fetch, relay, webview, listeners } = relayed(t, up);
  const pending = fetch("/api/chat/stream");
  await quiet(5);
  relay.dispose();
  relay.dispose();
  await assert.rejects(pending, (error) => error instanceof TypeError && error.cause.code === "relay_disposed");
  assert.equal(calls[0].aborted, true);
  assert.equal(listeners.size, 0);
  const next = relayFetch(webview, () => Promise.resolve(new Response("from the second")), { allow: ALLOW });
  t.after(() => next.dispose());
  assert.equal(await (await soon(fetch("/api/chat/stream"), "the second relay")).text(), "from the second");
});

test("with no relay the page is told, by a timer of its own", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const fake = fakeWebview();
  const { api, scope } = fake.load();
  const pending = createFetch(api, { scope })("/api/chat/stream");
  pending.catch(() => undefined);
  await quiet(5);
  t.mock.timers.tick(10_000);
  await assert.rejects(pending, (error) => error instanceof TypeError && error.cause.code === "no_relay");
});

test("a webview that drops messages, or throws, has its requests ended upstream", async (t) => {
  const disposed = new Error("Webview is disposed");
  const ways = {
    "resolves with false": () => Promise.resolve(false),
    "returns false": () => false,
    rejects: () => Promise.reject(disposed),
    throws: () => {
      throw disposed;
    },
  };
  for (const [what, postMessage] of Object.entries(ways)) {
    const { calls, fetch: up } = held();
    const { fetch, webview } = relayed(t, up);
    const pending = fetch("/api/chat/stream");
    const other = fetch("/api/chat/open/x");
    await quiet(5);
    const delivers = webview.postMessage;
    webview.postMessage = postMessage;
    calls[0].resolve(new Response("lost"));
    await quiet(5);
    assert.deepEqual(calls.map(({ aborted }) => aborted), [true, true], what);
    // Should the same page be heard again, it is told what became of its requests, and goes on.
    webview.postMessage = delivers;
    const next = fetch("/api/chat/stream");
    for (const lost of [pending, other]) {
      await assert.rejects(soon(lost, what), (error) => error.cause.code === "messages_lost");
    }
    await assert.rejects(soon(next, what), (error) => error.cause.code === "messages_lost");
    const again = fetch("/api/chat/stream");
    await quiet(5);
    assert.equal(calls.length, 3, what);
    calls[2].resolve(new Response("here again"));
    assert.equal(await (await soon(again, what)).text(), "here again", what);
  }
});

test("a request that crosses a halt on its way is taken back upstream", async (t) => {
  const { calls, fetch: up } = held();
  const { fetch, page, posted } = relayed(t, up);
  const first = fetch("/api/chat/stream");
  await quiet(5);
  const { page: name } = posted.toHost[0];
  // The page is halted for this message while its next request is under way already.
  page.api.postMessage(message(name, { type: "nonsense" }));
  const crossing = fetch("/api/chat/open/x");
  for (const ended of [first, crossing]) {
    await assert.rejects(soon(ended, "the halt"), (error) => error.cause.code === "malformed");
  }
  await quiet(5);
  assert.deepEqual(calls.map(({ aborted }) => aborted), [true, true]);
});

test("an editor that loses bytes is found out, both ways", async (t) => {
  const { fetch } = relayed(t, () => Promise.resolve(new Response("some bytes")), {}, "old");
  const response = await fetch("/api/chat/stream");
  await assert.rejects(response.text(), (error) => error instanceof TypeError && error.cause.code === "bytes_lost" && error.message.includes("^1.57.0"));
  await assert.rejects(fetch("/api/chat/open/x", { method: "POST", body: "text" }), (error) => error.cause.code === "bytes_lost");
});

test("a page of another version is told which one is spoken", async (t) => {
  const { calls, fetch } = held();
  const page = hostilePage(t, fetch);
  page.postRaw({ ...message(PAGE, open(1)), version: 2 });
  assert.match((await page.hears((heard) => heard.code === "version_mismatch", "the halt")).message, /version 1 /);
  assert.deepEqual(calls, []);
});

test("messages that are not the relay's are left alone, whatever they are", async (t) => {
  const { calls, fetch } = held();
  const page = hostilePage(t, fetch);
  for (const foreign of [null, undefined, 0, "open", [], [message(PAGE, open(1))], { type: "open" }, { channel: "midplane" }, new Map(), JSON.stringify(message(PAGE, open(1)))]) {
    page.postRaw(foreign);
  }
  await quiet(5);
  assert.deepEqual([calls, page.heard, page.refusals], [[], [], []]);
  for (const name of ["", "x", PAGE.toUpperCase(), `${PAGE}0`, `${PAGE}\n`, 7, null, [PAGE], "constructor"]) {
    page.post(open(1), name);
  }
  await quiet(5);
  assert.deepEqual([calls, page.heard], [[], []]);
  assert.equal(page.refusals.length, 9);
});

test("thousands of made-up messages reach nothing that is not allowed, and the relay goes on", async (t) => {
  const nasty = [
    null, undefined, true, 0, -1, 1, 2, 3, 1.5, 2 ** 31, Number.NaN, Number.POSITIVE_INFINITY, 10n, "", "GET", "POST", "stream", "hello", "bye", "open", "data", "end", "credit", "abort", "__proto__", "constructor",
    "/api/chat/stream", "/api/chat/open/x", "/sessions", "/api/../sessions", "/modules/chat", "//evil", "/api/chat/open/%2e%2e/x", PAGE, [], {}, [[]], [["accept", "x"]], [["authorization", "Bearer x"]], [["cookie", "a=b"], ["host", "x"]], [["a", "b\r\nc: d"]],
    new Uint8Array(0), new Uint8Array(10), new ArrayBuffer(5), new Float32Array(2), new Date(0), new Map([["id", 1]]), /x/, new Error("x"), { length: 2 }, { toString: "x" }, "a".repeat(10_000), Array.from({ length: 100 }, () => ["accept", "x"]),
  ];
  const members = ["channel", "version", "page", "type", "id", "method", "url", "headers", "body", "manualRedirect", "bytes", "__proto__", "constructor", "redirect", "signal"];
  for (const seed of [1, 2, 3, 4, 5]) {
    const random = seeded(seed);
    const pick = (from) => from[Math.floor(random() * from.length)];
    let now = 0;
    const reached = [];
    const fetch = async (url, init) => {
      reached.push({ url, method: init.method, headers: init.headers });
      if (random() < 0.3) {
        throw new Error("upstream");
      }
      const body = init.method === "HEAD" || random() < 0.3 ? null : new Uint8Array(Math.floor(random() * 100_000));
      return new Response(body, { status: pick([200, 404, 500]) });
    };
    const page = hostilePage(t, fetch, { now: () => now, limits: { requestsMax: 50 } });
    let id = 0;
    let current = PAGE;
    const valid = () => {
      id += 1;
      const known = 1 + Math.floor(random() * id);
      return pick([
        () => open(id),
        () => upload(id),
        () => open(id, { method: "POST", url: "/api/chat/open/x", body: new Uint8Array(10) }),
        () => ({ type: "data", id: known, bytes: new Uint8Array(100) }),
        () => ({ type: "end", id: known }),
        () => ({ type: "abort", id: known }),
        () => ({ type: "credit", id: known, bytes: 1 + Math.floor(random() * 1000) }),
        () => ({ type: "hello" }),
      ])();
    };
    for (let sent = 0; sent < 4_000; sent += 1) {
      now += 20;
      const reloads = random() < 0.01;
      if (reloads) {
        current = sent.toString(16).padStart(32, "0");
      }
      const posted = message(random() < 0.99 ? current : PAGE, valid());
      const changes = Math.floor(random() * 3);
      for (let change = 0; change < changes; change += 1) {
        const member = pick(members);
        if (random() < 0.2) {
          delete posted[member];
        } else {
          // As a real member, also for __proto__, which is what JSON.parse makes of it.
          Object.defineProperty(posted, member, { value: pick(nasty), enumerable: true, configurable: true, writable: true });
        }
      }
      page.postRaw(posted);
      if (sent % 100 === 0) {
        await quiet(2);
      }
    }
    await quiet();
    const fields = new Set(["accept"]);
    for (const { url, method, headers } of reached) {
      const context = `seed ${seed}: ${method} ${url} ${JSON.stringify(headers)}`;
      assert.ok((url === "/api/chat/stream" && (method === "GET" || method === "HEAD")) || (url === "/api/chat/open/x" && ["GET", "POST"].includes(method)), context);
      assert.ok(headers.every(([name]) => fields.has(name)), context);
    }
    assert.ok(reached.length > 200, `seed ${seed}: only ${reached.length} allowed ones got through, too few to mean anything`);
    // An honest page that is loaded now finds everything as it should be.
    now += 10_000;
    page.heard.length = 0;
    const fresh = seed.toString(16).padStart(32, "e");
    page.post(open(1, { method: "GET", url: "/api/chat/open/x" }), fresh);
    assert.equal((await page.hears((heard) => heard.page === fresh && heard.id === 1, `an answer after seed ${seed}`)).id, 1);
    page.relay.dispose();
  }
});
