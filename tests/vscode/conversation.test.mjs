// A conversation as a person has it: a key is set, words stream in, a turn is stopped, the module is reloaded, the kernel dies.

import assert from "node:assert/strict";

import { newCanary } from "./harness/canary.mjs";
import { gone, kernels, midplanes } from "./harness/processes.mjs";
import { Provider } from "./harness/provider.mjs";
import { Scene } from "./harness/scene.mjs";
import { until } from "./harness/wait.mjs";

const key = newCanary();
const provider = await new Provider().start();
provider.keys = [key];
const scene = await Scene.set("conversation", provider.settings);
scene.with(provider);
let window, chat;

scene.test("without a key it says so, and a key that was set is enough", async () => {
  window = await scene.window();
  chat = await window.openChat();
  await chat.frame.getByRole("heading", { name: "No API key yet" }).waitFor();
  assert.equal(provider.requests.length, 0, "nobody is asked without a key");
  await chat.button("Set API key").click();
  await window.answer(key, { secret: true });
  await chat.frame.getByRole("heading", { name: "No API key yet" }).waitFor({ state: "detached" });
  await chat.ask("good morning", "You said: good morning");
  assert.equal(provider.requests.at(-1).headers.authorization, `Bearer ${key}`);
});

scene.test("an answer is seen while it is being said", async () => {
  const answer = provider.hold("count slowly");
  await chat.send("count slowly");
  await answer.asked;
  answer.say("one two ");
  await chat.answers.last().getByText("one two").waitFor();
  assert.equal(await chat.answers.last().getAttribute("aria-busy"), "true", "the provider has not finished");
  assert.ok(await chat.stop.isVisible());
  answer.say("three four").finish();
  await chat.answered("one two three four");
  await chat.stop.waitFor({ state: "detached" });
});

scene.test("a turn is stopped: the words stay, the provider is left, and it can be tried again", async () => {
  const answer = provider.hold("never stop");
  await chat.send("never stop");
  await answer.asked;
  answer.say("and on and on ");
  await chat.answers.last().getByText("and on and on").waitFor();
  await chat.stop.click();
  await answer.left;
  await chat.answers.last().getByText("Stopped", { exact: true }).waitFor();
  assert.match(await chat.answers.last().innerText(), /and on and on/);
  await chat.answers.last().getByRole("button", { name: "Retry" }).click();
  await chat.answers.last().getByText("You said: never stop").waitFor();
});

scene.test("the conversation goes along with each message", async () => {
  await chat.ask("and before that?", "You said: and before that?");
  const said = JSON.stringify(provider.requests.at(-1).body.messages);
  assert.match(said, /one two three four/);
  assert.match(said, /good morning/);
});

scene.test("threads are listed and opened again", async () => {
  await chat.button("New chat").click();
  await chat.questions.first().waitFor({ state: "detached" });
  await chat.ask("another matter", "You said: another matter");
  await chat.button("Threads").click();
  const rows = chat.threads.locator("button[data-thread]");
  await until("both threads", async () => (await rows.count()) === 2);
  await rows.last().click();
  await chat.answers.getByText("one two three four").waitFor();
  assert.equal(await chat.questions.first().innerText(), "good morning");
});

scene.test("the chat module is reloaded while it answers: the answer is finished, and the conversation goes on", async () => {
  const [before] = kernels(scene.root);
  const answer = provider.hold("what about a reload?");
  await chat.send("what about a reload?");
  await answer.asked;
  answer.say("before the reload, ");
  await chat.answers.last().getByText("before the reload,").waitFor();
  await window.command("Midplane: Reload Module…");
  await window.answer("chat");
  await window.statusMessage(/generation 2 serves now/).waitFor();
  answer.say("after the reload").finish();
  await chat.answered("before the reload, after the reload");
  await chat.ask("still there?", "You said: still there?");
  assert.deepEqual(kernels(scene.root).map(({ pid }) => pid), [before.pid], "the same kernel all along");
  assert.match(JSON.stringify(provider.requests.at(-1).body.messages), /before the reload, after the reload/);
});

scene.test("the settings are changed while it answers: the answer is finished as it began, and the next one follows them", async () => {
  const answer = provider.hold("what about other settings?");
  await chat.send("what about other settings?");
  await answer.asked;
  answer.say("asked before, ");
  await chat.answers.last().getByText("asked before,").waitFor();
  scene.server.machineSettings({ ...provider.settings, "midplane.model": "another" });
  await chat.frame.locator(".provider", { hasText: "another" }).waitFor();
  answer.say("answered after").finish();
  await chat.answered("asked before, answered after");
  await chat.ask("and now?", "You said: and now?");
  assert.equal(provider.requests.at(-1).body.model, "another");
});

scene.test("the kernel is killed while it answers: another takes its place, and the conversation goes on", async () => {
  const [before] = kernels(scene.root);
  const old = midplanes(scene.root).map(({ pid }) => pid);
  const answer = provider.hold("what if you die?");
  await chat.send("what if you die?");
  await answer.asked;
  answer.say("I would ");
  await chat.answers.last().getByText("I would").waitFor();
  process.kill(before.pid, "SIGKILL");
  await answer.left;
  await gone("the killed kernel and its modules", old);
  await until("another kernel", () => kernels(scene.root).length === 1);
  await chat.alert.first().waitFor();
  await chat.ask("are you back?", "You said: are you back?");
  assert.equal(provider.requests.at(-1).headers.authorization, `Bearer ${key}`, "the key came from SecretStorage again");
  assert.equal(kernels(scene.root).length, 1);
  // The same thread, with all that was said before the end.
  const said = JSON.stringify(provider.requests.at(-1).body.messages);
  for (const before of ["good morning", "what about a reload?", "what if you die?"]) assert.ok(said.includes(before), before);
  assert.equal(await chat.questions.first().innerText(), "good morning");
});

scene.test("the key is forgotten: the next message says what is missing", async () => {
  const asked = provider.requests.length;
  await window.command("Midplane: Forget API Key");
  const confirm = window.page.locator(".monaco-dialog-box").getByRole("button", { name: /forget/i });
  await until("the view to miss the key", async () => {
    if (await confirm.isVisible()) await confirm.click();
    return (await chat.message.getAttribute("placeholder")) === "Set an API key to begin";
  });
  await chat.message.fill("anyone?");
  await chat.message.press("Enter");
  assert.equal(await chat.message.inputValue(), "anyone?", "it is kept, not sent");
  assert.equal(provider.requests.length, asked);
});
