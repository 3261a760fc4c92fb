// The page as a whole: a header, then the chat with its composer, or the list of chats.

import { useLayoutEffect, useRef, useState } from "preact/hooks";

import type { PageCommand, Status } from "../../src/messages";
import type { Thread } from "../chatkit";
import { sentence } from "../failure";
import { canSend, isBusy, nameOf, type Chat, type State } from "../state";
import { Composer } from "./composer";
import { Conversation } from "./conversation";
import { Icon, IconButton } from "./icon";
import { Threads } from "./threads";

/** What the user can do. The functions are the same ones in every rendering. */
export interface Intents {
  send(text: string): boolean;
  write(draft: string): void;
  stop(): void;
  retry(): void;
  newChat(): void;
  showThreads(): void;
  showChat(): void;
  showEarlier(): void;
  openThread(thread: Thread): void;
  renameThread(thread: Thread, title: string): void;
  deleteThread(thread: Thread): void;
  listThreads(after?: string): void;
  copy(text: string): void;
  command(command: PageCommand): void;
}

export function App({ state, draft, intents }: { state: State; draft: string; intents: Intents }) {
  const { chat, status } = state;
  return (
    <>
      <Header state={state} intents={intents} />
      <KernelBanner status={status} intents={intents} />
      {state.screen === "threads" ? (
        <main>
          <Threads threads={state.threads} open={chat.thread?.id ?? null} intents={intents} />
        </main>
      ) : (
        <main>
          <Conversation chat={chat} status={status} intents={intents} />
          <Composer draft={draft} busy={isBusy(chat)} ready={canSend(state)} status={status} intents={intents} />
        </main>
      )}
      <Announcer chat={chat} />
    </>
  );
}

function Header({ state, intents }: { state: State; intents: Intents }) {
  const inThreads = state.screen === "threads";
  const title = inThreads ? "Threads" : (nameOf(state.chat) ?? "New chat");
  return (
    <header>
      {inThreads && <IconButton icon="arrow-left" label="Back to the chat" onClick={intents.showChat} />}
      <h1 title={title}>{title}</h1>
      <IconButton icon="add" label="New chat" onClick={intents.newChat} />
      {!inThreads && <IconButton icon="history" label="Threads" onClick={intents.showThreads} />}
    </header>
  );
}

function KernelBanner({ status, intents }: { status: Status | null; intents: Intents }) {
  const kernel = status?.kernel;
  if (kernel?.state === "restarting") {
    return (
      <p class="banner" role="status">
        <Icon name="loading" spin />
        <span>Midplane is restarting. The chat goes on when it is back.</span>
      </p>
    );
  }
  if (kernel?.state !== "failed" && kernel?.state !== "stopped") return null;
  return (
    <section class="card failure top" role="alert">
      <h2>
        <Icon name="error" />
        <span>Midplane is not running</span>
      </h2>
      {kernel.state === "failed" && <p>{sentence(kernel.reason)}</p>}
      {kernel.state === "failed" && kernel.hint && <p>{sentence(kernel.hint)}</p>}
      <div class="buttons">
        <button type="button" class="button" onClick={() => intents.command("midplane.restartKernel")}>
          Start again
        </button>
        <button type="button" class="button secondary" onClick={() => intents.command("midplane.showLog")}>
          Show log
        </button>
      </div>
    </section>
  );
}

/** A long answer is read in the log; the announcement only says how it begins. */
const ANNOUNCED_CHARS_MAX = 400;

/** Tells a screen reader what a glance at the page would tell: once when an answer begins, once when it ends. */
function Announcer({ chat }: { chat: Chat }) {
  const [text, setText] = useState("");
  const was = useRef(chat.phase);
  useLayoutEffect(() => {
    const before = was.current;
    was.current = chat.phase;
    if (chat.phase === "waiting" && before === "idle") setText("Waiting for the answer.");
    if (chat.phase === "idle" && (before === "waiting" || before === "answering")) setText(endOf(chat));
  }, [chat.phase]);
  return (
    <div class="unseen" role="status" aria-live="polite">
      {text}
    </div>
  );
}

function endOf(chat: Chat): string {
  // An alert announces itself.
  if (chat.failure) return "";
  const last = chat.entries.at(-1);
  if (last?.kind !== "assistant") return "Stopped.";
  const words = last.parts.join(" ").slice(0, ANNOUNCED_CHARS_MAX);
  return last.ending === "stopped" ? `Stopped. ${words}` : `Answer: ${words}`;
}
