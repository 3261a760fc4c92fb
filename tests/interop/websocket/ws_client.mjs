// npm's ws, over a path and over `ws+unix:`, as a caller of the kernel: what a VS Code extension does.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { createRequire } from "node:module";

// The packages lie in tests/.cache, not beside this file.
const require = createRequire(`${process.env.NODE_PATH_DIR}/`);
const { WebSocket, createWebSocketStream } = require("ws");

const SOCKET = process.env.MIDPLANE_SOCKET;
const HOST_KEY = process.env.MIDPLANE_HOST_KEY;
const DEADLINE_MS = 30_000;
const LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000];

function host(method, path, json) {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${HOST_KEY}`, ...(json && { "content-type": "application/json" }) };
    const request = http.request({ socketPath: SOCKET, method, path, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => (text += chunk)).on("end", () => {
        if (response.statusCode >= 300) reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
        else resolve(text && JSON.parse(text));
      });
    });
    request.on("error", reject).end(json && JSON.stringify(json));
  });
}

const issue = (user = "ws", modules = ["sockets"]) => host("POST", "/sessions", { user, modules });

// An event, or the socket's error, or the deadline: whichever comes first.
const next = (socket, event) => once(socket, event, { signal: AbortSignal.timeout(DEADLINE_MS) });

function dial(credential, { path = "/api/sockets/echo", protocols = [], ...options } = {}) {
  const headers = { ...(credential && { authorization: `Bearer ${credential}` }), ...options.headers };
  return new WebSocket(`ws+unix://${SOCKET}:${path}`, protocols, { perMessageDeflate: false, ...options, headers });
}

async function open(credential, options) {
  const socket = dial(credential, options);
  const [[response]] = await Promise.all([next(socket, "upgrade"), next(socket, "open")]);
  return Object.assign(socket, { response });
}

async function echo(socket, message, options) {
  const answer = next(socket, "message");
  socket.send(message, options);
  const [received, binary] = await answer;
  return binary ? received : received.toString();
}

async function closed(socket, code) {
  const [found] = await next(socket, "close");
  assert.equal(found, code);
}

async function end(socket) {
  socket.close(1000);
  await closed(socket, 1000);
}

async function refused(status, code, credential, options) {
  const socket = dial(credential, options);
  const [, response] = await next(socket, "unexpected-response");
  let text = "";
  for await (const chunk of response) text += chunk;
  assert.equal(response.statusCode, status, text);
  assert.equal(response.headers["content-type"], "application/problem+json");
  assert.equal(JSON.parse(text).code, code);
}

const tests = {
  async text_and_binary_come_back_in_every_length() {
    const socket = await open((await issue()).client_secret);
    assert.match(socket.response.headers["x-midplane-module"], /^sockets#\d+$/);
    for (const length of LENGTHS) {
      assert.equal(await echo(socket, "x".repeat(length)), "x".repeat(length));
      assert.deepEqual(await echo(socket, Buffer.alloc(length, 7)), Buffer.alloc(length, 7));
    }
    assert.equal(await echo(socket, "κόσμε 🚀\0"), "κόσμε 🚀\0");
    await end(socket);
  },

  // Node's own way to name a Unix socket, for callers that build the connection themselves.
  async socket_path_will_do() {
    const { client_secret } = await issue();
    const headers = { authorization: `Bearer ${client_secret}` };
    const createConnection = () => require("node:net").connect(SOCKET);
    const socket = new WebSocket("ws://localhost/api/sockets/echo", { headers, createConnection });
    await next(socket, "open");
    assert.equal(await echo(socket, "by path"), "by path");
    await end(socket);
  },

  async fragments_come_back_as_their_message() {
    const socket = await open((await issue()).client_secret);
    const answer = next(socket, "message");
    const message = Buffer.from("κόσμε");
    for (const [n, byte] of message.entries()) {
      socket.send(Buffer.of(byte), { binary: false, fin: n === message.length - 1 });
      // A ping may stand between two fragments.
      socket.ping();
    }
    const [received, binary] = await answer;
    assert.deepEqual([received.toString(), binary], ["κόσμε", false]);
    await end(socket);
  },

  async a_ping_is_answered_with_its_own_payload() {
    const socket = await open((await issue()).client_secret);
    for (const payload of [Buffer.alloc(0), Buffer.from("midplane"), Buffer.alloc(125, 1)]) {
      const pong = next(socket, "pong");
      socket.ping(payload);
      assert.deepEqual((await pong)[0], payload);
    }
    socket.pong("nobody asked");
    assert.equal(await echo(socket, "still here"), "still here");
    await end(socket);
  },

  async compression_is_offered_and_declined() {
    const socket = await open((await issue()).client_secret, { perMessageDeflate: { threshold: 0 } });
    assert.equal(socket.response.headers["sec-websocket-extensions"], undefined);
    assert.equal(socket.extensions, "");
    assert.equal(await echo(socket, "plain ".repeat(1000)), "plain ".repeat(1000));
    await end(socket);
  },

  async a_stream_of_nodes_pipes_through() {
    const duplex = createWebSocketStream(await open((await issue()).client_secret));
    const sent = Array.from({ length: 64 }, (_, n) => Buffer.alloc(16 * 1024, n));
    const reading = (async () => {
      const received = [];
      let length = 0;
      for await (const chunk of duplex) {
        received.push(chunk);
        length += chunk.length;
        if (length === sent.length * sent[0].length) break;
      }
      return Buffer.concat(received);
    })();
    for (const chunk of sent) if (!duplex.write(chunk)) await next(duplex, "drain");
    assert.ok((await reading).equals(Buffer.concat(sent)));
  },

  async a_subprotocol_is_agreed_on_or_ws_gives_up() {
    const { client_secret } = await issue();
    const path = "/api/sockets/protocols";
    for (const [protocols, agreed] of [[["chat.v1"], "chat.v1"], [["other", "chat.v2", "chat.v1"], "chat.v2"]]) {
      const socket = dial(client_secret, { path, protocols });
      const [[said]] = await Promise.all([next(socket, "message"), next(socket, "open")]);
      assert.equal(socket.protocol, agreed);
      assert.equal(said.toString(), agreed);
      await closed(socket, 1000);
    }
    // Unlike other clients, ws takes none for an answer only if it offered none.
    const socket = dial(client_secret, { path, protocols: ["other"] });
    await assert.rejects(next(socket, "open"), /no subprotocol/);
  },

  async the_module_may_close_too() {
    const socket = await open((await issue()).client_secret, { path: "/api/sockets/close" });
    assert.equal(await echo(socket, "4001"), "closing");
    const [code, reason] = await next(socket, "close");
    assert.deepEqual([code, reason.toString()], [4001, "as you wish"]);
  },

  async a_client_closes_and_its_code_comes_back() {
    for (const [code, reason] of [[1000, ""], [1001, "going"], [3000, "registered"], [4999, "κόσμε"]]) {
      const socket = await open((await issue()).client_secret);
      socket.close(code, reason);
      await closed(socket, code);
    }
  },

  async a_reload_says_service_restart_and_the_next_socket_is_the_new_generation() {
    const { client_secret } = await issue();
    const socket = await open(client_secret);
    assert.equal(await echo(socket, "before"), "before");
    const restarted = closed(socket, 1012);
    await host("POST", "/modules/sockets/reload");
    await restarted;
    const after = await open(client_secret);
    assert.notEqual(after.response.headers["x-midplane-module"], socket.response.headers["x-midplane-module"]);
    assert.equal(await echo(after, "after"), "after");
    await end(after);
  },

  async a_revocation_ends_this_sessions_sockets_with_policy_violation_and_no_others() {
    const revoked = await issue("revoked");
    const kept = await issue("kept");
    const sockets = [await open(revoked.client_secret), await open(revoked.client_secret)];
    const other = await open(kept.client_secret);
    const ends = sockets.map((socket) => closed(socket, 1008));
    await host("DELETE", `/sessions/${revoked.id}`);
    await Promise.all(ends);
    assert.equal(await echo(other, "not mine"), "not mine");
    await end(other);
    await refused(401, "invalid_token", revoked.client_secret);
  },

  async a_handshake_without_the_right_is_refused_in_http() {
    await refused(401, "credential_required");
    await refused(401, "invalid_token", "mpt_forged");
    const { client_secret } = await issue();
    await refused(403, "origin_not_allowed", client_secret, { origin: "https://example.org" });
    await refused(403, "insufficient_scope", (await issue("ws", ["hello"])).client_secret);
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok ws: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ws: ${name}`);
    console.error(error);
  }
}
console.log(`${Object.keys(tests).length - failed} passed, ${failed} failed`);
// What a failed test left open must not keep this running.
process.exit(failed ? 1 : 0);
