// WebSockets on the real kernel's socket.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import type { Kernel, Session, WebSocket } from "@midplane/host";

import { real } from "./support/real.js";
import { soon, start } from "./support/scene.js";

async function scene(t: TestContext): Promise<{ kernel: Kernel; session: Session }> {
  const kernel = await start(t, real(t, { sockets: {} }));
  return { kernel, session: await kernel.createSession() };
}

async function opened(socket: WebSocket): Promise<void> {
  const event = await soon<{ readonly type: string }>("open or error", (done) => {
    socket.addEventListener("open", done);
    socket.addEventListener("error", done);
  });
  assert.equal(event.type, "open");
}

function message(socket: WebSocket): Promise<unknown> {
  return soon("a message", (done) => socket.addEventListener("message", ({ data }) => done(data), { once: true }));
}

function closed(socket: WebSocket): Promise<{ code: number; wasClean: boolean }> {
  return soon("close", (done) => socket.addEventListener("close", ({ code, wasClean }) => done({ code, wasClean })));
}

async function echoes(socket: WebSocket, text: string): Promise<void> {
  const answer = message(socket);
  socket.send(text);
  assert.equal(await answer, text);
}

test("messages go there and back, by path and by URL, and the socket closes cleanly", async (t) => {
  const { session } = await scene(t);
  for (const target of ["/api/sockets/echo", new URL("ws://localhost/api/sockets/echo"), "http://localhost/api/sockets/echo"]) {
    const socket = session.webSocket(target);
    await opened(socket);
    assert.equal(socket.url, "ws://localhost/api/sockets/echo");
    await echoes(socket, "hello");
    socket.binaryType = "arraybuffer";
    const answer = message(socket);
    socket.send(new Uint8Array([1, 2, 3]));
    assert.deepEqual(new Uint8Array((await answer) as ArrayBuffer), new Uint8Array([1, 2, 3]));
    const end = closed(socket);
    socket.close(1000, "done");
    assert.deepEqual(await end, { code: 1000, wasClean: true });
  }
});

test("what cannot be opened is an error and a close", async (t) => {
  const { kernel, session } = await scene(t);
  const check = async (socket: WebSocket) => {
    const [error, end] = await Promise.all([soon("an error", (done) => socket.addEventListener("error", done)), closed(socket)]);
    assert(error);
    assert.equal(end.code, 1006);
  };
  await check(session.webSocket("/api/sockets/plain"));
  await check(session.webSocket("/api/nothing/here"));
  assert.throws(() => session.webSocket("ws://example.com/"), TypeError);
  await session.revoke();
  await check(session.webSocket("/api/sockets/echo"));
  await kernel.dispose();
  await check(session.webSocket("/api/sockets/echo"));
});

test("a revoked session's socket is closed with 1008", async (t) => {
  const { session } = await scene(t);
  const socket = session.webSocket("/api/sockets/echo");
  await opened(socket);
  await echoes(socket, "one");
  const end = closed(socket);
  await session.revoke();
  assert.equal((await end).code, 1008);
});

test("one that is opened while the kernel is away waits for it", async (t) => {
  const { kernel, session } = await scene(t);
  const first = session.webSocket("/api/sockets/echo");
  await opened(first);
  const end = closed(first);
  process.kill(kernel.pid, "SIGKILL");
  assert.equal((await end).code, 1006);
  const second = session.webSocket("/api/sockets/echo");
  await opened(second);
  await echoes(second, "again");
  second.close();
});
