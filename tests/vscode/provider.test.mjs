// What goes wrong at the provider is said in the view, with what mends it; and a server that is not ours is understood.

import assert from "node:assert/strict";

import { Aimock } from "./harness/aimock.mjs";
import { newCanary } from "./harness/canary.mjs";
import { Provider } from "./harness/provider.mjs";
import { Scene } from "./harness/scene.mjs";

const [right, wrong] = [newCanary(), newCanary()];
const provider = await new Provider().start();
provider.keys = [right];
const scene = await Scene.set("provider", provider.settings);
scene.with(provider);
const LONG = "The first of many words that arrive one after the other, so that there is something to look at while they do.";
let window, chat;

scene.test("a wrong key: the view says that it was refused, and takes another one", async () => {
  window = await scene.window();
  chat = await window.openChat();
  await window.command("Midplane: Set API Key…");
  await window.answer(wrong, { secret: true });
  await chat.send("let me in");
  await chat.alert.getByRole("heading", { name: "The API key was refused" }).waitFor();
  assert.ok(!(await chat.frame.locator("body").innerText()).includes(wrong), "the key is not shown");
  await chat.button("Replace key").click();
  await window.answer(right, { secret: true });
  await chat.retry.first().click();
  await chat.answers.getByText("You said: let me in").waitFor();
  assert.deepEqual(provider.asked.slice(-1), ["let me in"]);
});

scene.test("the provider is down: the view says so, and a retry works when it is back", async () => {
  await provider.stop();
  await chat.send("is anybody there?");
  await chat.alert.getByRole("heading", { name: "The provider cannot be reached" }).waitFor();
  await chat.button("Open settings").click();
  await window.page.locator(".settings-editor .setting-item", { hasText: "Base Url" }).waitFor();
  await window.page.keyboard.press("Escape");
  await window.page.locator(".settings-editor").waitFor({ state: "hidden" });
  await provider.start();
  await chat.retry.first().click();
  await chat.answers.last().getByText("You said: is anybody there?").waitFor();
  await chat.alert.waitFor({ state: "detached" });
});

for (const api of ["responses", "chat_completions"]) {
  scene.test(`aimock streams an answer through ${api}, after the settings were changed`, async () => {
    const aimock = scene.with(await new Aimock(scene.root, scene.environment, { "tell me a lot": LONG }).start());
    scene.server.machineSettings(aimock.settings(api));
    await chat.frame.locator(".provider", { hasText: `aimock-${api}` }).waitFor();
    await chat.button("New chat").click();
    await chat.questions.first().waitFor({ state: "detached" });
    await chat.send("tell me a lot");
    await chat.answers.getByText("The first of many").waitFor();
    assert.ok((await chat.answers.innerText()).length < LONG.length, "it streams");
    await chat.answered(LONG);
    assert.deepEqual(await aimock.asked(), [{ responses: "/v1/responses", chat_completions: "/v1/chat/completions" }[api]]);
    await aimock.stop();
  });
}
