import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { MidplaneError, type StartOptions, attachKernel, startKernel } from "@midplane/host";

import { directory, isAlive, scripted, start } from "./support/scene.js";

async function fails(options: StartOptions, expect: { readonly code: string; readonly says: RegExp; readonly hint?: RegExp }): Promise<void> {
  await assert.rejects(startKernel(options), (error) => {
    assert(error instanceof MidplaneError, String(error));
    assert.equal(error.code, expect.code, error.message);
    assert.match(error.message, expect.says);
    assert.match(error.hint ?? "", expect.hint ?? /^/);
    return true;
  });
}

test("a kernel is started, says who it is, and is gone after dispose", async (t) => {
  const kernel = await start(t, scripted(t));
  assert.equal(kernel.state, "ready");
  assert.equal(kernel.version, "9.9.9");
  assert.match(kernel.instance, /^fake-1-/);
  assert.equal((await kernel.health()).status, "ok");
  const { pid } = kernel;
  assert(isAlive(pid));
  await Promise.all([kernel.dispose(), kernel.dispose()]);
  assert(!isAlive(pid));
  assert.equal(kernel.state, "stopped");
  await kernel.dispose();
  await assert.rejects(kernel.createSession(), { code: "kernel_stopped" });
});

test("await using stops it", async (t) => {
  const kernel = await startKernel(scripted(t));
  await kernel[Symbol.asyncDispose]();
  assert(!isAlive(kernel.pid));
});

test("a kernel that does not stop is killed", async (t) => {
  const kernel = await start(t, scripted(t, { deaf: true }));
  await kernel.dispose();
  assert(!isAlive(kernel.pid));
});

test("a missing program is named, and how to name another", async (t) => {
  await fails({ binary: "/nowhere/midplane" }, { code: "binary_missing", says: /\/nowhere\/midplane/ });
  await fails({ binary: directory(t) }, { code: "binary_missing", says: /no file/ });
});

test("a file that is no program of this machine is refused before it is started", async (t) => {
  const path = join(directory(t), "midplane");
  const check = async (content: string | Uint8Array, mode: number, expect: Parameters<typeof fails>[1]) => {
    writeFileSync(path, content);
    chmodSync(path, mode);
    await fails({ binary: path }, expect);
  };
  await check("#!/bin/sh\n", 0o644, { code: "binary_unusable", says: /may not be executed/, hint: /chmod \+x/ });
  await check("not a program", 0o755, { code: "binary_foreign", says: /it is no program/ });
  await check("", 0o755, { code: "binary_foreign", says: /it is no program/ });
  const elf = new Uint8Array(64);
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  elf.set([process.arch === "s390x" ? 62 : 22, 0], 18);
  await check(elf, 0o755, { code: "binary_foreign", says: /it is built for \w+, and this is \w+/, hint: /each platform/ });
  await check("#!/no/such/interpreter\n", 0o755, { code: "binary_unusable", says: /interpreter or its loader/, hint: /C library/ });
});

test("the first place that has the program is taken", async (t) => {
  const { binary, ...options } = scripted(t);
  const bin = directory(t);
  writeFileSync(join(bin, "midplane"), `#!/bin/sh\nexec "${binary}" "$@"\n`, { mode: 0o755 });
  const kernel = await start(t, { ...options, binDirs: [directory(t), bin] });
  assert.equal(kernel.state, "ready");
});

test("an exit before ready is put into a sentence, with what was written", async (t) => {
  const stderr = "something led to it\nmidplane: the module chat cannot be loaded: no such file\n";
  await fails(scripted(t, { exit: 69, stderr }), {
    code: "start_failed",
    says: /did not start: the module chat cannot be loaded: no such file\nit exited with 69: a module cannot be loaded; its last lines:\n {4}something led to it/,
  });
  await fails(scripted(t, { exit: 75 }), { code: "start_failed", says: /another kernel serves on this socket; it wrote nothing/ });
  await fails(scripted(t, { exit: 3 }), { code: "start_failed", says: /it exited with 3\n/ });
});

test("a kernel that is not ready in time is killed", async (t) => {
  await fails(scripted(t, { silent: "ready", stderr: "thinking\n" }, { startTimeoutMs: 300 }), { code: "start_timeout", says: /300 ms; its last words: thinking/ });
});

test("a start can be given up", async (t) => {
  const signal = AbortSignal.timeout(100);
  await assert.rejects(startKernel(scripted(t, { silent: "ready" }, { signal })), { name: "TimeoutError" });
  await assert.rejects(startKernel(scripted(t, {}, { signal: AbortSignal.abort(new Error("enough")) })), /enough/);
});

test("another protocol is refused, with both numbers and what to update", async (t) => {
  const older = { code: "protocol_mismatch", says: /kernel \(9\.9\.9\) speaks protocol 0, and @midplane\/host speaks 1/, hint: /update the kernel/ };
  await fails(scripted(t, { ready: { protocol: 0 } }), older);
  await fails(scripted(t, { ready: { protocol: 2 } }), { ...older, says: /protocol 2/, hint: /update @midplane\/host/ });
});

test("what is not the bridge's language is refused, and not quoted", async (t) => {
  const frame = (body: string) => `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  const check = (raw: string, says: RegExp) => fails(scripted(t, { raw }), { code: "bridge_invalid", says });
  await check(`X: ${"x".repeat(5000)}`, /header of more than 4096 bytes/);
  await check("Content-Type: text\r\n\r\n{}", /Content-Length/);
  await check("Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", /Content-Length/);
  await check("Content-Length: 99999999\r\n\r\n", /99999999 bytes/);
  await check(frame("sk-secret, not JSON"), /^the kernel sent a message that is not JSON$/);
  await check(frame("[]"), /no JSON-RPC message/);
  await check(frame("null"), /no JSON-RPC message/);
  await check(frame(JSON.stringify({ jsonrpc: "2.0", method: "ready", params: { protocol: 1 } })), /lacks something/);
});

test("a path that is too long for a socket is refused before anyone connects", async (t) => {
  const long = `/tmp/${"x".repeat(120)}`;
  await fails({ ...scripted(t), socket: long }, { code: "socket_path_too_long", says: /125 bytes long, and the system takes 10[37]/, hint: /shorter/ });
  await fails(scripted(t, { ready: { socket: long } }), { code: "socket_path_too_long", says: /125 bytes/ });
  await assert.rejects(attachKernel({ socket: long, hostKey: "mph_x" }), { code: "socket_path_too_long" });
});

test("nobody on a socket to attach to", async (t) => {
  const socket = join(directory(t), "kernel.sock");
  await assert.rejects(attachKernel({ socket, hostKey: "mph_x" }), { code: "kernel_unreachable", message: /does not answer \(ENOENT\)/ });
});

test("the kernel finds nothing of the editor's keys", async (t) => {
  process.env["SOME_PROVIDER_KEY"] = "sk-canary";
  t.after(() => delete process.env["SOME_PROVIDER_KEY"]);
  const kernel = await start(t, scripted(t, {}, { env: { GIVEN: "yes", HOME: undefined } }));
  const session = await kernel.createSession();
  const environment = (await (await session.fetch("/api/t/environment")).json()) as Record<string, string>;
  assert.equal(environment["GIVEN"], "yes");
  assert.equal(environment["PATH"], process.env["PATH"]);
  assert.equal(environment["HOME"], undefined);
  assert(!JSON.stringify(environment).includes("sk-canary"));
});

test("what modules and settings become on the command line", async (t) => {
  const kernel = await start(t, scripted(t, {}, { modules: { hello: "/m/hello.so" }, config: "/etc/midplane.toml", dataDir: "/d", args: ["--log", "json"] }));
  const session = await kernel.createSession();
  const argv = (await (await session.fetch("/api/t/arguments")).json()) as string[];
  assert.deepEqual(argv.slice(2), [
    ...["serve", "--bridge-fd", "3", "--config", "/etc/midplane.toml", "--module", "hello=/m/hello.so", "--data-dir", "/d", "--log", "json"],
  ]);
  const settings = { hello: { path: "/m/hello.so", isolation: "process" as const } };
  await fails(scripted(t, {}, { modules: settings, config: "/etc/midplane.toml" }), { code: "invalid_options", says: /hello has settings/, hint: /modules\.hello/ });
});

test("standard error goes where it is wanted", async (t) => {
  const lines: string[] = [];
  await start(t, scripted(t, { stderr: "one\ntwo\n" }, { stderr: (line) => lines.push(line) }));
  assert.deepEqual(lines, ["one", "two"]);
});
