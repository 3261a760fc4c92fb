// The page: wires the extension, the conversation and the view to each other.

import { createFetch } from "@midplane/host/webview/page";
import { render } from "preact";

import { ChatKit } from "./api";
import { Conversation } from "./conversation";
import { onCopy, onLink } from "./delegate";
import { Host, type VsCode } from "./host";
import { Store } from "./store";
import { App, type Intents } from "./view/app";
import "./style.css";

declare function acquireVsCodeApi(): VsCode;

const vscode = acquireVsCodeApi();
const host = new Host(vscode);
const root = document.body;
let draft = host.kept.draft;

const store = new Store((state, before) => {
  if (state.chat.thread !== before.chat.thread) host.keep({ thread: state.chat.thread });
}, show);
const conversation = new Conversation(new ChatKit(createFetch(vscode)), store, () => host.post({ type: "stop" }));

const intents: Intents = {
  send(text) {
    const isSent = conversation.send(text);
    if (isSent) write("");
    return isSent;
  },
  write,
  stop: () => conversation.stop(),
  retry: () => conversation.retry(),
  newChat() {
    conversation.newChat();
    // What had the focus may be gone with the old chat, and the next thing to do is to write.
    document.querySelector("textarea")?.focus();
  },
  showThreads: () => conversation.showThreads(),
  showChat: () => conversation.showChat(),
  showEarlier: () => void conversation.showEarlier(),
  openThread: ({ id, title }) => void conversation.open({ id, title: title ?? null }),
  renameThread: (thread, title) => void conversation.rename(thread, title),
  deleteThread: (thread) => void conversation.delete(thread),
  listThreads: (after) => void conversation.listThreads(after),
  copy: (text) => host.post({ type: "copy", text }),
  command: (command) => host.post({ type: "command", command }),
};

host.onMessage((message) => {
  switch (message.type) {
    case "status": {
      const isFirstReady = message.status.kernel.state === "ready" && !restored;
      store.dispatch({ type: "status", status: message.status });
      if (isFirstReady) restore();
      return;
    }
    case "unattended":
      return conversation.attend(message.busy);
    case "change":
      return conversation.follow(message.change);
    case "newChat":
      return intents.newChat();
    case "showThreads":
      return conversation.showThreads();
    case "quote":
      conversation.showChat();
      write(draft.trim() === "" ? message.text : `${draft.trimEnd()}\n\n${message.text}`);
      return document.querySelector("textarea")?.focus();
  }
});

let restored = false;
/** The chat that was open before the page was hidden. */
function restore(): void {
  restored = true;
  const { thread } = host.kept;
  if (thread && !store.state.chat.thread) void conversation.open(thread, "newChat");
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  if (store.state.screen === "threads") conversation.showChat();
  else conversation.stop();
});
onLink(root, (url) => host.post({ type: "openLink", url }));
onCopy(root, (text) => host.post({ type: "copy", text }));

show();
host.post({ type: "ready" });

function write(text: string): void {
  draft = text;
  host.keep({ draft });
  show();
}

function show(): void {
  render(<App state={store.state} draft={draft} intents={intents} />, root);
}
