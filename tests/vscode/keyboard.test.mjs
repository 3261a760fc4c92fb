// The chat without a mouse: from the command palette into the message, an answer, a stop, the list of threads, and back.

import assert from "node:assert/strict";

import { newCanary } from "./harness/canary.mjs";
import { Provider } from "./harness/provider.mjs";
import { Scene } from "./harness/scene.mjs";
import { until } from "./harness/wait.mjs";

const key = newCanary();
const provider = await new Provider().start();
provider.keys = [key];
const scene = await Scene.set("keyboard", provider.settings);
scene.with(provider);
let window, chat;

/** What has the focus in the view: its name for a screen reader, or what it is. */
function focused() {
  return chat.frame.locator("body").evaluate(() => {
    const element = document.activeElement;
    return element?.getAttribute("aria-label") ?? element?.textContent?.trim() ?? element?.tagName ?? "nothing";
  });
}

/** Presses Tab until what is called `name` has the focus. */
async function tabTo(name, { backwards = false } = {}) {
  const seen = [];
  // More stops than the view has.
  for (let n = 0; n < 40; n += 1) {
    const now = await focused();
    if (now === name) return;
    seen.push(now);
    await window.page.keyboard.press(backwards ? "Shift+Tab" : "Tab");
  }
  assert.fail(`Tab does not reach ${name}: ${seen.join(", ")}`);
}

scene.test("the key is set and a message is sent by keys alone", async () => {
  window = await scene.window();
  chat = window.chat;
  await window.command("Midplane: Set API Key…");
  await window.page.locator('.quick-input-widget:visible input[type="password"]').waitFor();
  await window.page.keyboard.type(key);
  await window.page.keyboard.press("Enter");
  await window.page.locator(".quick-input-widget").waitFor({ state: "hidden" });
  await window.command("Midplane: Focus on Chat View");
  await chat.ready();
  await until("the message to have the focus", async () => (await focused()) === "Message");
  await window.page.keyboard.type("first line");
  await window.page.keyboard.press("Shift+Enter");
  await window.page.keyboard.type("second line");
  await until("the chat to be ready", async () => chat.button("Send").isEnabled());
  await window.page.keyboard.press("Enter");
  await chat.answers.getByText("You said: first line").waitFor();
  assert.equal(provider.asked.at(-1), "first line\nsecond line");
  assert.equal(await focused(), "Message", "the next message can be typed at once");
});

scene.test("Escape stops an answer", async () => {
  const answer = provider.hold("go on and on");
  await window.page.keyboard.type("go on and on");
  // The answer before may have shown its words, and not be over.
  await until("the chat to be ready", async () => chat.button("Send").isEnabled());
  await window.page.keyboard.press("Enter");
  await answer.asked;
  answer.say("on and on ");
  await chat.answers.last().getByText("on and on").waitFor();
  await window.page.keyboard.press("Escape");
  await answer.left;
  await chat.answers.last().getByText("Stopped", { exact: true }).waitFor();
});

scene.test("a stopped answer is tried again from the keyboard", async () => {
  await tabTo("Retry", { backwards: true });
  await window.page.keyboard.press("Enter");
  await chat.answers.last().getByText("You said: go on and on").waitFor();
});

scene.test("threads are listed, walked through with arrows, opened, renamed and deleted", async () => {
  await window.command("Midplane: New Chat");
  await chat.questions.first().waitFor({ state: "detached" });
  await until("the message to have the focus", async () => (await focused()) === "Message");
  await window.page.keyboard.type("second thread");
  await until("the chat to be ready", async () => chat.button("Send").isEnabled());
  await window.page.keyboard.press("Enter");
  await chat.answers.getByText("You said: second thread").waitFor();
  await chat.stop.waitFor({ state: "detached" });

  await window.command("Midplane: Show Threads");
  const rows = chat.threads.locator("button[data-thread]");
  await until("two threads", async () => (await rows.count()) === 2);
  const rowFocused = (n) => until(`row ${n + 1} to have the focus`, () => rows.nth(n).evaluate((row) => row === document.activeElement));
  await rowFocused(0);
  await window.page.keyboard.press("ArrowDown");
  await rowFocused(1);
  await window.page.keyboard.press("F2");
  await until("the name to have the focus", async () => (await focused()) === "Name of the chat");
  // The old name is selected: what is typed takes its place.
  await window.page.keyboard.type("the first one");
  await window.page.keyboard.press("Enter");
  await rows.nth(1).getByText("the first one").waitFor();
  await rowFocused(1);
  await window.page.keyboard.press("Home");
  await rowFocused(0);
  await window.page.keyboard.press("Delete");
  await until("the question to have the focus", async () => (await focused()) === "Delete");
  await window.page.keyboard.press("Enter");
  await until("one thread", async () => (await rows.count()) === 1);
  await rowFocused(0);
  await window.page.keyboard.press("Enter");
  await chat.answers.last().getByText("You said: go on and on").waitFor();
});

scene.test("the kernel's state is in the status bar's words for a screen reader", async () => {
  await window.kernelIs("ready");
});
