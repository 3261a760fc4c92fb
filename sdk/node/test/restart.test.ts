import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { MidplaneError, type Session } from "@midplane/host";

import { isAlive, reaches, scripted, soon, start } from "./support/scene.js";

async function startNumber(answer: Response): Promise<number> {
  assert.equal(answer.status, 200);
  return ((await answer.json()) as { start: number }).start;
}

test("a kernel that is killed is started again, and its sessions with it", async (t) => {
  const kernel = await start(t, scripted(t));
  const session = await kernel.createSession({ user: "ada" });
  const before = { id: session.id, pid: kernel.pid };
  const states: string[] = [];
  kernel.onState((state) => states.push(state));
  const back = reaches(kernel, "ready");
  process.kill(kernel.pid, "SIGKILL");
  const asked = session.fetch("/api/t/start");
  await back;
  assert.equal(await startNumber(await asked), 2);
  assert.notEqual(session.id, before.id);
  assert.notEqual(kernel.pid, before.pid);
  assert.deepEqual(states, ["restarting", "ready"]);
});

test("requests that start while there is no kernel wait for it", async (t) => {
  const kernel = await start(t, scripted(t, {}, { restart: { delaysMs: [200] } }));
  const session = await kernel.createSession();
  const gone = reaches(kernel, "restarting");
  process.kill(kernel.pid, "SIGKILL");
  await gone;
  const streamed = session.fetch("/api/t/echo", { method: "POST", body: ReadableStream.from(["a", "b"]).pipeThrough(new TextEncoderStream()), duplex: "half" } as RequestInit);
  const answers = await Promise.all([1, 2, 3].map(() => session.fetch("/api/t/start")));
  assert.deepEqual(await Promise.all(answers.map(startNumber)), [2, 2, 2]);
  assert.equal(((await (await streamed).json()) as { body: string }).body, "ab");
});

test("a request that waits can be aborted, and does not wait for ever", async (t) => {
  const kernel = await start(t, scripted(t, {}, { restart: { delaysMs: [60_000] }, restartWaitMs: 100 }));
  const session = await kernel.createSession();
  const gone = reaches(kernel, "restarting");
  process.kill(kernel.pid, "SIGKILL");
  await gone;
  const abort = new AbortController();
  const aborted = session.fetch("/api/t/start", { signal: abort.signal });
  abort.abort(new Error("changed my mind"));
  await assert.rejects(aborted, /changed my mind/);
  await assert.rejects(session.fetch("/api/t/start"), (error) => {
    assert(error instanceof TypeError && error.cause instanceof MidplaneError);
    assert.equal(error.cause.code, "kernel_restarting");
    return true;
  });
  await assert.rejects(kernel.createSession(), { code: "kernel_restarting" });
});

test("a request under way rejects when the kernel dies, and one that is safe is sent again", async (t) => {
  const kernel = await start(t, scripted(t));
  const session = await kernel.createSession();
  const back = reaches(kernel, "ready");
  await assert.rejects(session.fetch("/api/t/deadly", { method: "POST", body: "x" }), (error) => {
    assert(error instanceof TypeError && error.cause instanceof Error, String(error));
    return true;
  });
  await back;
  assert.equal(await startNumber(await session.fetch("/api/t/deadly", { method: "POST", body: "x" })), 2);

  const other = await start(t, scripted(t));
  const safe = await other.createSession();
  assert.equal(await startNumber(await safe.fetch("/api/t/deadly")), 2);
});

test("a stream that is under way breaks with a TypeError", async (t) => {
  const kernel = await start(t, scripted(t));
  const session = await kernel.createSession();
  const answer = await session.fetch("/api/t/stream");
  assert(answer.body);
  const reader = answer.body.getReader();
  assert.match(new TextDecoder().decode((await reader.read()).value), /data: one/);
  process.kill(kernel.pid, "SIGKILL");
  await assert.rejects(reader.read(), (error) => error instanceof TypeError && error.cause instanceof Error);
});

async function cut(session: Session): Promise<void> {
  const answer = await session.fetch("/api/t/cut");
  await assert.rejects(answer.text(), TypeError);
}

test("a kernel that has cut a connection and lives goes on, whether it says so, refuses to, or is slow", async (t) => {
  for (const part of [{}, { refuse: { "module/list": [429, "too_many_requests"] } }, { silent: "module/list" }]) {
    const kernel = await start(t, scripted(t, part));
    const session = await kernel.createSession();
    await cut(session);
    const answers = await Promise.all(["a", "b"].map((body) => session.fetch("/api/t/echo", { method: "POST", body })));
    assert.deepEqual(await Promise.all(answers.map(async (answer) => ((await answer.json()) as { body: string }).body)), ["a", "b"]);
    assert.equal(await startNumber(await session.fetch("/api/t/start")), 1);
  }
});

test("what waits to hear whether the kernel lives can be aborted, and ends with it", async (t) => {
  const kernel = await start(t, scripted(t, { silent: "module/list" }));
  const session = await kernel.createSession();
  await cut(session);
  const abort = new AbortController();
  const aborted = session.fetch("/api/t/start", { signal: abort.signal });
  const disposed = session.fetch("/api/t/start");
  await turn();
  abort.abort(new Error("changed my mind"));
  await Promise.all([
    assert.rejects(aborted, /changed my mind/),
    assert.rejects(disposed, (error) => error instanceof TypeError && error.cause instanceof MidplaneError && error.cause.code === "kernel_stopped"),
    kernel.dispose(),
  ]);
});

test("the fourth end in three minutes is the last, and says why", async (t) => {
  const kernel = await start(t, scripted(t, { stderr: "midplane: out of luck\n" }));
  const pids = new Set<number>();
  for (let ends = 1; ends <= 3; ends++) {
    pids.add(kernel.pid);
    const back = reaches(kernel, "ready");
    process.kill(kernel.pid, "SIGKILL");
    await back;
  }
  const session = await kernel.createSession();
  const failed = reaches(kernel, "failed");
  process.kill(kernel.pid, "SIGKILL");
  const why = await failed;
  assert(why instanceof MidplaneError);
  assert.equal(why.code, "kernel_failed");
  assert.match(why.message, /ended 4 times .* was ended by SIGKILL; its last words: out of luck/);
  assert.equal(pids.size, 3);
  await assert.rejects(kernel.createSession(), { code: "kernel_failed" });
  await assert.rejects(session.fetch("/api/t/start"), (error) => error instanceof TypeError && error.cause === why);
  assert(!isAlive(kernel.pid));
});

test("a kernel that does not start again is given up, with what it wrote", async (t) => {
  const kernel = await start(t, scripted(t, { exit: 70, after: 1, stderr: "midplane: the disk is full\n" }));
  const failed = reaches(kernel, "failed");
  process.kill(kernel.pid, "SIGKILL");
  assert.match((await failed)?.message ?? "", /4 times .*the disk is full/s);
});

test("without restart the first end is the last", async (t) => {
  const kernel = await start(t, scripted(t, {}, { restart: false }));
  const failed = reaches(kernel, "failed");
  process.kill(kernel.pid, "SIGKILL");
  assert.match((await failed)?.message ?? "", /was ended by SIGKILL/);
});

test("a kernel that breaks the contract is ended, and another one started", async (t) => {
  const kernel = await start(t, scripted(t));
  const session = await kernel.createSession();
  const back = reaches(kernel, "ready");
  const { pid } = kernel;
  await assert.rejects(session.fetch(`/api/t/bridge?write=${encodeURIComponent("Content-Length: x\r\n\r\n")}`, { method: "POST" }), TypeError);
  await back;
  assert(!isAlive(pid));
});

test("modules that were loaded by hand are loaded again", async (t) => {
  const kernel = await start(t, scripted(t));
  await kernel.modules.load("one", { path: "/m/one.so", config: { a: 1 } });
  await kernel.modules.reload("one", { config: { a: 2 } });
  await kernel.modules.reload("one");
  await kernel.modules.load("two", { path: "/m/two.so" });
  await kernel.modules.unload("two", { drainMs: 5 });
  const back = reaches(kernel, "ready");
  process.kill(kernel.pid, "SIGKILL");
  await back;
  const session = await kernel.createSession();
  const calls = (await (await session.fetch("/api/t/calls")).json()) as { method: string; params: unknown }[];
  assert.deepEqual(
    calls.filter(({ method }) => method.startsWith("module/")),
    [
      { method: "module/load", params: { name: "one", path: "/m/one.so", config: { a: 1 } } },
      { method: "module/reload", params: { name: "one", config: { a: 2 } } },
      { method: "module/unload", params: { name: "two" } },
    ],
  );
});

test("dispose while the kernel is away", async (t) => {
  const kernel = await start(t, scripted(t, {}, { restart: { delaysMs: [60_000] } }));
  const session = await kernel.createSession();
  const gone = reaches(kernel, "restarting");
  process.kill(kernel.pid, "SIGKILL");
  await gone;
  const asked = assert.rejects(session.fetch("/api/t/start"), (error) => error instanceof TypeError && error.cause instanceof MidplaneError && error.cause.code === "kernel_stopped");
  await turn();
  await kernel.dispose();
  await asked;
  assert.equal(kernel.state, "stopped");
});

test("a flood of messages loses none", async (t) => {
  const kernel = await start(t, scripted(t));
  const session = await kernel.createSession();
  let logs = 0;
  kernel.onLog(() => logs++);
  const last = soon("the last event", (done) => kernel.onEvent((event) => event["number"] === 4_999 && done(event.type)));
  await (await session.fetch("/api/t/flood")).json();
  assert.equal(await last, "test");
  assert.equal(logs, 5_000);
});
