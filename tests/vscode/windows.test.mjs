// Two windows on two folders: a kernel and a socket each, one key and one history for both, and neither minds the other's end.

import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

import { newCanary } from "./harness/canary.mjs";
import { extensionHosts, gone, kernels, midplanes } from "./harness/processes.mjs";
import { Provider } from "./harness/provider.mjs";
import { Scene } from "./harness/scene.mjs";
import { until } from "./harness/wait.mjs";

const key = newCanary();
const provider = await new Provider().start();
provider.keys = [key];
const scene = await Scene.set("windows", provider.settings);
scene.with(provider);
let first, second;

/** The sockets below the scene's runtime directory. */
function sockets(directory = join(scene.root, "run")) {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return sockets(path);
    return entry.isSocket() && path.includes("midplane") ? [path] : [];
  });
}

scene.test("each window has a kernel and a private socket of its own, and both answer at the same time", async () => {
  first = await scene.window("first");
  await first.openChat();
  await first.command("Midplane: Set API Key…");
  await first.answer(key, { secret: true });
  await first.chat.ask("from the first", "You said: from the first");
  second = await scene.window("second");
  await second.openChat();
  await until("two kernels", () => kernels(scene.root).length === 2);
  const found = sockets();
  assert.equal(found.length, 2, found.join("\n"));
  for (const path of found) assert.equal(statSync(path).mode & 0o777, 0o600, path);

  const [one, two] = [provider.hold("one"), provider.hold("two")];
  await first.chat.send("one");
  await second.chat.send("two");
  await Promise.all([one.asked, two.asked]);
  two.say("the second's").finish();
  await second.chat.answered("the second's");
  one.say("the first's").finish();
  await first.chat.answered("the first's");
  for (const { headers } of provider.requests) assert.equal(headers.authorization, `Bearer ${key}`);
});

scene.test("what one window does to a thread is seen in the other, without being asked for", async () => {
  const threads = second.chat.threads.locator("button[data-thread]");
  await second.chat.button("Threads").click();
  await until("both windows' threads", async () => (await threads.count()) === 2);
  await threads.filter({ hasText: "from the first" }).click();
  await second.chat.answers.getByText("the first's").waitFor();

  // A turn of the other window: the question comes, and the answer when it is complete.
  const answer = provider.hold("seen by both?");
  await first.chat.send("seen by both?");
  await answer.asked;
  await second.chat.questions.getByText("seen by both?").waitFor();
  answer.say("by both").finish();
  await second.chat.answers.getByText("by both", { exact: true }).waitFor();
  // It goes on here, and comes there.
  await second.chat.ask("and the other way?", "You said: and the other way?");
  await first.chat.answers.getByText("You said: and the other way?").waitFor();
  assert.equal(await first.chat.questions.count(), 4);

  await second.chat.button("Threads").click();
  await first.chat.button("Threads").click();
  await first.chat.threads.locator("button[data-thread]").filter({ hasText: "from the first" }).press("F2");
  const name = first.chat.frame.getByRole("textbox", { name: "Name of the chat" });
  await name.fill("a better name");
  await name.press("Enter");
  await threads.filter({ hasText: "a better name" }).waitFor();
  await first.chat.threads.locator("button[data-thread]").filter({ hasText: "a better name" }).press("Delete");
  await first.chat.button("Delete").click();
  await until("the other window to miss it, too", async () => (await threads.count()) === 1);
  await threads.filter({ hasText: "two" }).click();
  await second.chat.answers.getByText("the second's").waitFor();
});

scene.test("one window is closed: its kernel goes, the other's answers on", async () => {
  const hosts = extensionHosts(scene.root);
  assert.equal(hosts.length, 2);
  const before = midplanes(scene.root);
  await first.close();
  await until("one extension host to end", () => extensionHosts(scene.root).length === 1);
  await until("one kernel to end", () => kernels(scene.root).length === 1);
  const [left] = kernels(scene.root);
  await gone("the closed window's kernel and modules", before.filter(({ pid, ppid }) => pid !== left.pid && ppid !== left.pid).map(({ pid }) => pid));
  assert.equal(sockets().length, 1);
  await second.chat.ask("still here?", "You said: still here?");
});

scene.test("the browser is closed and opened again: the key is still there", async () => {
  await scene.closeBrowser();
  await until("all kernels to end", () => midplanes(scene.root).length === 0);
  await scene.reopenBrowser();
  const window = await scene.window("first");
  await window.openChat();
  await window.chat.ask("do you remember my key?", "You said: do you remember my key?");
  assert.equal(provider.requests.at(-1).headers.authorization, `Bearer ${key}`);
});
