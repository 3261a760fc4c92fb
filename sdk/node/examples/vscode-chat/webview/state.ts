// Everything the page shows, and how it changes: one pure function over what the user does, what the chat module
// streams and what the extension tells. No DOM, no fetch, no clock.

import type { Status } from "../src/messages";
import { textOf, type Event, type Item, type Task, type Thread, type Update } from "./chatkit";
import { ofErrorEvent, type Failure } from "./failure";

export interface State {
  /** Nothing until the extension has told it. */
  status: Status | null;
  screen: "chat" | "threads";
  chat: Chat;
  threads: ThreadList;
}

export interface Chat {
  thread: { id: string; title: string | null } | null;
  entries: Entry[];
  /** Cursor of the items before the first one shown. */
  earlier: string | null;
  phase: Phase;
  /** What the turn is doing, in the server's words. */
  progress: string | null;
  failure: Failure | null;
  /** What the user should know, such as that no model answers here. */
  notice: string | null;
}

/** `opening`: a thread is being fetched. `waiting`: the turn has begun, nothing was said. `answering`: words come. */
export type Phase = "idle" | "opening" | "waiting" | "answering";

export type Entry =
  /** `unsent`: it is not known to be in the thread. */
  | { kind: "user"; id: string; text: string; unsent: boolean }
  | { kind: "assistant"; id: string; parts: string[]; ending: Ending }
  | { kind: "thoughts"; id: string; thoughts: string[]; duration_s: number | null; open: boolean }
  /** An item this page cannot show. */
  | { kind: "other"; id: string; what: string };

/** `failed`: the server does not keep it. */
export type Ending = "open" | "complete" | "stopped" | "failed";

export interface ThreadList {
  phase: "idle" | "loading" | "ready" | "failed";
  list: Thread[];
  after: string | null;
  failure: Failure | null;
}

export type Action =
  | { type: "status"; status: Status }
  | { type: "screen"; screen: State["screen"] }
  | { type: "newChat" }
  | { type: "sent"; id: string; text: string }
  | { type: "retried"; after: string }
  | { type: "event"; event: Event }
  | { type: "ended" }
  /** The thread's last turn goes on without being streamed here. */
  | { type: "unattended" }
  | { type: "stopped" }
  | { type: "failed"; failure: Failure }
  | { type: "threadLost"; notice: string }
  | { type: "opening"; id: string; title: string | null }
  | { type: "opened"; thread: Thread; newestFirst: Item[]; earlier: string | null }
  /** The open thread was fetched again: it may have grown, or lost what was retried, in another window. */
  | { type: "refreshed"; thread: Thread; newestFirst: Item[]; earlier: string | null }
  | { type: "earlier"; newestFirst: Item[]; earlier: string | null }
  | { type: "threadsLoading" }
  | { type: "threadsLoaded"; list: Thread[]; after: string | null; append: boolean }
  /** The first page of the list as it is now; pages behind it stay. */
  | { type: "threadsRefreshed"; list: Thread[]; after: string | null }
  | { type: "threadsFailed"; failure: Failure }
  | { type: "threadRemoved"; id: string }
  | { type: "threadRenamed"; id: string; title: string };

const NO_CHAT: Chat = {
  thread: null,
  entries: [],
  earlier: null,
  phase: "idle",
  progress: null,
  failure: null,
  notice: null,
};

export const INITIAL: State = {
  status: null,
  screen: "chat",
  chat: NO_CHAT,
  threads: { phase: "idle", list: [], after: null, failure: null },
};

export function reduce(state: State, action: Action): State {
  const chat = (change: Partial<Chat>): State => ({ ...state, chat: { ...state.chat, ...change } });
  switch (action.type) {
    case "status":
      return { ...state, status: action.status };
    case "screen":
      return { ...state, screen: action.screen };
    case "newChat":
      return { ...state, screen: "chat", chat: NO_CHAT };
    case "sent": {
      const kept = state.chat.entries.filter((entry) => entry.id !== action.id && !isLost(entry));
      const entry: Entry = { kind: "user", id: action.id, text: action.text, unsent: true };
      return chat({ entries: [...kept, entry], ...TURN_BEGUN });
    }
    case "retried": {
      const index = state.chat.entries.findIndex((entry) => entry.id === action.after);
      return chat({ entries: state.chat.entries.slice(0, index + 1), ...TURN_BEGUN });
    }
    case "event":
      return { ...state, ...onEvent(state, action.event) };
    case "ended":
      // An `error` event has ended the turn already.
      return state.chat.phase === "idle" ? state : chat(turnOver(state.chat, "complete"));
    case "unattended":
      return state.chat.entries.at(-1)?.kind === "user" ? chat({ ...TURN_BEGUN }) : state;
    case "stopped":
      return chat(turnOver(state.chat, "stopped"));
    case "failed":
      return chat({ ...turnOver(state.chat, "failed"), failure: action.failure });
    case "threadLost":
      return chat({ thread: null, notice: action.notice, earlier: null });
    case "opening":
      return {
        ...state,
        screen: "chat",
        chat: { ...NO_CHAT, thread: { id: action.id, title: action.title }, phase: "opening" },
      };
    case "opened":
      return chat({
        thread: { id: action.thread.id, title: action.thread.title ?? null },
        entries: entriesOf(action.newestFirst),
        earlier: action.earlier,
        phase: "idle",
      });
    case "refreshed":
      return chat(refreshed(state.chat, action));
    case "earlier":
      return chat({ entries: [...entriesOf(action.newestFirst), ...state.chat.entries], earlier: action.earlier });
    default:
      return { ...state, ...onThreads(state, action) };
  }
}

const TURN_BEGUN = { phase: "waiting", progress: null, failure: null, notice: null } as const;

/** The user's last message, which a retry is about. */
export function lastQuestion(chat: Chat): Extract<Entry, { kind: "user" }> | null {
  const entry = chat.entries.findLast((entry) => entry.kind === "user");
  return entry?.kind === "user" ? entry : null;
}

/** Titles that fit a list; the chat module makes longer ones by itself. */
const TITLE_CHARS_MAX = 60;

/** What to call the chat: its title, or how it began. Nothing for one that has not begun. */
export function nameOf(chat: Chat): string | null {
  if (chat.thread?.title) return chat.thread.title;
  const first = chat.entries.find((entry) => entry.kind === "user");
  const line = first?.kind === "user" ? (first.text.trim().split("\n")[0] ?? "") : "";
  return line.length > TITLE_CHARS_MAX ? `${line.slice(0, TITLE_CHARS_MAX - 1)}…` : line || null;
}

export function isBusy(chat: Chat): boolean {
  return chat.phase === "waiting" || chat.phase === "answering";
}

/** Whether a message can be sent as things are. */
export function canSend(state: State): boolean {
  return state.chat.phase === "idle" && state.status?.kernel.state === "ready" && state.status.key !== "absent";
}

function onThreads(state: State, action: Action): Partial<State> {
  const threads = state.threads;
  switch (action.type) {
    case "threadsLoading":
      return { threads: { ...threads, phase: "loading", failure: null } };
    case "threadsLoaded": {
      const list = action.append ? [...threads.list, ...action.list] : action.list;
      return { threads: { phase: "ready", list, after: action.after, failure: null } };
    }
    case "threadsRefreshed": {
      const last = action.list.at(-1);
      const index = threads.list.findIndex((thread) => thread.id === last?.id);
      const more = index < 0 || action.after === null ? [] : threads.list.slice(index + 1);
      const after = more.length > 0 ? threads.after : action.after;
      return { threads: { phase: "ready", list: [...action.list, ...more], after, failure: null } };
    }
    case "threadsFailed":
      return { threads: { ...threads, phase: "failed", failure: action.failure } };
    case "threadRemoved": {
      const list = threads.list.filter((thread) => thread.id !== action.id);
      const isOpen = state.chat.thread?.id === action.id;
      return { threads: { ...threads, list }, ...(isOpen ? { chat: NO_CHAT } : {}) };
    }
    case "threadRenamed": {
      const { id, title } = action;
      const list = threads.list.map((thread) => (thread.id === id ? { ...thread, title } : thread));
      const isOpen = state.chat.thread?.id === id;
      return { threads: { ...threads, list }, ...(isOpen ? { chat: { ...state.chat, thread: { id, title } } } : {}) };
    }
    default:
      return {};
  }
}

function onEvent(state: State, event: Event): Partial<State> {
  const chat = state.chat;
  const change = (change: Partial<Chat>): Partial<State> => ({ chat: { ...chat, ...change } });
  switch (event.type) {
    case "thread.created":
    case "thread.updated": {
      const { id, title } = event.thread;
      // The list is fetched anew when it is shown.
      return change({ thread: { id, title: title ?? null } });
    }
    case "thread.item.added":
    case "thread.item.done":
    case "thread.item.replaced":
      return change(withItem(chat, event.item, event.type === "thread.item.added"));
    case "thread.item.updated": {
      const entries = chat.entries.map((entry) => (entry.id === event.item_id ? updated(entry, event.update) : entry));
      return change({ entries, phase: "answering", progress: null });
    }
    case "thread.item.removed":
      return change({ entries: chat.entries.filter((entry) => entry.id !== event.item_id) });
    case "progress_update":
      return change({ progress: event.text });
    case "notice":
      // The page itself says whose words the echo's are.
      return state.status?.provider === "echo" && event.title === "Echo" ? {} : change({ notice: event.message });
    case "error": {
      const failure = ofErrorEvent(event.message, event.allow_retry ?? false);
      return change({ ...turnOver(chat, "failed"), failure });
    }
    default:
      return {};
  }
}

function withItem(chat: Chat, item: Item, isOpen: boolean): Partial<Chat> {
  const entry = entryOf(item, isOpen);
  if (!entry) return {};
  // The user's own message stands there already, under an id of ours.
  const index = chat.entries.findIndex(
    (old) => old.id === entry.id || (entry.kind === "user" && old.kind === "user" && old.unsent),
  );
  const entries = index < 0 ? [...chat.entries, entry] : chat.entries.with(index, entry);
  return entry.kind === "user" ? { entries } : { entries, phase: "answering", progress: null };
}

function updated(entry: Entry, update: Update): Entry {
  switch (update.type) {
    case "assistant_message.content_part.added":
    case "assistant_message.content_part.done":
      return withPart(entry, update.content_index, () => update.content.text ?? "");
    case "assistant_message.content_part.text_delta":
      return withPart(entry, update.content_index, (text) => text + update.delta);
    case "workflow.task.added":
    case "workflow.task.updated": {
      if (entry.kind !== "thoughts") return entry;
      return { ...entry, thoughts: set(entry.thoughts, update.task_index, thought(update.task)) };
    }
    default:
      return entry;
  }
}

function withPart(entry: Entry, index: number, text: (old: string) => string): Entry {
  if (entry.kind !== "assistant") return entry;
  return { ...entry, parts: set(entry.parts, index, text(entry.parts[index] ?? "")) };
}

/** A server names the next index or one there is; any other would leave a hole, so it becomes the next. */
function set(list: string[], index: number, value: string): string[] {
  return index < list.length ? list.with(index, value) : [...list, value];
}

function turnOver(chat: Chat, ending: Exclude<Ending, "open">): Partial<Chat> {
  const entries = chat.entries.flatMap((entry): Entry[] => {
    if (entry.kind === "thoughts" && entry.open) return [{ ...entry, open: false }];
    if (entry.kind !== "assistant" || entry.ending !== "open") return [entry];
    // Of an answer that never began there is nothing to show.
    return entry.parts.some((part) => part.trim() !== "") ? [{ ...entry, ending }] : [];
  });
  return { entries, phase: "idle", progress: null };
}

/** What is kept, in place of what was shown of it; what is shown only, such as a message that was not sent, stays behind it. */
function refreshed(chat: Chat, { thread, newestFirst, earlier }: Extract<Action, { type: "refreshed" }>): Partial<Chat> {
  const named = { thread: { id: thread.id, title: thread.title ?? null } };
  const kept = entriesOf(newestFirst);
  const first = chat.entries.findIndex((entry) => entry.id === kept[0]?.id);
  const before = chat.entries.slice(0, Math.max(first, 0));
  const ids = new Set(kept.map((entry) => entry.id));
  const onlyShown = chat.entries.filter((entry) => !ids.has(entry.id) && isOnlyShown(entry));
  const entries = [...before, ...kept, ...onlyShown];
  // An answer that was stopped is kept as far as it was said; only the page knows that it was.
  const shown = new Map(chat.entries.map((entry) => [entry.id, entry]));
  return { ...named, entries: entries.map((entry) => sameAs(shown.get(entry.id), entry)), ...(first < 0 ? { earlier } : {}) };
}

/** Of a stopped answer, what was said is kept a moment after the page has stopped it. */
function isOnlyShown(entry: Entry): boolean {
  return isLost(entry) || (entry.kind === "user" && entry.unsent) || (entry.kind === "assistant" && entry.ending === "stopped");
}

/** The entry that is there, if it says the same: what was drawn of it stays. */
function sameAs(shown: Entry | undefined, kept: Entry): Entry {
  if (shown?.kind === "assistant" && kept.kind === "assistant" && shown.ending === "stopped") return { ...kept, ending: "stopped" };
  return shown && JSON.stringify(shown) === JSON.stringify(kept) ? shown : kept;
}

/** What is on the screen but not in the thread, so that the next turn must not stand below it. */
function isLost(entry: Entry): boolean {
  return entry.kind === "assistant" && entry.ending === "failed";
}

function entriesOf(newestFirst: Item[]): Entry[] {
  return newestFirst.toReversed().flatMap((item) => entryOf(item, false) ?? []);
}

function entryOf(item: Item, isOpen: boolean): Entry | null {
  const { id } = item;
  switch (item.type) {
    case "user_message":
      return { kind: "user", id, text: textOf(item.content), unsent: false };
    case "assistant_message": {
      const parts = item.content.map((part) => part.text ?? "");
      return { kind: "assistant", id, parts, ending: isOpen ? "open" : "complete" };
    }
    case "workflow": {
      const thoughts = item.workflow.tasks.map(thought);
      return { kind: "thoughts", id, thoughts, duration_s: item.workflow.summary?.duration ?? null, open: isOpen };
    }
    case "widget":
      return { kind: "other", id, what: "a widget" };
    case "generated_image":
      return { kind: "other", id, what: "an image" };
    case "client_tool_call":
      return { kind: "other", id, what: "a call of a tool" };
    case "structured_input":
      return { kind: "other", id, what: "a form" };
    default:
      return null;
  }
}

function thought(task: Task): string {
  return [task.title, task.content].filter(Boolean).join("\n\n");
}
