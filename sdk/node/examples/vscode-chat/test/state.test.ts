import assert from "node:assert/strict";
import { test } from "node:test";

import type { Event, Item } from "../webview/chatkit";
import { canSend, INITIAL, isBusy, lastQuestion, nameOf, reduce, type Action, type Chat, type State } from "../webview/state";
import { READY } from "./browser";
import { assistant, delta, NEWEST_FIRST, THREAD, turnBegins, user } from "./conversations";

const after = (...actions: Action[]): State => actions.reduce(reduce, INITIAL);
const event = (event: Event): Action => ({ type: "event", event });
const SENT: Action = { type: "sent", id: "unsent-1", text: "hi" };
const STATUS: Action = { type: "status", status: READY };
const BEGUN: Action[] = [STATUS, SENT, ...turnBegins("hi", "Hel").map(event)];

/** A chat in one line an entry. */
function shown({ entries }: Chat): string[] {
  return entries.map((entry) => {
    switch (entry.kind) {
      case "user":
        return `user${entry.unsent ? " unsent" : ""}: ${entry.text}`;
      case "assistant":
        return `assistant ${entry.ending}: ${entry.parts.join("|")}`;
      case "thoughts":
        return `thoughts ${entry.open ? "open" : `${entry.duration_s} s`}: ${entry.thoughts.join("|")}`;
      case "other":
        return `other: ${entry.what}`;
    }
  });
}

function check(name: string, actions: Action[], expect: string[], rest: Partial<Chat> = {}): void {
  test(name, () => {
    const { chat } = after(...actions);
    assert.deepEqual(shown(chat), expect);
    assert.deepEqual({ ...chat, ...rest }, chat);
  });
}

check("a message stands there before it is known to be kept", [STATUS, SENT], ["user unsent: hi"], { phase: "waiting" });
check("the kept message takes the place of the sent one", BEGUN, ["user: hi", "assistant open: Hel"], {
  phase: "answering",
  thread: { id: THREAD.id, title: null },
});
check("words are appended", [...BEGUN, event(delta("lo"))], ["user: hi", "assistant open: Hello"]);
check(
  "what is done replaces what was streamed",
  [...BEGUN, event({ type: "thread.item.done", item: assistant("msg_4", "Hello.") }), { type: "ended" }],
  ["user: hi", "assistant complete: Hello."],
  { phase: "idle", failure: null },
);
const KEPT = { thread: { ...THREAD, title: "Greetings" }, earlier: null };
const refreshed = (...newestFirst: Item[]): Action => ({ type: "refreshed", ...KEPT, newestFirst });
check(
  "a refreshed thread has what another window added, and its title",
  [...BEGUN, event({ type: "thread.item.done", item: assistant("msg_4", "Hello.") }), { type: "ended" },
    refreshed(assistant("msg_6", "Again."), user("msg_5", "again"), assistant("msg_4", "Hello."), user("msg_2", "hi"))],
  ["user: hi", "assistant complete: Hello.", "user: again", "assistant complete: Again."],
  { thread: { id: THREAD.id, title: "Greetings" } },
);
check(
  "a refreshed thread has lost what was retried in another window",
  [...BEGUN, event({ type: "thread.item.done", item: assistant("msg_4", "Hello.") }), { type: "ended" }, refreshed(user("msg_2", "hi"))],
  ["user: hi"],
);
check(
  "what is only shown stays when the thread is refreshed",
  [...BEGUN, { type: "stopped" }, { type: "sent", id: "unsent-2", text: "more" }, { type: "stopped" }, refreshed(user("msg_2", "hi"))],
  ["user: hi", "assistant stopped: Hel", "user unsent: more"],
);
test("what a refresh does not change stays the same object, so that nothing is drawn anew", () => {
  const before = after(...BEGUN, event({ type: "thread.item.done", item: assistant("msg_4", "Hello.") }), { type: "ended" });
  const { entries } = reduce(before, refreshed(assistant("msg_4", "Hello."), user("msg_2", "hi"))).chat;
  entries.forEach((entry, index) => assert.equal(entry, before.chat.entries[index]));
});
test("a stopped answer stays one, once it is kept", () => {
  const { chat } = after(...BEGUN, { type: "stopped" }, refreshed(assistant("msg_4", "Hel"), user("msg_2", "hi")));
  assert.deepEqual(shown(chat), ["user: hi", "assistant stopped: Hel"]);
});
test("the refreshed list keeps the pages behind its first", () => {
  const list = (...ids: string[]) => ids.map((id) => ({ ...THREAD, id }));
  const loaded: Action[] = [{ type: "threadsLoaded", list: list("d", "c", "b", "a"), after: "a", append: false }];
  const ids = (action: Action) => after(...loaded, action).threads.list.map(({ id }) => id);
  assert.deepEqual(ids({ type: "threadsRefreshed", list: list("e", "d", "c"), after: "c" }), ["e", "d", "c", "b", "a"]);
  assert.deepEqual(ids({ type: "threadsRefreshed", list: list("e"), after: null }), ["e"]);
});
check("a stopped answer is kept", [...BEGUN, { type: "stopped" }], ["user: hi", "assistant stopped: Hel"], { phase: "idle" });
check(
  "an answer that was stopped before its first word leaves nothing",
  [STATUS, SENT, ...turnBegins("hi", " ").map(event), { type: "stopped" }],
  ["user: hi"],
);
check(
  "an error event ends the turn, and what was said is marked",
  [...BEGUN, event({ type: "error", message: "The provider's answer broke off: try again.", allow_retry: true }), { type: "ended" }],
  ["user: hi", "assistant failed: Hel"],
  { phase: "idle", failure: { kind: "other", message: "The provider's answer broke off: try again.", retry: true } },
);
check(
  "a lost connection leaves the message unsent",
  [STATUS, SENT, { type: "failed", failure: { kind: "kernel", message: "Gone.", retry: true } }],
  ["user unsent: hi"],
  { phase: "idle", failure: { kind: "kernel", message: "Gone.", retry: true } },
);
check(
  "the same message sent again does not stand there twice, and the failed answer goes",
  [...BEGUN, { type: "failed", failure: { kind: "kernel", message: "Gone.", retry: true } }, { ...SENT, id: "msg_2" }],
  ["user unsent: hi"],
  { failure: null },
);
check("a retry removes what stands behind the question", [...BEGUN, { type: "ended" }, { type: "retried", after: "msg_2" }], [
  "user: hi",
]);
check(
  "thoughts come task by task",
  [
    STATUS,
    SENT,
    event({ type: "thread.item.added", item: { type: "workflow", id: "wf_1", workflow: { tasks: [] } } }),
    ...["Hm", "Hm, so"].map((content, index) =>
      event({
        type: "thread.item.updated",
        item_id: "wf_1",
        update: {
          type: index === 0 ? "workflow.task.added" : "workflow.task.updated",
          task_index: 0,
          task: { type: "thought", content },
        },
      }),
    ),
  ],
  ["user unsent: hi", "thoughts open: Hm, so"],
);
check("an opened thread is shown oldest first", [{ type: "opened", thread: THREAD, newestFirst: NEWEST_FIRST.slice(1), earlier: "msg_2" }], [
  "user: How do I sort threads, newest first, without allocating?",
  "thoughts 3 s: The user sorts a slice of threads.",
], { earlier: "msg_2" });
check(
  "earlier messages go before",
  [
    { type: "opened", thread: THREAD, newestFirst: [user("b", "two")], earlier: "b" },
    { type: "earlier", newestFirst: [user("a", "one")], earlier: null },
  ],
  ["user: one", "user: two"],
  { earlier: null },
);
check(
  "items of other kinds are told of, unknown ones and unknown events passed over",
  [
    STATUS,
    event({ type: "thread.item.done", item: { type: "widget", id: "w" } }),
    event({ type: "thread.item.done", item: { type: "hologram", id: "h" } as never }),
    event({ type: "thread.exploded" } as never),
    event({ type: "thread.item.updated", item_id: "w", update: { type: "widget.root.updated" } as never }),
  ],
  ["other: a widget"],
);
check("removed items go", [...BEGUN, event({ type: "thread.item.removed", item_id: "msg_4" })], ["user: hi"]);
check("a delta for a later part does not leave a hole", [...BEGUN, event({ type: "thread.item.updated", item_id: "msg_4", update: { type: "assistant_message.content_part.text_delta", content_index: 7, delta: "x" } })], ["user: hi", "assistant open: Hel|x"]);

test("a notice is shown until the next turn, but not what the page says itself", () => {
  const notice: Event = { type: "notice", level: "info", title: "Cut short", message: "The answer was cut." };
  assert.equal(after(...BEGUN, event(notice)).chat.notice, "The answer was cut.");
  assert.equal(after(...BEGUN, event(notice), { type: "ended" }, SENT).chat.notice, null);
  const echo: Action = { type: "status", status: { ...READY, provider: "echo" } };
  assert.equal(after(echo, event({ ...notice, title: "Echo" })).chat.notice, null);
});

test("sending needs a kernel that is ready, a key where one is needed, and nothing under way", () => {
  const sends = (...actions: Action[]) => canSend(after(...actions));
  assert.equal(sends(), false);
  assert.equal(sends(STATUS), true);
  assert.equal(sends({ type: "status", status: { ...READY, key: "absent" } }), false);
  assert.equal(sends({ type: "status", status: { ...READY, kernel: { state: "restarting" } } }), false);
  assert.equal(sends(...BEGUN), false);
  assert.equal(sends(...BEGUN, { type: "ended" }), true);
  assert.equal(sends(STATUS, { type: "opening", id: "t", title: null }), false);
});

test("an answer that is written elsewhere is waited for only where a question is open", () => {
  const opened: Action = { type: "opened", thread: THREAD, newestFirst: [user("a", "one")], earlier: null };
  assert.equal(isBusy(after(opened, { type: "unattended" }).chat), true);
  assert.equal(isBusy(after({ ...opened, newestFirst: NEWEST_FIRST }, { type: "unattended" }).chat), false);
});

test("a chat is called by its title, or by how it began", () => {
  const check = (expect: string | null, ...actions: Action[]) => assert.equal(nameOf(after(...actions).chat), expect);
  check(null);
  check("hi", STATUS, SENT);
  check("one", STATUS, { ...SENT, text: " one\ntwo" });
  check(`${"x".repeat(59)}…`, STATUS, { ...SENT, text: "x".repeat(61) });
  check(THREAD.title!, { type: "opened", thread: THREAD, newestFirst: [user("a", "one")], earlier: null });
});

test("the last question is what a retry is about", () => {
  assert.equal(lastQuestion(INITIAL.chat), null);
  assert.equal(lastQuestion(after(...BEGUN).chat)?.id, "msg_2");
});

test("threads: lists, pages, renames, and the open one closes when it is deleted", () => {
  const other = { ...THREAD, id: "thr_2" };
  const first: Action = { type: "threadsLoaded", list: [THREAD], after: "thr_1", append: false };
  const state = after(...BEGUN, first, { type: "threadsLoaded", list: [other], after: null, append: true });
  assert.deepEqual(state.threads.list.map(({ id }) => id), ["thr_1", "thr_2"]);

  const renamed = reduce(state, { type: "threadRenamed", id: "thr_1", title: "New" });
  assert.equal(renamed.threads.list[0]?.title, "New");
  assert.equal(renamed.chat.thread?.title, "New");

  assert.equal(reduce(state, { type: "threadRemoved", id: "thr_2" }).chat.entries.length, 2);
  const removed = reduce(state, { type: "threadRemoved", id: "thr_1" });
  assert.deepEqual(removed.chat, INITIAL.chat);
  assert.deepEqual(removed.threads.list, [other]);
});
