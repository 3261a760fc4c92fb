// A page that was taken over: it may do what the view may do, and nothing else. It has the page's own end of the wire to the
// extension, and says on it whatever it likes.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

import { newCanary } from "./harness/canary.mjs";
import { Provider } from "./harness/provider.mjs";
import { Scene } from "./harness/scene.mjs";
import { until } from "./harness/wait.mjs";

const key = newCanary();
const provider = await new Provider().start();
provider.keys = [key];
const scene = await Scene.set("hostile", provider.settings);
scene.with(provider);
let window, frame;

/** Runs in the page: posts one request to the relay, raw, and gathers what comes back until it is over. */
function ask({ page, id, request }) {
  return new Promise((resolve) => {
    const got = { id };
    const bytes = [];
    const finish = () => {
      removeEventListener("message", listen);
      resolve({ ...got, text: bytes.map((piece) => new TextDecoder().decode(piece)).join("") });
    };
    const listen = ({ data }) => {
      if (data?.channel !== "midplane.fetch" || data.page !== page || (data.id !== undefined && data.id !== id)) return;
      if (data.type === "head") {
        got.status = data.status;
        got.headers = data.headers;
        if (!data.body) finish();
      } else if (data.type === "data") bytes.push(data.bytes);
      else if (data.type === "end") finish();
      else if (data.type === "fail" || data.type === "halt") {
        got.refused = data.code;
        finish();
      }
    };
    addEventListener("message", listen);
    const body = request.body && { body: new Uint8Array(request.body) };
    globalThis.__midplaneTestApi.postMessage({ channel: "midplane.fetch", version: 1, page, type: "open", id, headers: [], ...request, ...body });
  });
}

const page = randomBytes(16).toString("hex");
let id = 0;
const attempt = (request) => frame.evaluate(ask, { page, id: (id += 1), request });
const BODY = [...Buffer.from(JSON.stringify({ type: "threads.list", params: { limit: 5, order: "desc" } }))];
const JSON_BODY = ["content-type", "application/json"];
/** What the view itself asks. */
const chatkit = (headers = []) => attempt({ method: "POST", url: "/api/chat/chatkit", headers: [JSON_BODY, ...headers], body: BODY });

scene.test("the wire carries what the view may ask, so that a refusal means something", async () => {
  window = await scene.window();
  const chat = await window.openChat();
  await window.command("Midplane: Set API Key…");
  await window.answer(key, { secret: true });
  await chat.ask("something to steal", "You said: something to steal");
  frame = await chat.contentFrame();
  const answer = await chatkit();
  assert.equal(answer.status, 200, JSON.stringify(answer));
  assert.match(answer.text, /"data":\[\{/);
});

const CONTROL = ["/health", "/openapi.json", "/metrics", "/sessions", "/sessions/current", "/modules", "/modules/chat", "/keys/rotate", "/log-level", "/events", "/bridge"];
const DETOURS = [
  "/api/chat/chatkit/../../../sessions",
  "/api/chat/%2e%2e/%2e%2e/sessions",
  "/api/chat/..%2f..%2fsessions",
  "/api/../sessions",
  "/api//../sessions",
  "//localhost/sessions",
  "http://localhost/sessions",
  "/api/chat/chatkit#/../../sessions",
  "/api/chat\\..\\..\\sessions",
  "/api/chat/chatkit\r\nx: y",
  "/api/hello/hello",
  "/api/chat/v1/models",
  "/api/chat/chatkit/sessions",
  "/api/",
  "",
];

scene.test("no control route, no other module's, none the view does not need, with any method or detour", async () => {
  for (const url of [...CONTROL, ...DETOURS]) {
    for (const method of ["GET", "POST", "PUT", "DELETE"]) {
      const { status, refused, text } = await attempt({ method, url });
      assert.ok(refused && status === undefined && text === "", `${method} ${url}: ${status} ${text}`);
    }
  }
  for (const method of ["GET", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE", "post"]) {
    const { status, refused } = await attempt({ method, url: "/api/chat/chatkit" });
    assert.ok(refused && status === undefined, `${method}: ${status}`);
  }
});

scene.test("no header that says who asks gets through", async () => {
  for (const [name, value] of [["authorization", "Bearer mph_forged"], ["cookie", "a=b"], ["origin", "https://evil.example"], ["host", "evil.example"], ["x-forwarded-for", "1.2.3.4"], ["connection", "upgrade"]]) {
    const answer = await chatkit([[name, value]]);
    // Left behind or refused: a forged credential, a foreign origin or host that arrived would be 401, 403 or 421.
    assert.ok(answer.refused || answer.status === 200, `${name}: ${JSON.stringify(answer)}`);
  }
});

scene.test("of the extension it gets only the commands the view has, and no link that is one", async () => {
  await frame.evaluate(() => {
    const post = (message) => globalThis.__midplaneTestApi.postMessage(message);
    for (const command of ["midplane.forgetKey", "workbench.action.terminal.new", "workbench.action.closeWindow", "__proto__", "constructor"]) post({ type: "command", command });
    for (const url of ["command:workbench.action.terminal.new", "file:///etc/passwd", "vscode://settings", "javascript:alert(1)", "data:text/html,x", "not a url"]) post({ type: "openLink", url });
    for (const message of [null, 7, "ready", [], {}, { type: "secret/get" }, { type: "command" }, { type: "copy" }, { type: "insert", text: { toString: null } }]) post(message);
    // The last one is allowed: when it is carried out, all others have been looked at.
    post({ type: "command", command: "midplane.openSettings" });
  });
  await window.page.locator(".settings-editor").waitFor();
  assert.equal(await window.page.locator(".terminal-wrapper").count(), 0);
  assert.equal(await window.page.locator(".monaco-dialog-box").count(), 0);
  assert.equal(scene.browser.pages().length, 1, "nothing was opened");
  await window.page.keyboard.press("Escape");
  await window.page.locator(".settings-editor").waitFor({ state: "hidden" });
  // It took the page's wire for itself; a fresh page has its own.
  await window.command("Developer: Reload Webviews");
  await window.openChat();
  await window.chat.ask("is the key still there?", "You said: is the key still there?");
});

scene.test("it can load and send nothing by itself: the policy of its content allows no connection", async () => {
  frame = await window.chat.contentFrame();
  const before = provider.requests.length;
  const outcome = await frame.evaluate(async (url) => {
    const tried = {};
    const violations = [];
    document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => violations.push(effectiveDirective));
    tried.fetch = await fetch(`${url}/chat/completions`, { method: "POST", mode: "no-cors", body: "stolen" }).then(() => "sent", () => "refused");
    tried.socket = await new Promise((resolve) => {
      try {
        const socket = new WebSocket(url.replace("http", "ws"));
        socket.onopen = () => resolve("sent");
        socket.onerror = () => resolve("refused");
      } catch {
        resolve("refused");
      }
    });
    tried.image = await new Promise((resolve) => {
      const image = new Image();
      image.onload = () => resolve("sent");
      image.onerror = () => resolve("refused");
      image.src = `${url}/pixel.png`;
    });
    tried.script = await new Promise((resolve) => {
      const script = document.createElement("script");
      script.onload = () => resolve("sent");
      script.onerror = () => resolve("refused");
      script.src = `${url}/script.js`;
      document.head.append(script);
    });
    tried.beacon = navigator.sendBeacon(`${url}/beacon`, "stolen") ? "sent" : "refused";
    return { tried, violations };
  }, provider.url);
  // Chromium answers `true` for a beacon that it then drops: what arrived is what counts.
  delete outcome.tried.beacon;
  assert.deepEqual(new Set(Object.values(outcome.tried)), new Set(["refused"]), JSON.stringify(outcome));
  for (const directive of ["connect-src", "img-src", "script-src-elem"]) assert.ok(outcome.violations.includes(directive), JSON.stringify(outcome));
  assert.equal(provider.requests.length, before, JSON.stringify(provider.requests.slice(before)));
});

scene.test("of all it received, nothing was a key or a credential", async () => {
  const received = scene.record.entries.filter(({ where }) => where.startsWith("message to webview"));
  await until("the page's messages to be recorded", () => received.some(({ bytes }) => bytes.includes("something to steal")));
  for (const { where, bytes } of received) {
    const text = bytes.toString();
    assert.ok(!text.includes(key), where);
    assert.doesNotMatch(text, /mph_|eyJ[A-Za-z0-9_-]+\.eyJ/, where);
  }
});
