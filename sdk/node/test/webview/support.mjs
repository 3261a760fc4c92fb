// What the relay's tests stand on: webviews made of two ends in this process, a real HTTP server upstream, and waiting
// with a deadline. Nothing here sleeps.
import { createServer } from "node:http";
import { once } from "node:events";
import { createFetch } from "../../dist/esm/webview/page.js";
import { relayFetch } from "../../dist/esm/webview/host.js";
import { CHANNEL, VERSION } from "../../dist/esm/webview/protocol.js";

export const TOKEN = "canary-token-that-no-page-may-see";

/** What the extensions of the tests allow. */
export const ALLOW = [
  { method: "GET", path: "/api/chat/stream" },
  { method: "HEAD", path: "/api/chat/stream" },
  ...["GET", "POST", "PUT", "DELETE"].map((method) => ({ method, path: "/api/chat/open/*" })),
];

/**
 * How a message crosses. `vscode` is what an extension host does: JSON, with array buffers beside it by number, views known by
 * their constructor's name and carried with the whole buffer they look into. `old` is the same before 1.57: JSON alone.
 */
const CARRIERS = {
  memory: (message) => message,
  clone: (message) => structuredClone(message),
  vscode: (message) => {
    const buffers = [];
    const json = JSON.stringify(message, (_name, value) => {
      if (value instanceof ArrayBuffer) {
        return { $buffer: buffers.push(structuredClone(value)) - 1 };
      }
      if (ArrayBuffer.isView(value) && value.constructor.name === "Uint8Array") {
        const { byteOffset, byteLength } = value;
        return { $buffer: buffers.push(structuredClone(value.buffer)) - 1, view: { byteOffset, byteLength } };
      }
      return value;
    });
    return JSON.parse(json, (_name, value) => {
      if (typeof value !== "object" || value === null || value.$buffer === undefined) {
        return value;
      }
      const buffer = buffers[value.$buffer];
      return value.view === undefined ? buffer : new Uint8Array(buffer, value.view.byteOffset, value.view.byteLength);
    });
  },
  old: (message) => JSON.parse(JSON.stringify(message)),
};

export const CARRIER_NAMES = ["memory", "vscode", "port"];

/** A webview and the window in it. `carrier` is one of `CARRIERS`, or `port` for a MessageChannel. */
export function fakeWebview(carrier = "memory") {
  const toHost = new Set();
  const posted = { toHost: [], toPage: [] };
  let windows = [];
  const deliverToHost = (message) => {
    posted.toHost.push(message);
    for (const listener of toHost) {
      listener(message);
    }
  };
  const deliverToPage = (message) => {
    posted.toPage.push(message);
    for (const window of windows) {
      window.receive(message);
    }
  };
  let sendToHost;
  let sendToPage;
  let close = () => {};
  if (carrier === "port") {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = (event) => deliverToHost(event.data);
    port2.onmessage = (event) => deliverToPage(event.data);
    sendToHost = (message) => port2.postMessage(message);
    sendToPage = (message) => port1.postMessage(message);
    close = () => port1.close();
  } else {
    const carry = CARRIERS[carrier];
    // Never in the sender's turn, and in order, as between processes.
    sendToHost = (message) => void Promise.resolve(carry(message)).then(deliverToHost);
    sendToPage = (message) => void Promise.resolve(carry(message)).then(deliverToPage);
  }
  const webview = {
    delivers: true,
    postMessage(message) {
      if (webview.delivers) {
        sendToPage(message);
      }
      return Promise.resolve(webview.delivers);
    },
    onDidReceiveMessage(listener) {
      toHost.add(listener);
      return { dispose: () => toHost.delete(listener) };
    },
  };
  /** A freshly loaded page; what was there before hears nothing more. */
  const load = () => {
    const listeners = { message: [], pagehide: [] };
    const window = {
      receive: (data) => listeners.message.forEach((listener) => listener({ data })),
      addEventListener: (type, listener) => listeners[type].push(listener),
      document: { baseURI: "vscode-webview://0abc/index.html" },
    };
    windows = [window];
    return {
      api: { postMessage: sendToHost },
      scope: window,
      hide: () => listeners.pagehide.forEach((listener) => listener({})),
    };
  };
  return { webview, load, posted, close, listeners: toHost, addWindow: () => { const old = windows; const page = load(); windows = [...old, ...windows]; return page; } };
}

/** A relay between a page and `fetch`, torn down with the test. */
export function relayed(t, fetch, options = {}, carrier = "memory") {
  const fake = fakeWebview(carrier);
  const refusals = [];
  const errors = [];
  const relay = relayFetch(fake.webview, fetch, {
    allow: ALLOW,
    onRefused: (refusal) => refusals.push(refusal),
    onError: (error) => errors.push(error),
    ...options,
  });
  const page = fake.load();
  t.after(() => {
    relay.dispose();
    fake.close();
  });
  return { ...fake, relay, page, refusals, errors, fetch: createFetch(page.api, { scope: page.scope }) };
}

/**
 * An HTTP server, and a `fetch` for it that adds a credential as a session's does. `reached` lists every request that came.
 */
export async function upstream(t, handler) {
  const reached = [];
  const server = createServer((request, response) => {
    reached.push({ method: request.method, url: request.url, headers: request.headers });
    Promise.resolve(handler(request, response)).catch((error) => response.destroy(error));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${server.address().port}`;
  const fetch = (path, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${TOKEN}`);
    return globalThis.fetch(origin + path, { ...init, headers });
  };
  return { server, origin, reached, fetch };
}

/** A message as a page of any disposition may write it. */
export function message(page, content) {
  return { channel: CHANNEL, version: VERSION, page, ...content };
}

export const PAGE = "00112233445566778899aabbccddeeff";

/** A page that writes its messages by hand. `heard` are those sent to it. */
export function hostilePage(t, fetch, options = {}) {
  const fake = fakeWebview("memory");
  const refusals = [];
  const relay = relayFetch(fake.webview, fetch, { allow: ALLOW, onRefused: (refusal) => refusals.push(refusal), ...options });
  const { api, scope } = fake.load();
  const heard = [];
  const waiting = new Set();
  scope.addEventListener("message", ({ data }) => {
    heard.push(data);
    waiting.forEach((check) => check());
  });
  t.after(() => relay.dispose());
  return {
    relay,
    refusals,
    heard,
    post: (content, page = PAGE) => api.postMessage(message(page, content)),
    postRaw: api.postMessage,
    /** The first message, past or future, that fits. */
    hears: (fits, what) =>
      soon(
        new Promise((resolve) => {
          const check = () => {
            const found = heard.find(fits);
            if (found !== undefined) {
              waiting.delete(check);
              resolve(found);
            }
          };
          waiting.add(check);
          check();
        }),
        () => `${what}; heard last ${JSON.stringify(heard.slice(-5))}`,
      ),
  };
}

const DEADLINE_MS = 20_000;

/** The promise's value, or a failure that says what did not come. */
export async function soon(promise, what) {
  let timer;
  const deadline = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${DEADLINE_MS} ms in vain for ${typeof what === "function" ? what() : what}`)), DEADLINE_MS);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** A promise and its `resolve`, for handlers that wait for the test. */
export function gate() {
  let open;
  const opened = new Promise((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Turns of the event loop: enough for whatever is going to happen without being asked to have happened. */
export async function quiet(turns = 50) {
  for (let turn = 0; turn < turns; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** A small seeded generator of numbers in [0, 1), so that a failure can be had again (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
