// The page in Chromium: what the user does, and what becomes of the DOM while an answer streams.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Browser } from "playwright-core";

import { ChatPage, launch, READY } from "./browser";
import { ANSWER, assistant, delta, NEWEST_FIRST, THREAD, threads, turnBegins, user } from "./conversations";

let browser: Browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

type Options = Parameters<typeof ChatPage.open>[1];

/** A test with a page of its own. */
function onPage(name: string, options: Options, body: (chat: ChatPage) => Promise<void>): void {
  test(name, async () => {
    const chat = await ChatPage.open(browser, options);
    await body(chat);
    await chat.close();
  });
}

const LISTED = {
  answers: {
    "threads.list": { data: threads(5), has_more: false },
    "threads.get_by_id": THREAD,
    "items.list": { data: NEWEST_FIRST, has_more: false },
    "threads.delete": {},
    "threads.update": THREAD,
  },
};
const KEPT = { thread: { id: THREAD.id, title: "Sorting in Rust" }, draft: "half a thought" };

onPage("the page tells that it listens, and has the focus where one writes", {}, async (chat) => {
  assert.deepEqual(await chat.posted(), [{ type: "ready" }]);
  assert.equal(await chat.page.evaluate(() => document.activeElement?.getAttribute("aria-label")), "Message");
});

onPage("Enter sends, and the answer streams into the log", {}, async (chat) => {
  const { page } = chat;
  await chat.say("hi");
  assert.equal(await page.getByRole("textbox", { name: "Message" }).inputValue(), "");
  await chat.emit(...turnBegins("hi", "Hello"));
  assert.equal(await page.getByRole("article", { name: "Answer" }).innerText(), "Hello");
  await chat.emit(delta(" **there**"), { type: "thread.item.done", item: assistant("msg_4", "Hello **there**") });
  await chat.end();
  assert.match(await page.getByRole("article", { name: "Answer" }).innerHTML(), /Hello <strong>there<\/strong>/);
  await page.getByRole("button", { name: "Send" }).waitFor();
  assert.match(await page.getByRole("status").innerText(), /^Answer: Hello/);

  await chat.say("again");
  const [first, second] = await chat.requests();
  assert.equal(first?.type, "threads.create");
  assert.equal(second?.type, "threads.add_user_message");
  assert.equal(second?.params["thread_id"], THREAD.id);
});

onPage("Shift+Enter begins a line, blank messages stay", {}, async ({ page }) => {
  const field = page.getByRole("textbox", { name: "Message" });
  await field.press("Shift+Enter");
  assert.equal(await field.inputValue(), "\n");
  await field.press("Enter");
  assert.equal(await field.inputValue(), "\n");
  assert.equal(await page.getByRole("button", { name: "Send" }).isDisabled(), true);
});

onPage("what is finished keeps its nodes while more streams in, and the scroll of code", {}, async (chat) => {
  const { page } = chat;
  await chat.say("hi");
  await chat.emit(...turnBegins("hi", ANSWER.slice(0, 240)));
  await page.evaluate(() => {
    const nodes = [...document.querySelectorAll(".markdown > *")].slice(-3, -1);
    document.querySelector("pre")!.scrollLeft = 40;
    // A mark of ours on each: a node that was made anew would not have it.
    nodes.forEach((node) => ((node as HTMLElement).dataset["mark"] = "old"));
  });
  for (let at = 240; at < ANSWER.length; at += 7) await chat.emit(delta(ANSWER.slice(at, at + 7)));
  await chat.emit({ type: "thread.item.done", item: assistant("msg_4", ANSWER) });
  await chat.end();
  const marks = await page.evaluate(() => document.querySelectorAll("[data-mark=old]").length);
  assert.equal(marks, 2);
  assert.equal(await page.evaluate(() => document.querySelector("pre")!.scrollLeft), 40);
  assert.equal(await page.locator(".assistant table td").count(), 6);
});

onPage("a selection survives, also in the words that grow", {}, async (chat) => {
  const { page } = chat;
  await chat.say("hi");
  await chat.emit(...turnBegins("hi", "First block.\n\nSecond bl"));
  await page.evaluate(() => {
    const [first, second] = [...document.querySelectorAll(".assistant p")].map((p) => p.firstChild!);
    getSelection()!.setBaseAndExtent(first!, 2, second!, 6);
  });
  await chat.emit(delta("ock, "), delta("and **more**"), delta(" of it.\n\nThird"));
  assert.equal(await page.evaluate(() => String(getSelection())), "rst block.\n\nSecond");
});

onPage("the end is followed until the user leaves it", { height: 320 }, async (chat) => {
  const { page } = chat;
  const log = page.getByRole("log");
  const distance = () => log.evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
  await chat.say("hi");
  await chat.emit(...turnBegins("hi", "line\n\n".repeat(30)));
  assert.ok((await distance()) < 2);
  await log.evaluate((log) => log.scrollTo(0, 50));
  await page.getByRole("button", { name: "Follow the answer" }).waitFor();
  await chat.emit(delta("line\n\n".repeat(10)));
  assert.equal(await log.evaluate((log) => log.scrollTop), 50);
  await page.getByRole("button", { name: "Follow the answer" }).click();
  await chat.emit(delta("line\n\n".repeat(10)));
  assert.ok((await distance()) < 2);
});

onPage("Escape stops: the extension is told, the request aborted, the words kept, the thread named", {
  answers: { "threads.update": THREAD },
}, async (chat) => {
  const { page } = chat;
  await chat.say("hi");
  await chat.emit(...turnBegins("hi", "Hello the"));
  await page.keyboard.press("Escape");
  await page.getByText("Stopped", { exact: true }).waitFor();
  await chat.aborted();
  assert.deepEqual((await chat.posted()).at(-1), { type: "stop" });
  assert.match(await page.getByRole("status").innerText(), /^Stopped\. Hello the/);
  assert.deepEqual(await chat.requested("threads.update"), { type: "threads.update", params: { thread_id: THREAD.id, title: "hi" } });
  assert.equal(await page.getByRole("heading", { level: 1 }).innerText(), "hi");
  await page.getByRole("button", { name: "Retry" }).click();
  assert.deepEqual(await chat.requested("threads.retry_after_item"), {
    type: "threads.retry_after_item",
    params: { thread_id: THREAD.id, item_id: "msg_2" },
  });
  assert.equal(await page.getByRole("article", { name: "Answer" }).count(), 0);
});

onPage("the Stop button does what Escape does", {}, async (chat) => {
  await chat.say("hi");
  await chat.page.getByRole("button", { name: "Stop" }).click();
  await chat.page.getByText("No answer yet.").waitFor();
  await chat.aborted();
});

onPage("a refused key asks for another, and the same message goes again", {}, async (chat) => {
  const { page } = chat;
  await chat.say("hi");
  const message = "The provider refused the API key (status 401), also after it was asked for again: store a valid key and retry.";
  await chat.emit(...turnBegins("hi", "").slice(0, 2), { type: "error", code: "custom", message, allow_retry: true });
  await chat.end();
  const alert = page.getByRole("alert");
  assert.match(await alert.innerText(), /The API key was refused/);
  await alert.getByRole("button", { name: "Replace key" }).click();
  assert.deepEqual((await chat.posted()).at(-1), { type: "command", command: "midplane.replaceKey" });
  await alert.getByRole("button", { name: "Retry" }).click();
  await chat.requested("threads.retry_after_item");
});

onPage("a session without a key says so before anything is kept, and the message can be sent again", {
  answers: { "threads.create": { refuse: 403, problem: { code: "secret_not_found", detail: "the host has no such secret" } } },
}, async (chat) => {
  const { page } = chat;
  await page.getByRole("textbox", { name: "Message" }).fill("hi");
  await page.keyboard.press("Enter");
  const alert = page.getByRole("alert");
  await alert.getByRole("button", { name: "Set API key" }).waitFor();
  await chat.answer({ "threads.create": "stream" });
  await alert.getByRole("button", { name: "Retry" }).click();
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await chat.emit(...turnBegins("hi", "Hello"));
  assert.equal(await page.getByRole("article", { name: "You" }).count(), 1);
});

onPage("a stream that breaks off is no answer", {}, async (chat) => {
  await chat.say("hi");
  await chat.emit(...turnBegins("hi", "").slice(0, 2));
  await chat.end();
  assert.match(await chat.page.getByRole("alert").innerText(), /broke off/);
});

onPage("a thread that died with the kernel goes on as a new one", {
  answers: { ...LISTED.answers, "items.list": { data: [assistant("msg_1", "Hello."), user("msg_0", "hi")], has_more: false } },
  kept: KEPT,
}, async (chat) => {
  const { page } = chat;
  await page.getByText("Hello.").waitFor();
  await chat.answer({ "threads.add_user_message": { refuse: 404, problem: { code: "thread_not_found", detail: "gone" } } });
  await chat.say("and now?");
  await chat.requested("threads.create");
  await chat.emit(...turnBegins("and now?", "Still here."), { type: "thread.item.done", item: assistant("msg_4", "Still here.") });
  await chat.end();
  await page.getByText("goes on as a new chat").waitFor();
  assert.equal(await page.getByText("and now?").count(), 1);
});

onPage("without a key nothing can be sent, and the button is there", { status: { ...READY, key: "absent" } }, async (chat) => {
  const { page } = chat;
  await page.getByRole("textbox", { name: "Message" }).fill("hi");
  assert.equal(await page.getByRole("button", { name: "Send" }).isDisabled(), true);
  await page.keyboard.press("Enter");
  assert.deepEqual(await chat.requests(), []);
  await page.getByRole("button", { name: "Set API key" }).click();
  assert.deepEqual((await chat.posted()).at(-1), { type: "command", command: "midplane.setKey" });
});

onPage("the kept thread and draft come back with the page", { ...LISTED, kept: KEPT, status: null }, async (chat) => {
  const { page } = chat;
  assert.deepEqual(await chat.requests(), []);
  await chat.tell({ type: "status", status: READY });
  await page.getByText("Thought for 3 seconds").waitFor();
  assert.equal(await page.getByRole("textbox", { name: "Message" }).inputValue(), "half a thought");
  assert.equal(await page.getByRole("heading", { level: 1 }).innerText(), "Sorting in Rust");
});

onPage("an answer that goes on without a page is waited for, then fetched", {
  kept: KEPT,
  status: null,
  answers: { ...LISTED.answers, "items.list": { data: [user("msg_2", "hi")], has_more: false } },
}, async (chat) => {
  const { page } = chat;
  await chat.tell({ type: "unattended", busy: true });
  await chat.tell({ type: "status", status: READY });
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await chat.answer({ "items.list": { data: NEWEST_FIRST, has_more: false } });
  await chat.tell({ type: "unattended", busy: false });
  await page.getByRole("article", { name: "Answer" }).getByText("Three things to know").waitFor();
});

onPage("a kept thread that is gone leaves a new chat", {
  kept: KEPT,
  answers: { "threads.get_by_id": { refuse: 404, problem: { code: "thread_not_found" } }, "items.list": { refuse: 404, problem: { code: "thread_not_found" } } },
}, async ({ page }) => {
  await page.getByText("What would you like to know?").waitFor();
  assert.equal(await page.getByRole("alert").count(), 0);
});

onPage("threads: arrows move, Enter opens", LISTED, async (chat) => {
  const { page } = chat;
  const focused = () => page.evaluate(() => (document.activeElement as HTMLElement).dataset["thread"]);
  await page.getByRole("button", { name: "Threads" }).click();
  await page.getByRole("list", { name: "Threads" }).waitFor();
  await page.waitForFunction(() => (document.activeElement as HTMLElement).dataset["thread"] === "thr_1");
  const check = async (key: string, expect: string) => {
    await page.keyboard.press(key);
    assert.equal(await focused(), expect, key);
  };
  await check("ArrowDown", "thr_2");
  await check("End", "thr_5");
  await check("ArrowDown", "thr_5");
  await check("ArrowUp", "thr_4");
  await check("Home", "thr_1");
  await check("ArrowDown", "thr_2");
  assert.equal(await page.locator(".thread[tabindex='0']").count(), 1);
  await page.keyboard.press("Enter");
  await page.getByText("Thought for 3 seconds").waitFor();
  assert.equal((await chat.requests()).find(({ type }) => type === "threads.get_by_id")?.params["thread_id"], "thr_2");
});

onPage("threads: Delete asks first, F2 renames, Escape goes back", LISTED, async (chat) => {
  const { page } = chat;
  await page.getByRole("button", { name: "Threads" }).click();
  await page.waitForFunction(() => (document.activeElement as HTMLElement).dataset["thread"] === "thr_1");
  await page.keyboard.press("Delete");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator(".thread").count(), 5);
  await page.waitForFunction(() => (document.activeElement as HTMLElement).dataset["thread"] === "thr_1");
  await page.keyboard.press("Delete");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll(".thread").length === 4);
  assert.equal((await chat.requested("threads.delete")).params["thread_id"], "thr_1");

  await page.waitForFunction(() => (document.activeElement as HTMLElement).dataset["thread"] === "thr_2");
  await page.keyboard.press("F2");
  await page.keyboard.type("A better name");
  await page.keyboard.press("Enter");
  await page.getByText("A better name").waitFor();
  assert.deepEqual(await chat.requested("threads.update"), { type: "threads.update", params: { thread_id: "thr_2", title: "A better name" } });

  await page.keyboard.press("Escape");
  await page.getByRole("textbox", { name: "Message" }).waitFor();
});

onPage("links and code go through the extension", { ...LISTED, kept: KEPT }, async (chat) => {
  const { page } = chat;
  await page.getByText("the documentation").click();
  assert.deepEqual((await chat.posted()).at(-1), { type: "openLink", url: "https://doc.rust-lang.org/std/" });
  assert.match(page.url(), /dist\/dev\/index\.html$/);
  await page.getByRole("button", { name: "Copy code" }).click();
  const copied = (await chat.posted()).at(-1);
  assert.equal(copied?.type, "copy");
  assert.match(copied?.type === "copy" ? copied.text : "", /^fn newest_first[^]*\}$/);
  await page.getByRole("button", { name: "Copy answer" }).click();
  assert.deepEqual((await chat.posted()).at(-1), { type: "copy", text: ANSWER });
});

onPage("markup in an answer is text", {}, async (chat) => {
  await chat.say("hi");
  await chat.emit(...turnBegins("hi", '<img src="x" onerror="document.title=1"><script>document.title=1</script> [a](command:x)'));
  const answer = chat.page.getByRole("article", { name: "Answer" });
  assert.match(await answer.innerText(), /^<img src="x"/);
  assert.equal(await answer.locator("img, script, a").count(), 0);
  assert.equal(await chat.page.title(), "Midplane Chat");
});

onPage("while the kernel restarts the chat stays, and goes on when it is back", { ...LISTED, kept: KEPT }, async (chat) => {
  const { page } = chat;
  await page.getByText("Thought for 3 seconds").waitFor();
  await page.getByRole("textbox", { name: "Message" }).fill("and now?");
  await chat.tell({ type: "status", status: { ...READY, kernel: { state: "restarting" } } });
  await page.getByText("Midplane is restarting").waitFor();
  assert.equal(await page.getByRole("button", { name: "Send" }).isDisabled(), true);
  assert.equal(await page.getByText("Three things to know").count(), 1);
  await chat.tell({ type: "status", status: READY });
  await page.getByText("Midplane is restarting").waitFor({ state: "detached" });
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Stop" }).waitFor();
});

onPage("a kernel that does not start says why, and what to press", {
  status: { ...READY, kernel: { state: "failed", reason: "there is no midplane in bin", hint: "install it again" } },
}, async (chat) => {
  const alert = chat.page.getByRole("alert");
  assert.match(await alert.innerText(), /There is no midplane in bin\.\s+Install it again\./);
  await alert.getByRole("button", { name: "Start again" }).click();
  assert.deepEqual((await chat.posted()).at(-1), { type: "command", command: "midplane.restartKernel" });
});

onPage("a quoted selection goes into the message", {}, async (chat) => {
  const field = chat.page.getByRole("textbox", { name: "Message" });
  await field.fill("Why?");
  await chat.tell({ type: "quote", text: "```rust\nx\n```\n\n" });
  await chat.page.waitForFunction(() => document.querySelector("textarea")?.value.includes("rust"));
  assert.equal(await field.inputValue(), "Why?\n\n```rust\nx\n```\n\n");
});

onPage("what another window did to the open chat is shown, and what is there already is not drawn anew", {
  answers: { ...LISTED.answers, "items.list": { data: [user("msg_2", "hi"), user("msg_1", "before")], has_more: false } },
  kept: KEPT,
}, async (chat) => {
  const { page } = chat;
  await page.getByText("before", { exact: true }).waitFor();
  await page.evaluate(() => ((document.querySelector("article") as HTMLElement).dataset["mark"] = "old"));
  await chat.answer({ "items.list": { data: [assistant("msg_3", "Hello there"), user("msg_2", "hi"), user("msg_1", "before")], has_more: false } });
  await chat.tell({ type: "change", change: { type: "thread.changed", thread_id: "thr_9" } });
  await chat.tell({ type: "change", change: { type: "thread.changed", thread_id: THREAD.id } });
  await page.getByRole("article", { name: "Answer" }).getByText("Hello there").waitFor();
  assert.equal(await page.evaluate(() => document.querySelectorAll("article[data-mark=old]").length), 1);

  await chat.tell({ type: "change", change: { type: "thread.deleted", thread_id: THREAD.id } });
  await page.getByRole("article").first().waitFor({ state: "detached" });
});

onPage("a turn of this page is not disturbed by what is told of it", {}, async (chat) => {
  const { page } = chat;
  await chat.say("hi");
  await chat.emit(...turnBegins("hi", "Hello"));
  const asked = (await chat.requests()).length;
  await chat.tell({ type: "change", change: { type: "thread.changed", thread_id: THREAD.id } });
  await chat.emit(delta(" there"));
  assert.equal(await page.getByRole("article", { name: "Answer" }).innerText(), "Hello there");
  assert.equal((await chat.requests()).length, asked);
});

onPage("the list follows, too", LISTED, async (chat) => {
  const { page } = chat;
  await page.getByRole("button", { name: "Threads" }).click();
  await page.locator(".thread").nth(4).waitFor();
  await chat.answer({ "threads.list": { data: threads(2), has_more: false } });
  await chat.tell({ type: "change", change: { type: "ready" } });
  await page.locator(".thread").nth(2).waitFor({ state: "detached" });
  assert.equal(await page.locator(".thread").count(), 2);
});
