// A kernel that somebody else started.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";

import { type AttachOptions, type Kernel, attachKernel } from "@midplane/host";

import { real } from "./support/real.js";
import { directory, isAlive, reaches, start } from "./support/scene.js";

/** One that writes its host key, on a path that stays the same. */
async function running(t: TestContext): Promise<Kernel> {
  const socket = join(directory(t), "kernel.sock");
  return start(t, real(t, { hello: {}, slow: { config: { needs_secret: true } } }, { socket, args: ["--write-host-key"] }));
}

const keyOf = (kernel: Kernel) => () => readFileSync(join(dirname(kernel.socketPath), "host.key"), "utf8").trim();

async function attached(t: TestContext, kernel: Kernel, options: Partial<AttachOptions> = {}): Promise<Kernel> {
  const other = await attachKernel({ socket: kernel.socketPath, hostKey: keyOf(kernel), ...options });
  t.after(() => other.dispose());
  return other;
}

test("a host attaches, uses the kernel, answers for secrets, and lets it live on", async (t) => {
  const kernel = await running(t);
  const other = await attached(t, kernel, { secrets: () => "sk-12345", client: { name: "second", version: "1" } });
  assert.deepEqual([other.pid, other.instance, other.socketPath], [kernel.pid, kernel.instance, kernel.socketPath]);
  const session = await other.createSession({ user: "eve", secretKeyId: "key" });
  assert.equal(await (await session.fetch("/api/hello/hello")).text(), "hello eve");
  assert.equal(await (await session.fetch("/api/slow/secret-len")).text(), "8");
  await other.dispose();
  await other.dispose();
  assert.equal(other.state, "stopped");
  assert(isAlive(kernel.pid));
  assert.equal((await kernel.health()).status, "ok");
});

test("it attaches again to a kernel that was started again, whose key is another one", async (t) => {
  const kernel = await running(t);
  const other = await attached(t, kernel, { secrets: () => "sk-12345" });
  const session = await other.createSession({ user: "eve", secretKeyId: "key" });
  const back = [reaches(kernel, "ready"), reaches(other, "ready")];
  process.kill(kernel.pid, "SIGKILL");
  assert.equal(await (await session.fetch("/api/hello/hello")).text(), "hello eve");
  await Promise.all(back);
  assert.deepEqual([other.pid, other.instance], [kernel.pid, kernel.instance]);
});

test("a wrong key is refused at once, and not repeated in the error", async (t) => {
  const kernel = await running(t);
  const hostKey = `mph_${"x".repeat(43)}`;
  await assert.rejects(attached(t, kernel, { hostKey }), (error: Error & { status?: number; code?: string }) => {
    assert.deepEqual([error.status, error.code], [401, "invalid_token"]);
    assert(!JSON.stringify([error.message, error]).includes("xxx"));
    return true;
  });
});

test("a key that is no longer good, and cannot be asked for again, ends it", async (t) => {
  const kernel = await running(t);
  const other = await attached(t, kernel, { hostKey: keyOf(kernel)() });
  const failed = reaches(other, "failed");
  process.kill(kernel.pid, "SIGKILL");
  await failed;
  await assert.rejects(other.createSession(), { status: 401 });
});
