// Against the real kernel: what starts, what it is told, what it tells, and how it ends.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { inspect } from "node:util";

import { type KernelEvent, type LogRecord, MidplaneError, startKernel } from "@midplane/host";

import { moduleFile, real } from "./support/real.js";
import { PACKAGE, directory, isAlive, reaches, soon, start } from "./support/scene.js";

async function says(answer: Promise<Response>, expect: string): Promise<void> {
  const { status } = await answer;
  const text = await (await answer).text();
  assert.deepEqual([status, text], [200, expect]);
}

test("a kernel serves its modules to a session", async (t) => {
  const kernel = await start(t, real(t, { hello: {}, bench: {} }));
  const session = await kernel.createSession({ user: "ada", modules: ["hello"], expiresIn: 60, scope: "a b", metadata: { team: ["x"] }, rateLimit: { requestsPerMinute: 600 } });
  assert.deepEqual([session.user, session.modules], ["ada", ["hello"]]);
  const restS = (session.expiresAt.getTime() - Date.now()) / 1000;
  assert(restS > 0 && restS <= 60, String(restS));
  await says(session.fetch("/api/hello/hello"), "hello ada");
  assert.equal((await session.fetch("/api/bench/hello")).status, 403);
  assert.equal((await session.fetch("/modules")).status, 403);
  const health = await kernel.health();
  assert.deepEqual([health.status, health.pid, health.version], ["ok", kernel.pid, kernel.version]);
  assert.deepEqual(health.modules?.map(({ name }) => name), ["bench", "hello"]);
});

test("modules are listed, loaded, reloaded and unloaded, and each is told", async (t) => {
  const options = real(t, { hello: {} });
  const kernel = await start(t, options);
  const events: KernelEvent[] = [];
  kernel.onEvent((event) => events.push(event));
  const reloaded = await kernel.modules.reload("hello", { wait: "drained" });
  assert.deepEqual([reloaded.from?.generation, reloaded.to?.generation, reloaded.requests], [1, 2, { finished_on_old: 0, cancelled: 0 }]);
  const path = moduleFile(join(options.dataDir ?? "", "../modules"), "bench");
  assert.equal((await kernel.modules.load("bench", { path })).to?.generation, 1);
  await says((await kernel.createSession({ user: "eve" })).fetch("/api/bench/hello"), "hello eve");
  await kernel.modules.unload("bench", { drainMs: 100 });
  assert.deepEqual((await kernel.modules.list()).modules.map(({ name, generation, path: at }) => [name, generation, at.endsWith("libmidplane_hello.so")]), [["hello", 2, true]]);
  const types = events.map(({ type }) => type);
  for (const type of ["module.swapped", "module.loaded", "session.issued"] as const) {
    assert(types.includes(type), `${type} in ${types.join()}`);
  }
  await assert.rejects(kernel.modules.reload("nothing"), { code: "module_not_found", status: 404 });
  await assert.rejects(kernel.modules.load("bench", { path: "/nowhere/x.so" }), (error) => error instanceof MidplaneError && (error.status ?? 0) >= 400 && error.problem !== undefined);
});

test("log lines come at the level that was asked for", async (t) => {
  const records: LogRecord[] = [];
  const kernel = await start(t, real(t, { hello: {} }, { log: "debug", onLog: (record) => records.push(record), secrets: () => "sk-x" }));
  const issued = soon<LogRecord>("a line", (done) => kernel.onLog((record) => record.message === "session issued" && done(record)));
  const { id } = await kernel.createSession({ user: "ada", secretKeyId: "key" });
  const { level, fields, at } = await issued;
  assert.deepEqual([level, fields["user"], fields["session"]], ["info", "ada", id]);
  assert(Math.abs(at - Date.now() / 1000) < 60);
  assert(records.some((record) => record.level === "debug"), inspect(records));
});

test("a kernel that cannot start says why", async (t) => {
  const place = directory(t);
  const check = async (options: Parameters<typeof startKernel>[0], message: RegExp) => {
    await assert.rejects(startKernel({ ...real(t, {}), ...options }), { code: "start_failed", message });
  };
  await check({ modules: { hello: join(place, "missing.so") } }, /did not start: .*missing\.so.*\nit exited with 69: a module cannot be loaded/s);
  await check({ config: { sessions: { tttl: "1m" } } }, /tttl.*exited with 64: its arguments or its configuration/s);
  await check({ args: ["--no-such-flag"] }, /--no-such-flag/);
});

test("two kernels live side by side, on one data directory too", async (t) => {
  const options = real(t, { hello: {} });
  const [one, two] = await Promise.all([start(t, options), start(t, options)]);
  assert.notEqual(one.socketPath, two.socketPath);
  const [ada, eve] = await Promise.all([one.createSession({ user: "ada" }), two.createSession({ user: "eve" })]);
  await one.dispose();
  await assert.rejects(ada.fetch("/api/hello/hello"), TypeError);
  await says(eve.fetch("/api/hello/hello"), "hello eve");
});

test("a kernel that is killed in the middle is back for the next request, and given up at the fourth time", async (t) => {
  const kernel = await start(t, real(t, { hello: {}, slow: {} }));
  const session = await kernel.createSession({ user: "ada" });
  for (let ends = 1; ends <= 3; ends++) {
    const stream = await session.fetch("/api/slow/events");
    const reader = stream.body?.getReader();
    await reader?.read();
    const held = assert.rejects(session.fetch("/api/slow/count", { method: "POST", body: endless(), duplex: "half" } as RequestInit), TypeError);
    process.kill(kernel.pid, "SIGKILL");
    await assert.rejects(reader?.read() ?? Promise.resolve(), (error) => error instanceof TypeError && error.cause instanceof Error);
    await held;
    await says(session.fetch("/api/hello/hello"), "hello ada");
    assert.equal(kernel.state, "ready");
  }
  const failed = reaches(kernel, "failed");
  process.kill(kernel.pid, "SIGKILL");
  assert.match((await failed)?.message ?? "", /ended 4 times .* SIGKILL/);
  await assert.rejects(session.fetch("/api/hello/hello"), (error) => error instanceof TypeError && error.cause instanceof MidplaneError && error.cause.code === "kernel_failed");
});

test("a request that begins when a stream was cut is not sent to the kernel that has ended", async (t) => {
  const kernel = await start(t, real(t, { slow: {} }, { restart: { delaysMs: [0], max: 100 } }));
  const session = await kernel.createSession();
  // The end of the stream, of the socket and of the bridge come in any order.
  for (let ends = 1; ends <= 20; ends++) {
    const reader = (await session.fetch("/api/slow/events")).body?.getReader();
    await reader?.read();
    process.kill(kernel.pid, "SIGKILL");
    await assert.rejects(reader?.read() ?? Promise.resolve(), TypeError);
    await says(session.fetch("/api/slow/count", { method: "POST", body: "four" }), "4");
  }
});

function endless(): ReadableStream<Uint8Array> {
  return new ReadableStream({ pull: () => new Promise(() => undefined), start: (controller) => controller.enqueue(new Uint8Array(1)) });
}

test("a kernel ends with its host, however that ends", async (t) => {
  const options = real(t, { hello: {} });
  const program = `
    import { startKernel } from "@midplane/host";
    const kernel = await startKernel(${JSON.stringify(options)});
    console.log(JSON.stringify({ pid: kernel.pid, socket: kernel.socketPath }));`;
  const host = spawn(process.execPath, ["--input-type=module", "--eval", program], { cwd: PACKAGE, stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => host.kill("SIGKILL"));
  const [line] = (await once(createInterface(host.stdout), "line")) as [string];
  const { pid, socket } = JSON.parse(line) as { pid: number; socket: string };
  const connection = connect(socket);
  await once(connection, "connect");
  assert(isAlive(pid));
  host.kill("SIGKILL");
  await soon<void>("the kernel's end", (done) => connection.on("close", () => done()).on("error", () => undefined).resume());
});

test("many requests and sessions at a time", async (t) => {
  const kernel = await start(t, real(t, { hello: {}, bench: {} }));
  const sessions = await Promise.all(Array.from({ length: 200 }, (_, n) => kernel.createSession({ user: `u${n}` })));
  const texts = await Promise.all(sessions.map(async (session) => (await session.fetch("/api/hello/hello")).text()));
  assert.deepEqual(texts, sessions.map(({ user }) => `hello ${user}`));
  const [session] = sessions;
  assert(session);
  const body = "0123456789abcdef".repeat(32 * 1024);
  const chunks = ReadableStream.from(Array.from({ length: 64 }, (_, n) => body.slice(n * 8192, (n + 1) * 8192)));
  const echoed = await session.fetch("/api/bench/echo", { method: "POST", body: chunks.pipeThrough(new TextEncoderStream()), duplex: "half" } as RequestInit);
  assert((await echoed.text()) === body);
});

test("no key, token or host key is where others could read it", async (t) => {
  const canary = "sk-canary-3f1c";
  const lines: string[] = [];
  const records: LogRecord[] = [];
  const options = real(t, { slow: { config: { needs_secret: true } } }, { log: "trace", onLog: (record) => records.push(record), stderr: (line) => lines.push(line), secrets: () => canary });
  const kernel = await start(t, options);
  const session = await kernel.createSession({ secretKeyId: "provider" });
  await says(session.fetch("/api/slow/secret-len"), String(canary.length));
  await session.renew();
  const places = ["environ", "cmdline"].map((name) => readFileSync(`/proc/${kernel.pid}/${name}`, "latin1"));
  const shown = [kernel, session, records, lines].map((value) => inspect(value, { depth: Infinity, showHidden: true }));
  const files = readdirSync(options.dataDir ?? "", { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile() && !entry.name.endsWith(".so"));
  const texts = [...places, ...shown, ...files.map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"))];
  for (const text of texts) {
    assert(!/sk-canary|mph_|eyJ[A-Za-z0-9_-]{20}/.test(text), text);
  }
});
