// What a page may name: a table of hostile URLs, a property over thousands of made-up ones, and the lists an extension may write.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AllowList, URL_LENGTH_MAX, checkUrl } from "../../dist/esm/webview/allow.js";
import { RequestFields } from "../../dist/esm/webview/headers.js";
import { relayFetch } from "../../dist/esm/webview/host.js";
import { fakeWebview, hostilePage, quiet, seeded } from "./support.mjs";

const HOSTILE = [
  // Other origins and other schemes.
  "http://localhost/api/chat/stream", "https://example.org/api/chat/stream", "//example.org/api/chat/stream", "///api/chat/stream",
  "/\\example.org/api/chat/stream", "\\\\example.org", "http:/api/chat/stream", "file:///etc/passwd", "javascript:alert(1)", "@example.org/api/chat/",
  "/api:80@example.org//", "localhost/api/chat/stream", "", "/", "?", "#", "api/chat/stream", " /api/chat/stream", "/api/chat/stream ",
  // The kernel's own routes.
  "/health", "/sessions", "/modules/chat", "/bridge", "/events", "/openapi.json", "/api", "/api/", "/API/chat/stream", "/apichat/stream", "/api?/chat/stream",
  // Dot segments, plain and encoded, whole and in part.
  "/api/chat/open/../stream", "/api/chat/open/..", "/api/chat/open/.", "/api/./chat/stream", "/api/../sessions", "/api/chat/open/../../../sessions",
  "/api/chat/open/%2e%2e/stream", "/api/chat/open/%2E%2E", "/api/chat/open/.%2e/x", "/api/chat/open/%2e", "/api/%2e%2e/sessions", "/..", "/../api/chat/stream",
  "/api/chat/open/..;/x/../stream", "/api/chat/open/x%2ejson",
  // Slashes, encoded, doubled, the wrong way.
  "/api/chat/open/..%2fstream", "/api/chat/open/..%2Fstream", "/api%2fchat%2fstream", "/api/chat/open/%5c..%5cstream", "/api/chat/open/..\\stream",
  "/api\\chat\\stream", "/api//chat/stream", "//api/chat/stream", "/api/chat//stream", "/api/chat/open//", "/api/chat/stream//",
  // Encoded twice, badly, or otherwise than UTF-8 asks for.
  "/api/chat/open/%252e%252e/stream", "/api/chat/open/%25", "/api/chat/open/%", "/api/chat/open/%2", "/api/chat/open/%zz", "/api/chat/open/%u002e%u002e/",
  // Controls, spaces, and what is no ASCII.
  "/api/chat/open/\0", "/api/chat/open/%00", "/api/chat/open/a\r\nHost: x", "/api/chat/open/%0d%0aHost:%20x", "/api/chat/open/a\tb", "/api/chat/open/a b", "/api/chat/\nopen/x",
  "/api/chat/open/%7f", "/api/chat/open/\u007f", "/api/chat/open/ü", "/api/chat/open/\u202e", "/api/chat/open/\uff0e\uff0e/", "/api/chat/open/\u2215", "/api/chat/open/\ud800",
  // Fragments, and queries that are none.
  "/api/chat/stream#", "/api/chat/stream#/sessions", "/api/chat/open/a?b#c", "/api/chat/open/a?b c", "/api/chat/open/a?\r\nx", "/api/chat/open/a?ü", '/api/chat/open/a?"', "/api/chat/open/a?\\", "/api/chat/open/a?\0",
  // Brackets and others that a URL has to encode.
  "/api/chat/open/[x]", "/api/chat/open/{x}", "/api/chat/open/<x>", '/api/chat/open/"x"', "/api/chat/open/`x`", "/api/chat/open/a|b", "/api/chat/open/a^b",
  `/api/chat/open/${"a".repeat(URL_LENGTH_MAX)}`, `/api/chat/open/a?${"a".repeat(URL_LENGTH_MAX)}`,
];

/** Plain, but on nobody's list. */
const UNLISTED = [
  ["POST", "/api/chat/stream"], ["DELETE", "/api/chat/stream"], ["PATCH", "/api/chat/open/x"], ["OPTIONS", "/api/chat/open/x"], ["TRACE", "/api/chat/open/x"], ["CONNECT", "/api/chat/open/x"],
  ["HEAD", "/api/chat/open/x"], ["GET", "/api/chat/streams"], ["GET", "/api/chat/stream/"], ["GET", "/api/chat/stream/x"], ["GET", "/api/chat/open"], ["GET", "/api/chat/opened"],
  ["GET", "/api/chat/OPEN/x"], ["GET", "/api/notes/open/x"], ["GET", "/api/chat"], ["GET", "/api/chat/"], ["GET", "/api/chat/%6fpen/x"], ["GET", "/api/chat/*"], ["GET", "/api/chat/stream;x"],
];

const PLAIN = [
  ["GET", "/api/chat/stream"], ["HEAD", "/api/chat/stream"], ["GET", "/api/chat/stream?"], ["GET", "/api/chat/stream?../../sessions"], ["GET", "/api/chat/stream?a=%2e%2e%2f&b[]={}|^`'"],
  ["POST", "/api/chat/open/x"], ["GET", "/api/chat/open/"], ["GET", "/api/chat/open/a/b/c/"], ["GET", "/api/chat/open/...x"], ["GET", "/api/chat/open/.well-known"], ["GET", "/api/chat/open/%C3%BC%20x"],
  ["GET", "/api/chat/open/a:b@c,d;e=f!$&'()*+~_-"], ["GET", "/api/chat/open/..x"],
];

test("hostile URLs reach nothing, plain ones on the list do", async (t) => {
  const reached = [];
  let now = 0;
  const page = hostilePage(
    t,
    (url, init) => {
      reached.push([init.method, url]);
      return Promise.resolve(new Response(null, { status: 204 }));
    },
    // Never a flood.
    { now: () => (now += 1_000) },
  );
  let id = 0;
  const ask = async (method, url) => {
    id += 1;
    const mine = id;
    page.post({ type: "open", id: mine, method, url, headers: [] });
    return page.hears((message) => message.id === mine, `an answer to ${method} ${url}`);
  };
  for (const url of HOSTILE) {
    for (const method of ["GET", "POST"]) {
      const answer = await ask(method, url);
      assert.deepEqual([answer.type, answer.code], ["fail", "url_refused"], JSON.stringify(url));
    }
  }
  for (const [method, url] of UNLISTED) {
    const answer = await ask(method, url);
    assert.deepEqual([answer.type, answer.code], ["fail", "not_allowed"], `${method} ${url}`);
  }
  await quiet();
  assert.deepEqual(reached, []);
  for (const [method, url] of PLAIN) {
    assert.equal((await ask(method, url)).type, "head", `${method} ${url}`);
  }
  assert.deepEqual(reached, PLAIN);
});

test("whatever URL is accepted means one thing to every reader", () => {
  const pieces = [
    "/", "/", "/", "api", "api", "chat", "open", "stream", "sessions", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", "%", "%25", "%252f", "%00", "\0", "\n", "\t", " ", "?", "#", ":", "@", ";", "=",
    "http://", "//", "localhost", "a", "ü", "%C3%BC", "%c0%ae", "\u2025", "*", "&", "%41", "~", "'", "[", "]", "|",
  ];
  const allow = new AllowList([{ method: "GET", path: "/api/chat/open/*" }, { method: "GET", path: "/api/chat/stream" }]);
  for (let seed = 1; seed <= 20; seed += 1) {
    const random = seeded(seed);
    let accepted = 0;
    for (let round = 0; round < 10_000; round += 1) {
      const starts = random() < 0.8 ? "/api/chat/open/" : "";
      const url = starts + Array.from({ length: Math.floor(random() * 8) }, () => pieces[Math.floor(random() * pieces.length)]).join("");
      const checked = checkUrl(url);
      if ("refused" in checked) {
        continue;
      }
      accepted += 1;
      const context = `seed ${seed}: ${JSON.stringify(url)}`;
      const parsed = new URL(url, "http://localhost");
      assert.equal(parsed.origin, "http://localhost", context);
      assert.equal(parsed.pathname, checked.path, context);
      assert.ok(parsed.pathname + parsed.search === url || `${parsed.pathname}?` === url || parsed.search.includes("%27"), context);
      // A reader that decodes, also twice, and takes backslashes for slashes, sees the same segments.
      let decoded = Buffer.from(checked.path.replace(/%([0-9a-f]{2})/gi, (_all, hex) => String.fromCharCode(Number.parseInt(hex, 16)))).toString();
      assert.doesNotMatch(decoded, /[\0-\x1f\x7f%\\]/, context);
      assert.deepEqual(decoded.split("/").length, checked.path.split("/").length, context);
      assert.ok(!decoded.split("/").some((segment) => segment === "." || segment === ".."), context);
      assert.ok(!decoded.includes("//"), context);
      if (allow.permits("GET", checked.path)) {
        assert.ok(decoded === "/api/chat/stream" || decoded.startsWith("/api/chat/open/"), context);
      }
    }
    assert.ok(accepted > 100, `seed ${seed}: only ${accepted} were accepted, too few to mean anything`);
  }
});

test("a list outside /api/, or not plain, is the extension's mistake and is named", () => {
  const { webview } = fakeWebview();
  const fetch = () => Promise.reject(new Error("not to be called"));
  const wrong = [
    ["GET", "/sessions"], ["GET", "/*"], ["GET", "/api"], ["GET", "/api/"], ["GET", "/api*"], ["GET", "*"], ["GET", "api/chat/*"], ["GET", "/api/../sessions"], ["GET", "/api/%2e%2e/*"], ["GET", "/api//chat"],
    ["GET", "/api/chat/*/x"], ["GET", "/api/chat/x*"], ["GET", "/api/chat?x"], ["GET", "/api/chat/**"], ["GET", "http://localhost/api/chat"], ["GET", "/api/chat/ü"], ["get", "/api/chat/x"], ["CONNECT", "/api/chat/x"], ["TRACE", "/api/chat/x"], ["*", "/api/chat/x"], ["", "/api/chat/x"],
  ];
  for (const [method, path] of wrong) {
    assert.throws(() => relayFetch(webview, fetch, { allow: [{ method, path }] }), (error) => error instanceof TypeError && error.message.includes(`${method} ${path}`), `${method} ${path}`);
  }
  relayFetch(webview, fetch, { allow: [] }).dispose();
  const all = new AllowList([{ method: "GET", path: "/api/*" }]);
  assert.deepEqual(["/api/chat/x", "/api/a", "/sessions", "/apix"].map((path) => all.permits("GET", path)), [true, true, false, false]);
});

test("headers that never pass cannot be allowed", () => {
  for (const name of ["authorization", "Authorization", "cookie", "Host", "ORIGIN", "proxy-anything", "Sec-Fetch-Mode", "connection", "Transfer-Encoding", "content-length", "x-midplane-session", "x-forwarded-host", "referer", "X-HTTP-Method-Override", "te", "upgrade"]) {
    assert.throws(() => new RequestFields([name]), (error) => error instanceof TypeError && error.message.includes(name));
  }
  const { passed, dropped } = new RequestFields(["X-Mine"]).filter([["x-mine", "1"], ["cookie", "2"], ["accept", "3"]]);
  assert.deepEqual([passed, dropped], [[["x-mine", "1"], ["accept", "3"]], ["cookie"]]);
});
