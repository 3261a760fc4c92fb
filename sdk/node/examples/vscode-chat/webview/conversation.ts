// What the user does, carried out: each method is one intent, does its requests and tells the store what came of them.

import type { Change } from "../src/messages";
import type { ChatKit } from "./api";
import { userInput, type StreamingRequest, type Thread } from "./chatkit";
import { BrokenOff, ofError, type Failure } from "./failure";
import { canSend, isBusy, lastQuestion, nameOf, type Action, type State } from "./state";

interface Model {
  readonly state: State;
  dispatch(action: Action): void;
}

const THREAD_LOST = "The messages above were deleted, so this goes on as a new chat.";

export class Conversation {
  /** The turn or the fetch that the screen waits for; a newer one aborts it. */
  private current: AbortController | null = null;
  private sent = 0;
  /** An answer that an earlier page asked for is still being written. */
  private unattended = false;
  /** The newest of each counts. */
  private refreshes = 0;
  private listings = 0;

  /** `onStop` tells the extension that a turn is not wanted any more. */
  constructor(
    private readonly api: ChatKit,
    private readonly model: Model,
    private readonly onStop: () => void,
  ) {}

  /** False if nothing can be sent as things are; the caller keeps the text. */
  send(text: string): boolean {
    if (text.trim() === "" || !canSend(this.model.state)) return false;
    void this.say(`unsent-${++this.sent}`, text);
    return true;
  }

  /** The last message's turn again, in place of the answer it had. */
  retry(): void {
    if (!canSend(this.model.state)) return;
    const { thread } = this.model.state.chat;
    const question = lastQuestion(this.model.state.chat);
    if (!question) return;
    if (question.unsent || !thread) {
      void this.say(question.id, question.text);
      return;
    }
    this.model.dispatch({ type: "retried", after: question.id });
    const params = { thread_id: thread.id, item_id: question.id };
    void this.turn({ type: "threads.retry_after_item", params }, () => this.say(question.id, question.text));
  }

  stop(): void {
    if (!isBusy(this.model.state.chat)) return;
    this.onStop();
    this.abort();
    this.model.dispatch({ type: "stopped" });
    this.name();
  }

  /** While an answer is written that no page streams, its thread waits; then it is fetched. */
  attend(busy: boolean): void {
    const { chat } = this.model.state;
    const wasBusy = this.unattended;
    this.unattended = busy;
    if (!chat.thread || this.current !== null) return;
    if (busy) this.model.dispatch({ type: "unattended" });
    else if (wasBusy) void this.open(chat.thread, "newChat");
  }

  /** Something was kept, perhaps by another window. What this page's own turn keeps, it has seen already. */
  follow(change: Change): void {
    const { chat, threads } = this.model.state;
    if (threads.phase === "ready" || threads.phase === "failed") void this.refreshThreads();
    if (!chat.thread) return;
    if (change.type === "ready") return void this.refresh();
    if (change.thread_id !== chat.thread.id) return;
    if (change.type === "thread.changed") return void this.refresh();
    this.stop();
    this.abort();
    this.model.dispatch({ type: "threadRemoved", id: change.thread_id });
  }

  newChat(): void {
    this.stop();
    this.abort();
    this.model.dispatch({ type: "newChat" });
  }

  /** `ifGone`: what to show when the thread is no longer there. */
  async open(thread: { id: string; title: string | null }, ifGone: "failure" | "newChat" = "failure"): Promise<void> {
    this.stop();
    const { signal } = this.begin();
    this.model.dispatch({ type: "opening", id: thread.id, title: thread.title });
    try {
      const [opened, items] = await Promise.all([this.api.thread(thread.id), this.api.items(thread.id)]);
      if (signal.aborted) return;
      this.model.dispatch({ type: "opened", thread: opened, newestFirst: items.data, earlier: cursor(items) });
      this.current = null;
      if (this.unattended) this.model.dispatch({ type: "unattended" });
    } catch (error) {
      if (signal.aborted) return;
      const failure = ofError(error);
      const isGone = failure.kind === "thread_gone" && ifGone === "newChat";
      this.model.dispatch(isGone ? { type: "newChat" } : { type: "failed", failure });
    }
  }

  async showEarlier(): Promise<void> {
    const { thread, earlier } = this.model.state.chat;
    if (!thread || !earlier) return;
    try {
      const items = await this.api.items(thread.id, earlier);
      const now = this.model.state.chat;
      if (now.thread?.id !== thread.id || now.earlier !== earlier) return;
      this.model.dispatch({ type: "earlier", newestFirst: items.data, earlier: cursor(items) });
    } catch (error) {
      this.model.dispatch({ type: "failed", failure: ofError(error) });
    }
  }

  showThreads(): void {
    this.model.dispatch({ type: "screen", screen: "threads" });
    void this.listThreads();
  }

  showChat(): void {
    this.model.dispatch({ type: "screen", screen: "chat" });
  }

  async listThreads(after?: string): Promise<void> {
    this.model.dispatch({ type: "threadsLoading" });
    try {
      const page = await this.api.threads(after);
      const append = after !== undefined;
      this.model.dispatch({ type: "threadsLoaded", list: page.data, after: cursor(page), append });
    } catch (error) {
      this.model.dispatch({ type: "threadsFailed", failure: ofError(error) });
    }
  }

  async rename(thread: Thread, title: string): Promise<void> {
    const text = title.trim();
    if (text === "" || text === thread.title) return;
    await this.change(() => this.api.rename(thread.id, text), { type: "threadRenamed", id: thread.id, title: text });
  }

  async delete(thread: Thread): Promise<void> {
    if (this.model.state.chat.thread?.id === thread.id) this.stop();
    await this.change(() => this.api.delete(thread.id), { type: "threadRemoved", id: thread.id });
  }

  /** The open thread as it is kept now; not while this page writes it, and not over what the user did meanwhile. */
  private async refresh(): Promise<void> {
    const { thread } = this.model.state.chat;
    if (!thread || this.current !== null) return;
    const refreshing = ++this.refreshes;
    const isOver = () => refreshing !== this.refreshes || this.current !== null || this.model.state.chat.thread?.id !== thread.id;
    try {
      const [kept, items] = await Promise.all([this.api.thread(thread.id), this.api.items(thread.id)]);
      if (isOver()) return;
      this.model.dispatch({ type: "refreshed", thread: kept, newestFirst: items.data, earlier: cursor(items) });
    } catch (error) {
      if (isOver() || ofError(error).kind !== "thread_gone") return;
      this.model.dispatch({ type: "threadRemoved", id: thread.id });
    }
  }

  /** As many as are shown, without a word where that fails: the list stays as it was. */
  private async refreshThreads(): Promise<void> {
    const refreshing = ++this.listings;
    try {
      const page = await this.api.threads();
      if (refreshing === this.listings) this.model.dispatch({ type: "threadsRefreshed", list: page.data, after: cursor(page) });
    } catch {
      // The next change asks again.
    }
  }

  private async change(request: () => Promise<unknown>, done: Action): Promise<void> {
    try {
      await request();
    } catch (error) {
      const failure = ofError(error);
      // What somebody else deleted is gone all the same.
      if (failure.kind !== "thread_gone") return this.model.dispatch({ type: "threadsFailed", failure });
      if (done.type !== "threadRemoved") return void this.listThreads();
    }
    this.model.dispatch(done);
  }

  private say(id: string, text: string): Promise<void> {
    this.model.dispatch({ type: "sent", id, text });
    const input = userInput(text);
    const { thread } = this.model.state.chat;
    if (!thread) return this.turn({ type: "threads.create", params: { input } });
    const request: StreamingRequest = { type: "threads.add_user_message", params: { thread_id: thread.id, input } };
    return this.turn(request, () => this.say(id, text));
  }

  /** One turn. `inNewThread` says the same in a new thread: the old one may have died with the kernel. */
  private async turn(request: StreamingRequest, inNewThread?: () => Promise<void>): Promise<void> {
    const { signal } = this.begin();
    try {
      for await (const event of this.api.stream(request, signal)) {
        // The events of a stopped turn that were under way are not this chat's any more.
        if (signal.aborted) return;
        this.model.dispatch({ type: "event", event });
      }
      if (signal.aborted) return;
      this.current = null;
      if (!isAnswered(this.model.state)) throw new BrokenOff();
      this.model.dispatch({ type: "ended" });
    } catch (error) {
      if (signal.aborted) return;
      const failure: Failure = ofError(error);
      if (failure.kind !== "thread_gone" || !inNewThread) return this.model.dispatch({ type: "failed", failure });
      this.model.dispatch({ type: "threadLost", notice: THREAD_LOST });
      await inNewThread();
      this.model.dispatch({ type: "event", event: { type: "notice", level: "info", message: THREAD_LOST } });
    }
  }

  /** The chat module gives a thread its title when a first answer is complete; one that was stopped needs one as well. */
  private name(): void {
    const { chat } = this.model.state;
    const title = nameOf(chat);
    if (!chat.thread || chat.thread.title || title === null) return;
    const { id } = chat.thread;
    this.api.rename(id, title).then(
      () => this.model.dispatch({ type: "threadRenamed", id, title }),
      // Then it is listed without one.
      () => undefined,
    );
  }

  private begin(): AbortController {
    this.abort();
    this.current = new AbortController();
    return this.current;
  }

  private abort(): void {
    this.current?.abort();
    this.current = null;
  }
}

/** An `error` event has ended the turn, or something of an answer stands behind the question. */
function isAnswered({ chat }: State): boolean {
  return chat.phase === "idle" || chat.entries.at(-1)?.kind !== "user";
}

function cursor(page: { has_more: boolean; after?: string | null }): string | null {
  return page.has_more ? (page.after ?? null) : null;
}
