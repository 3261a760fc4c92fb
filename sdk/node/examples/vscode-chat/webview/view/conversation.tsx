// The messages of the chat that is open, newest last. Stays at the end while the user is there, and nowhere else.

import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { isBusy, type Chat, type Entry } from "../state";
import type { Intents } from "./app";
import { Empty } from "./empty";
import { EntryView } from "./entry";
import { FailureCard } from "./failure";
import { Icon, IconButton } from "./icon";
import type { Status } from "../../src/messages";

/** A line or so: who is that near the end means to be at the end. */
const AT_END_PX = 32;

interface Props {
  chat: Chat;
  status: Status | null;
  intents: Intents;
}

export function Conversation({ chat, status, intents }: Props) {
  const log = useRef<HTMLDivElement>(null);
  const [atEnd, setAtEnd] = useState(true);
  const follows = useRef(true);

  const toEnd = () => {
    if (log.current) log.current.scrollTop = log.current.scrollHeight;
  };
  const onScroll = () => {
    const element = log.current;
    if (!element) return;
    follows.current = element.scrollHeight - element.scrollTop - element.clientHeight < AT_END_PX;
    setAtEnd(follows.current);
  };
  const questions = chat.entries.filter((entry) => entry.kind === "user").length;
  // One's own message is always worth seeing.
  useLayoutEffect(() => {
    follows.current = true;
    toEnd();
  }, [chat.thread?.id, questions]);
  useLayoutEffect(() => {
    if (follows.current) toEnd();
  }, [chat]);
  // The composer grows, a panel is dragged: the end stays in sight.
  useLayoutEffect(() => {
    const element = log.current;
    if (!element) return;
    const observer = new ResizeObserver(() => follows.current && toEnd());
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const isEmpty = chat.entries.length === 0 && chat.phase === "idle" && !chat.failure;
  const last = chat.entries.at(-1);
  const waits = chat.phase === "opening" || chat.phase === "waiting";
  return (
    <div class="conversation">
      <div class="log" role="log" aria-live="off" aria-label="Conversation" tabIndex={0} ref={log} onScroll={onScroll}>
        {chat.earlier && (
          <button type="button" class="link earlier" onClick={intents.showEarlier}>
            Show earlier messages
          </button>
        )}
        {isEmpty && <Empty status={status} intents={intents} />}
        {chat.entries.map((entry) => (
          <Slot
            key={entry.id}
            entry={entry}
            onRetry={entry === last && chat.phase === "idle" ? intents.retry : undefined}
            onCopy={intents.copy}
          />
        ))}
        {waits && (
          <p class="waiting">
            <Icon name="loading" spin />
            <span>{chat.phase === "opening" ? "Opening…" : (chat.progress ?? "Thinking…")}</span>
          </p>
        )}
        {last?.kind === "user" && chat.phase === "idle" && !chat.failure && (
          <p class="ending">
            <span>No answer yet.</span>
            <button type="button" class="link" onClick={intents.retry}>
              Retry
            </button>
          </p>
        )}
        {chat.failure && <FailureCard failure={chat.failure} intents={intents} />}
        {chat.notice && (
          <p class="notice">
            <Icon name="info" />
            <span>{chat.notice}</span>
          </p>
        )}
      </div>
      {!atEnd && (
        <IconButton
          icon="chevron-down"
          label={isBusy(chat) ? "Follow the answer" : "Go to the end"}
          class="to-end"
          onClick={toEnd}
        />
      )}
    </div>
  );
}

/** An entry that is the same object is not rendered again: a thread is long, and one entry of it grows. */
function Slot(props: { entry: Entry; onRetry: (() => void) | undefined; onCopy: (text: string) => void }) {
  return useMemo(() => <EntryView {...props} />, [props.entry, props.onRetry, props.onCopy]);
}
