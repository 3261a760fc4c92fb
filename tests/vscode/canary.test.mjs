// One key, through everything the extension does; then the search for it, in all that was said, written and started. It is
// found in the provider's requests, in the calls by which VS Code itself takes the key from the person and keeps it, and
// nowhere else.

import assert from "node:assert/strict";

import { coats, filesWith, holds, newCanary, processesWith } from "./harness/canary.mjs";
import { kernels, midplanes, sockets, workers } from "./harness/processes.mjs";
import { Provider } from "./harness/provider.mjs";
import { carriers } from "./harness/rpc.mjs";
import { Scene } from "./harness/scene.mjs";
import { Strace, missing } from "./harness/strace.mjs";
import { until } from "./harness/wait.mjs";

const key = newCanary();
const needles = coats(key);
const provider = await new Provider().start();
provider.keys = [key];
const scene = await Scene.set("canary", { ...provider.settings, "midplane.logLevel": "trace" });
scene.with(provider);
let window, chat;
const traces = [];

/** Every socket that a module's process has had, by inode. */
const moduleSockets = new Set();

/** Environment and arguments of every process of the machine, at this moment. */
function lookAtProcesses() {
  for (const { pid } of workers(scene.root)) for (const inode of sockets(pid)) moduleSockets.add(inode);
  assert.deepEqual(processesWith(needles).map(({ arguments: words }) => words[0]), []);
}

async function trace() {
  const strace = await Strace.attach(midplanes(scene.root).map(({ pid }) => pid));
  traces.push(scene.with(strace));
}

scene.test("the needle is found in each of its coats", () => {
  const bytes = Buffer.from(key);
  for (const coat of [key, bytes.toString("hex"), bytes.toString("base64"), Buffer.from(`x${key}`).toString("base64"), Buffer.from(`xy${key}z`).toString("base64url"), [...key].reverse().join("")]) {
    assert.ok(holds(Buffer.from(`before ${coat} after`), needles), coat);
  }
  assert.ok(holds(Buffer.from(key, "utf16le"), needles));
  assert.ok(!holds(Buffer.from(newCanary()), needles));
});

scene.test("a whole life of a key: set, used, refused, replaced, reloaded, killed, forgotten", async () => {
  window = await scene.window();
  chat = await window.openChat();
  const canTrace = missing();
  if (canTrace === null) await trace();
  await window.command("Midplane: Set API Key…");
  await window.answer(key, { secret: true });
  await chat.ask("first", "You said: first");

  const answer = provider.hold("slowly");
  await chat.send("slowly");
  await answer.asked;
  answer.say("still ");
  await chat.answers.last().getByText("still").waitFor();
  lookAtProcesses();
  await chat.stop.click();
  await answer.left;

  // The provider repeats the key in what it says of it.
  provider.keys = [];
  await chat.send("refused");
  await chat.alert.getByRole("heading", { name: "The API key was refused" }).waitFor();
  provider.keys = [key];
  await chat.retry.first().click();
  await chat.answers.last().getByText("You said: refused").waitFor();

  await window.command("Midplane: Replace API Key…");
  await window.answer(key, { secret: true });
  await chat.ask("replaced", "You said: replaced");

  await window.command("Midplane: Reload Module…");
  await window.answer("chat");
  await window.statusMessage(/generation 2 serves now/).waitFor();
  await chat.ask("reloaded", "You said: reloaded");
  lookAtProcesses();

  const [before] = kernels(scene.root);
  await Promise.all(traces.map((strace) => strace.stop()));
  process.kill(before.pid, "SIGKILL");
  await until("another kernel", () => kernels(scene.root).some(({ pid }) => pid !== before.pid));
  await window.kernelIs("ready");
  if (canTrace === null) await trace();
  await chat.ask("after the kernel died", "You said: after the kernel died");
  lookAtProcesses();

  await window.command("Midplane: Show Log");
  const [killed] = kernels(scene.root);
  await window.command("Midplane: Restart Kernel");
  await until("the restarted kernel", () => kernels(scene.root).some(({ pid }) => pid !== killed.pid));
  await window.kernelIs("ready");
  await chat.ask("restarted", "You said: restarted");
  lookAtProcesses();
});

scene.test("every request to the provider has it, as its credential and nowhere else", () => {
  assert.ok(provider.requests.length >= 7);
  for (const { headers, path, rawHeaders, body } of provider.requests) {
    assert.equal(headers.authorization, `Bearer ${key}`);
    const rest = rawHeaders.filter((value) => value !== `Bearer ${key}`);
    assert.ok(!holds(Buffer.from(JSON.stringify([path, rest, body])), needles));
  }
});

scene.test("the pages: no response, no message to a webview, no console has it", () => {
  const entries = scene.record.entries.filter(({ where }) => !where.startsWith("websocket"));
  for (const kind of ["HTTP request", "HTTP response", "console", "message to webview"]) {
    assert.ok(entries.some(({ where, bytes }) => where.startsWith(kind) && bytes.length > 1_000), `${kind} was recorded`);
  }
  assert.deepEqual(entries.filter(({ bytes }) => holds(bytes, needles)).map(({ where }) => where), []);
});

scene.test("between window and extension host, VS Code's own calls carry it, each by its name", () => {
  const found = scene.record.sockets.flatMap((socket) => carriers(socket, key));
  // The input box: what is typed is checked while it is typed, and answered with. SecretStorage: the extension host stores it
  // with the window, in whose profile it is kept, and asks for it each time the kernel does.
  const own = ["window: $validateInput", "window: answer to $input", "extension host: $setPassword", "window: answer to $getPassword"];
  assert.deepEqual([...new Set(found)].sort(), own.sort());
  // In no other coat on the same wires.
  const [plain, ...others] = needles;
  assert.ok(plain.equals(Buffer.from(key)));
  for (const { id, sent, received } of scene.record.sockets) {
    for (const text of [sent, received]) assert.ok(!holds(Buffer.from(text, "latin1"), others), `socket ${id}`);
  }
});

scene.test("what kernel and module write: it goes to the provider, and from the kernel to the module, and nowhere else", async () => {
  await Promise.all(traces.map((strace) => strace.stop()));
  let [toProvider, toModule] = [0, 0];
  for (const strace of traces) {
    const { found, writes } = await strace.writesOf(needles.map((needle) => needle.toString("latin1")));
    assert.ok(writes > 50, `${writes} writes were seen`);
    assert.ok(await strace.sees(`data: {`), "the kernel's answers to its clients were seen");
    for (const { fd, what } of found) {
      // Clients' connections have the path of the kernel's socket, and the other end of the bridge is the extension host's.
      const [, peer] = /^UNIX-STREAM:\[\d+->(\d+)\]$/.exec(what) ?? [];
      if (what.startsWith("TCP:") && what.endsWith(`->127.0.0.1:${provider.port}]`)) toProvider += 1;
      else if (moduleSockets.has(peer)) toModule += 1;
      else assert.fail(`written to descriptor ${fd}: ${what}`);
    }
    strace.remove();
  }
  assert.ok(toProvider > 0 && toModule > 0, `${toProvider} to the provider, ${toModule} to the module`);
}, { skip: missing() ?? false });

scene.test("no file that was written has it, and no process was given it; the window is closed, and still none", async () => {
  const look = (when) => {
    const { found, searched } = filesWith(scene.root, needles);
    assert.ok(searched > 200, `${searched} files were searched`);
    // Not even the browser's profile, where SecretStorage lives: code-server encrypts it (AES-GCM, half of the key on either side).
    assert.deepEqual(found, [], when);
    lookAtProcesses();
  };
  look("while it runs");
  await scene.closeBrowser();
  await until("all of Midplane to end", () => midplanes(scene.root).length === 0);
  look("after the end");
});
