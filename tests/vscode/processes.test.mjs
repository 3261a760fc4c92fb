// However a window ends, nothing of Midplane is left; and while it lives, nothing of it can be dialled from outside.

import assert from "node:assert/strict";

import { extensionHosts, gone, kernels, midplanes, tcpListeners, workers } from "./harness/processes.mjs";
import { Scene } from "./harness/scene.mjs";
import { until } from "./harness/wait.mjs";

/** A kernel outlives its host by 2 s at most; as much again for two busy cores. */
const KERNEL_END_MS = 4_000;
const scene = await Scene.set("processes");

/** A window that has answered, with the echo, without a key, and all of its processes of Midplane. */
async function livingWindow() {
  const window = await scene.window();
  await window.openChat();
  await window.chat.ask("hello", "hello");
  const all = midplanes(scene.root);
  assert.equal(kernels(scene.root).length, 1);
  assert.equal(workers(scene.root).length, 2, "chat and store have processes of their own");
  return { window, pids: all.map(({ pid }) => pid) };
}

scene.test("nothing of it listens on TCP, and when the window is closed, no process is left", async () => {
  const { window, pids } = await livingWindow();
  for (const pid of pids) assert.deepEqual(tcpListeners(pid), []);
  const hosts = extensionHosts(scene.root).map(({ pid }) => pid);
  await window.close();
  await gone("the extension host", hosts);
  await gone("kernel and module", pids, KERNEL_END_MS);
});

scene.test("the extension host is killed: its kernel goes with it, and the window gets a new one", async () => {
  const { window, pids } = await livingWindow();
  const [host] = extensionHosts(scene.root);
  process.kill(host.pid, "SIGKILL");
  await gone("kernel and module of the killed host", pids, KERNEL_END_MS);
  // VS Code starts another extension host by itself.
  await until("another kernel", () => kernels(scene.root).length === 1);
  await window.openChat();
  await window.chat.ask("hello again", "hello again");
  await window.close();
  await until("the window's processes to end", () => midplanes(scene.root).length === 0);
});

scene.test("the extension host and the kernel are killed at once: the module does not stay behind", async () => {
  const { window, pids } = await livingWindow();
  const [host] = extensionHosts(scene.root);
  const [kernel] = kernels(scene.root);
  process.kill(host.pid, "SIGKILL");
  process.kill(kernel.pid, "SIGKILL");
  await gone("kernel and module", pids, KERNEL_END_MS);
  await window.close();
  await until("the window's processes to end", () => midplanes(scene.root).length === 0);
});

// The last one: the server is gone afterwards.
scene.test("code-server is ended with SIGTERM: no process is left", async () => {
  const { pids } = await livingWindow();
  const hosts = extensionHosts(scene.root).map(({ pid }) => pid);
  await scene.server.terminate();
  await gone("the extension host", hosts);
  await gone("kernel and module", pids, KERNEL_END_MS);
  assert.deepEqual(midplanes(scene.root), []);
});
