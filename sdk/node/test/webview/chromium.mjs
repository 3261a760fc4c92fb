// A real Chromium with a page in a sandboxed frame, as VS Code keeps a webview: an opaque origin, a content security policy, and
// nothing but `acquireVsCodeApi` to reach out with. The frame's parent stands in for the editor.
import { accessSync, constants } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";

const require = createRequire(import.meta.url);

/** Starts Chromium, or says why it cannot. */
export async function launchChromium() {
  let playwright;
  try {
    playwright = require("playwright-core");
  } catch {
    return { missing: "playwright-core is not installed (npm install --no-save playwright-core)" };
  }
  const executablePath = ["chromium", "chromium-browser", "google-chrome"]
    .flatMap((name) => (process.env.PATH ?? "").split(delimiter).map((directory) => join(directory, name)))
    .find(isExecutable);
  if (executablePath === undefined) {
    return { missing: "no chromium in PATH (Debian: apt-get install chromium)" };
  }
  const browser = await playwright.chromium.launch({
    executablePath,
    // Chromium's own sandbox refuses root.
    chromiumSandbox: process.getuid?.() !== 0,
    args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  return { browser };
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** What the editor puts before a webview's scripts. */
const ACQUIRE = `
  let acquired = false;
  globalThis.acquireVsCodeApi = () => {
    if (acquired) throw new Error("An instance of the VS Code API has already been acquired");
    acquired = true;
    return { postMessage: (message) => parent.postMessage(message, "*") };
  };`;

/** The policy that WEBVIEW.md gives. */
const policy = (origin) => `default-src 'none'; script-src ${origin}; style-src ${origin}; img-src ${origin} data:; connect-src 'none'; form-action 'none'; base-uri 'none'`;

/**
 * Serves the built package's webview folder, the frame and its parent. `parent` and `frame` are the sources of two modules; `route` answers what
 * else is asked for.
 */
export async function servePages(t, { parent, frame, csp = policy, route }) {
  const server = createServer((request, response) => {
    serve(request, response).catch((error) => response.destroy(error));
  });
  const serve = async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const script = (source) => response.writeHead(200, { "content-type": "text/javascript", "access-control-allow-origin": "*" }).end(source);
    const html = (source, headers = {}) => response.writeHead(200, { "content-type": "text/html;charset=utf-8", ...headers }).end(source);
    const built = /^\/webview\/([a-z-]+\.js)$/.exec(pathname);
    if (built !== null) {
      return script(await readFile(new URL(`../../dist/esm/webview/${built[1]}`, import.meta.url)));
    }
    switch (pathname) {
      case "/favicon.ico":
        return response.writeHead(204).end();
      case "/":
        return html('<!doctype html><title>editor</title><script type="module" src="/parent.js"></script><iframe sandbox="allow-scripts" src="/frame"></iframe>');
      case "/parent.js":
        return script(parent);
      case "/frame":
        return html('<!doctype html><title>page</title><script src="/acquire.js"></script><script type="module" src="/frame.js"></script>', csp === null ? {} : { "content-security-policy": csp(origin) });
      case "/acquire.js":
        return script(ACQUIRE);
      case "/frame.js":
        return script(frame);
      default:
        return route === undefined ? response.writeHead(404).end() : route(request, response);
    }
  };
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${server.address().port}`;
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return origin;
}

/** Messages between the frame and this process: bytes as base64 inside JSON, since that is what the debugging protocol carries. */
export const PARENT = `
  const frame = () => document.querySelector("iframe").contentWindow;
  const pack = (_name, value) => value instanceof Uint8Array ? { $bytes: btoa(String.fromCharCode(...value)) } : value;
  const unpack = (_name, value) => value?.$bytes === undefined ? value : Uint8Array.from(atob(value.$bytes), (character) => character.charCodeAt(0));
  addEventListener("message", ({ source, data }) => {
    if (source === frame()) toExtension(JSON.stringify(data, pack));
  });
  globalThis.toFrame = (json) => frame().postMessage(JSON.parse(json, unpack), "*");
  globalThis.reloadFrame = () => { document.querySelector("iframe").src = "/frame"; };`;

/** The webview that an extension would have for the frame in `page`, which shows `PARENT`. */
export async function webviewOf(page) {
  const listeners = new Set();
  const heard = [];
  const posted = [];
  const unpack = (_name, value) => (typeof value?.$bytes === "string" ? new Uint8Array(Buffer.from(value.$bytes, "base64")) : value);
  const pack = (_name, value) => (value instanceof Uint8Array ? { $bytes: Buffer.from(value).toString("base64") } : value);
  await page.exposeFunction("toExtension", (json) => {
    const message = JSON.parse(json, unpack);
    heard.push(message);
    listeners.forEach((listener) => listener(message));
  });
  let last = Promise.resolve();
  return {
    heard,
    posted,
    postMessage(message) {
      const json = JSON.stringify(message, pack);
      posted.push(json);
      last = last.then(() => page.evaluate((sent) => globalThis.toFrame(sent), json)).then(
        () => true,
        () => false,
      );
      return last;
    },
    onDidReceiveMessage(listener) {
      listeners.add(listener);
      return { dispose: () => listeners.delete(listener) };
    },
  };
}
