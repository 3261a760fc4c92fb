#!/usr/bin/env node
// A kernel that does what a test tells it to: it speaks the bridge's contract on descriptor 3, or breaks it, and serves a few HTTP
// routes on a socket. It is started in place of `midplane`, and reads its part from FAKE_KERNEL (JSON):
//
//   ready      members of `ready` that are other than they should be
//   raw        what is written to the bridge instead of `ready`
//   stderr     what is written to standard error first
//   exit       the code to exit with at once; with `after`, only from that start on
//   directory  where it keeps its socket, and counts its starts in the file `starts`
//   create_s   how long the tokens of new sessions hold, in turn; then, and when left out, 600
//   renew_s    how long renewed ones hold; default 600
//   refuse     methods that it refuses, each with a status and a code
//   silent     a method that it does not answer
//   deaf       it does not end when it is asked to
import { appendFileSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Socket } from "node:net";
import { join } from "node:path";

const part = JSON.parse(process.env.FAKE_KERNEL ?? "{}");
const directory = part.directory;
appendFileSync(join(directory, "starts"), "x");
const start = readFileSync(join(directory, "starts"), "utf8").length;

if (part.stderr) {
  process.stderr.write(part.stderr);
}
if (part.exit !== undefined && start > (part.after ?? 0)) {
  process.exit(part.exit);
}

const bridge = new Socket({ fd: 3, readable: true, writable: true });
bridge.on("error", () => process.exit(0));
bridge.on("end", () => part.deaf || process.exit(0));
if (part.deaf) {
  process.on("SIGTERM", () => undefined);
  setInterval(() => undefined, 1000);
}

function send(message) {
  const body = JSON.stringify({ jsonrpc: "2.0", ...message });
  bridge.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

const questions = new Map();
/** Asks the host, and gives its whole answer. */
function ask(method, params) {
  const id = `q${questions.size + 1}`;
  return new Promise((resolve) => {
    questions.set(id, resolve);
    send({ id, method, params });
  });
}

let sessions = 0;
const tokens = new Map();
const calls = [];
function issue(id, expires_in) {
  const token = `token-${start}-${++sessions}`;
  tokens.set(token, Date.now() + expires_in * 1000);
  const expires_at = Math.floor(Date.now() / 1000) + expires_in;
  const result = { id, object: "session", client_secret: token, token_type: "Bearer", expires_in, expires_at, user: "local", modules: ["t"] };
  return { ...result, scope: "", secret_key_id: null, environment: "pro", status: "active", rate_limit: null, metadata: {} };
}

const problem = (status, code) => ({ type: `urn:midplane:error:${code}`, title: code, status, code, detail: `it is ${code}` });
const methods = {
  initialize: () => ({ protocol: 1, host: "fake#1" }),
  shutdown: () => {
    if (!part.deaf) {
      setImmediate(() => process.exit(0));
    }
    return null;
  },
  "session/create": (params) => issue(`ses_${start}_${sessions + 1}`, part.create_s?.shift() ?? params.expires_in ?? 600),
  "session/renew": (params) => issue(params.id, part.renew_s ?? params.expires_in ?? 600),
  "session/revoke": () => null,
  "module/list": () => ({ modules: [], draining: [] }),
  "module/load": (params) => ({ module: params.name }),
  "module/reload": (params) => ({ module: params.name }),
  "module/unload": (params) => ({ module: params.name }),
  "secret/changed": () => ({ sessions: 3 }),
};

function take(message) {
  if (message.method === undefined) {
    questions.get(message.id)?.(message);
    return;
  }
  calls.push({ method: message.method, params: message.params });
  if (message.id === undefined) {
    return;
  }
  if (part.refuse?.[message.method]) {
    const [status, code] = part.refuse[message.method];
    send({ id: message.id, error: { code: -32000, message: `it is ${code}`, data: problem(status, code) } });
  } else if (part.silent !== message.method) {
    send({ id: message.id, result: methods[message.method](message.params) });
  }
}

let buffered = Buffer.alloc(0);
bridge.on("data", (chunk) => {
  buffered = Buffer.concat([buffered, chunk]);
  for (;;) {
    const end = buffered.indexOf("\r\n\r\n");
    const length = Number(/content-length: (\d+)/i.exec(buffered.subarray(0, Math.max(end, 0)).toString())?.[1]);
    if (end < 0 || buffered.length < end + 4 + length) {
      return;
    }
    const body = buffered.subarray(end + 4, end + 4 + length);
    buffered = buffered.subarray(end + 4 + length);
    take(JSON.parse(body.toString()));
  }
});

const socket = join(directory, `${start}.sock`);
const routes = {
  "/health": () => ({ status: "ok", version: "9.9.9", protocol: 1 }),
  "/api/t/start": () => ({ start }),
  "/api/t/calls": () => calls,
  "/api/t/environment": () => ({ ...process.env }),
  "/api/t/arguments": () => process.argv,
  "/api/t/forget": () => tokens.clear(),
};
const server = createServer(async (request, response) => {
  const chunks = [];
  const url = new URL(request.url, "http://localhost");
  const json = (status, value, headers = {}) => response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
  const token = request.headers.authorization?.replace("Bearer ", "");
  if (url.pathname.startsWith("/api/") && !(tokens.get(token) > Date.now())) {
    return json(401, problem(401, "invalid_token"), { "www-authenticate": 'Bearer realm="midplane", error="invalid_token"' });
  }
  switch (url.pathname) {
    // The first kernel dies of it, the next answers.
    case "/api/t/deadly":
      return start === 1 ? process.kill(process.pid, "SIGKILL") : json(200, { start });
    case "/api/t/die":
      return process.kill(process.pid, "SIGKILL");
    case "/api/t/stream":
      response.writeHead(200, { "content-type": "text/event-stream" });
      return response.write("data: one\n\n");
    case "/api/t/cut":
      response.writeHead(200, { "content-type": "text/event-stream" });
      return response.write("data: one\n\n", () => request.socket.destroy());
    case "/api/t/hang":
      return undefined;
    case "/api/t/ask":
      return json(200, await ask("secret/get", { secret_key_id: url.searchParams.get("id"), environment: "pro", session_id: "ses_1", module: "t" }));
    case "/api/t/unauthorized":
      return json(401, { mine: true }, { "x-midplane-module": "t#1" });
    case "/api/t/redirect":
      return response.writeHead(302, { location: "/api/t/start" }).end();
    case "/api/t/elsewhere":
      return response.writeHead(302, { location: "http://example.com/" }).end();
    case "/api/t/empty":
      return response.writeHead(204).end();
    case "/api/t/flood":
      for (let i = 0; i < 5_000; i++) {
        send({ method: "log", params: { level: "info", target: "t", message: `line ${i}`, fields: {}, at: 0 } });
        send({ method: "event", params: { type: "test", number: i, at: 0 } });
      }
      return json(200, {});
    case "/api/t/bridge":
      // Breaks the contract in the middle.
      bridge.write(url.searchParams.get("write"));
      return undefined;
    case "/api/t/echo":
      for await (const chunk of request) {
        chunks.push(chunk);
      }
      return json(200, { method: request.method, headers: request.headers, body: Buffer.concat(chunks).toString() });
    default: {
      const route = routes[url.pathname];
      return route ? json(200, route() ?? null) : json(404, problem(404, "not_found"));
    }
  }
});

server.listen(socket, () => {
  if (part.raw !== undefined) {
    bridge.write(part.raw);
  } else if (part.silent !== "ready") {
    const ready = { protocol: 1, version: "9.9.9", instance: `fake-${start}-${process.pid}`, pid: process.pid, socket, host_key: "mph_fake-host-key" };
    send({ method: "ready", params: { ...ready, ...part.ready } });
  }
});
