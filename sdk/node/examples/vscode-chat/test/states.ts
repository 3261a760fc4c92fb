// Every state of the page that looks different from the others, by name.

import type { Browser } from "playwright-core";

import { ChatPage, READY } from "./browser";
import { ANSWER, NEWEST_FIRST, THREAD, threads, turnBegins } from "./conversations";

type Options = NonNullable<Parameters<typeof ChatPage.open>[1]>;

const OPENED = {
  "threads.get_by_id": THREAD,
  "items.list": { data: NEWEST_FIRST, has_more: true, after: "msg_2" },
};
const KEPT = { thread: { id: THREAD.id, title: THREAD.title ?? null }, draft: "" };
const QUESTION = "How do I sort threads?";

export const STATES: Record<string, (browser: Browser, options: Options) => Promise<ChatPage>> = {
  echo: (browser, options) => ChatPage.open(browser, { ...options, status: { ...READY, provider: "echo", key: "unneeded" } }),
  empty: (browser, options) => ChatPage.open(browser, options),
  "no-key": (browser, options) => ChatPage.open(browser, { ...options, status: { ...READY, key: "absent" } }),
  starting: (browser, options) => ChatPage.open(browser, { ...options, status: { ...READY, kernel: { state: "starting" } } }),
  failed: (browser, options) => {
    const reason = "the kernel's program was not found at /opt/midplane";
    const hint = "install the extension again";
    return ChatPage.open(browser, { ...options, status: { ...READY, kernel: { state: "failed", reason, hint } } });
  },
  opened: async (browser, options) => {
    const chat = await ChatPage.open(browser, { ...options, answers: OPENED, kept: KEPT });
    await chat.page.getByText("Thought for 3 seconds").waitFor();
    return chat;
  },
  thoughts: async (browser, options) => {
    const chat = await ChatPage.open(browser, { ...options, answers: OPENED, kept: KEPT });
    await chat.page.getByText("Thought for 3 seconds").click();
    await chat.page.getByRole("log").evaluate((log) => log.scrollTo(0, 0));
    return chat;
  },
  waiting: async (browser, options) => {
    const chat = await ChatPage.open(browser, options);
    await chat.say(QUESTION);
    return chat;
  },
  streaming: async (browser, options) => {
    const chat = await ChatPage.open(browser, options);
    await chat.say(QUESTION);
    await chat.emit(...turnBegins(QUESTION, ANSWER.slice(0, 260)));
    return chat;
  },
  stopped: async (browser, options) => {
    const chat = await STATES["streaming"]!(browser, options);
    await chat.page.keyboard.press("Escape");
    await chat.page.getByText("Stopped", { exact: true }).waitFor();
    return chat;
  },
  restarting: async (browser, options) => {
    const chat = await STATES["opened"]!(browser, options);
    await chat.tell({ type: "status", status: { ...READY, kernel: { state: "restarting" } } });
    await chat.page.getByText("is restarting").waitFor();
    return chat;
  },
  "key-refused": (browser, options) =>
    failed(browser, options, "The provider refused the API key (status 401), also after it was asked for again: store a valid key and retry."),
  unreachable: (browser, options) =>
    failed(browser, options, "The provider at http://127.0.0.1:11434 cannot be reached: check `base_url` of the chat module and the network."),
  threads: async (browser, options) => {
    const chat = await ChatPage.open(browser, { ...options, answers: { ...OPENED, "threads.list": { data: threads(8), has_more: true, after: "thr_8" } }, kept: KEPT });
    await chat.page.getByText("Thought for 3 seconds").waitFor();
    await chat.page.getByRole("button", { name: "Threads" }).click();
    await chat.page.getByRole("list", { name: "Threads" }).waitFor();
    return chat;
  },
  "no-threads": async (browser, options) => {
    const chat = await ChatPage.open(browser, { ...options, answers: { "threads.list": { data: [], has_more: false } } });
    await chat.page.getByRole("button", { name: "Threads" }).click();
    await chat.page.getByText("No chats yet").waitFor();
    return chat;
  },
  delete: async (browser, options) => {
    const chat = await STATES["threads"]!(browser, options);
    await chat.page.keyboard.press("Delete");
    await chat.page.getByText("Delete?", { exact: true }).waitFor();
    return chat;
  },
};

async function failed(browser: Browser, options: Options, message: string): Promise<ChatPage> {
  const chat = await ChatPage.open(browser, options);
  await chat.say(QUESTION);
  const [created, question] = turnBegins(QUESTION, "");
  await chat.emit(created!, question!, { type: "error", code: "custom", message, allow_retry: true });
  await chat.page.getByRole("alert").waitFor();
  return chat;
}
