// The list of chats. Arrows, Home and End move in it, Enter opens, F2 renames, Delete deletes after asking.

import { useLayoutEffect, useRef, useState } from "preact/hooks";

import type { Thread } from "../chatkit";
import type { ThreadList } from "../state";
import { age } from "../time";
import type { Intents } from "./app";
import { FailureCard } from "./failure";
import { Icon, IconButton } from "./icon";

interface Props {
  threads: ThreadList;
  /** The chat that is open. */
  open: string | null;
  intents: Intents;
}

/** At most one row is being changed. */
type Edit = { id: string; what: "rename" | "delete" } | null;

export function Threads({ threads, open, intents }: Props) {
  const list = useRef<HTMLUListElement>(null);
  const [focused, setFocused] = useState<string | null>(open);
  const [edit, setEdit] = useState<Edit>(null);
  const now = new Date();
  // One row is reached by Tab; it may have been deleted.
  const reached = threads.list.some(({ id }) => id === focused) ? focused : (threads.list[0]?.id ?? null);

  const focusRow = (id: string | null) =>
    list.current?.querySelector<HTMLElement>(`[data-thread="${CSS.escape(id ?? "")}"]`)?.focus();
  const isThere = threads.list.length > 0;
  // With the list, and not a moment after it: the next key may be there already.
  useLayoutEffect(() => {
    if (isThere) focusRow(reached);
  }, [isThere]);
  // What was changed in a row had the focus, and is gone.
  const leaves = useRef<string | null>(null);
  useLayoutEffect(() => {
    if (edit || leaves.current === null) return;
    focusRow(leaves.current);
    leaves.current = null;
  }, [edit]);

  const onKeyDown = (event: KeyboardEvent) => {
    const thread = threads.list.find(({ id }) => id === (event.target as HTMLElement).dataset["thread"]);
    if (!thread) return;
    const index = threads.list.indexOf(thread);
    const target = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: threads.list.length - 1 }[event.key];
    if (target !== undefined) focusRow(threads.list[target]?.id ?? thread.id);
    else if (event.key === "F2") setEdit({ id: thread.id, what: "rename" });
    else if (event.key === "Delete") setEdit({ id: thread.id, what: "delete" });
    else return;
    event.preventDefault();
  };
  const close = (id: string | null) => {
    setEdit(null);
    setFocused(id);
    leaves.current = id;
  };

  if (threads.phase === "failed" && threads.failure) {
    const retry = { ...intents, retry: () => intents.listThreads() };
    return (
      <div class="threads">
        <FailureCard failure={threads.failure} intents={retry} />
      </div>
    );
  }
  if (!isThere) {
    return (
      <div class="threads">
        {threads.phase === "loading" ? (
          <p class="waiting">
            <Icon name="loading" spin />
            <span>Loading…</span>
          </p>
        ) : (
          <section class="empty">
            <div class="mark">
              <Icon name="history" />
            </div>
            <h2>No chats yet</h2>
            <p>What you talk about is listed here.</p>
            <div class="buttons">
              <button type="button" class="button" onClick={intents.newChat}>
                Start a chat
              </button>
            </div>
          </section>
        )}
      </div>
    );
  }
  return (
    <div class="threads">
      <ul aria-label="Threads" ref={list} onKeyDown={onKeyDown}>
        {threads.list.map((thread, index) => (
          <li key={thread.id} class={`row ${thread.id === open ? "open" : ""}`}>
            {edit?.id !== thread.id ? (
              <Row
                thread={thread}
                now={now}
                isOpen={thread.id === open}
                isReached={thread.id === reached}
                onFocus={() => setFocused(thread.id)}
                onOpen={() => intents.openThread(thread)}
                onEdit={(what) => setEdit({ id: thread.id, what })}
              />
            ) : edit.what === "rename" ? (
              <Rename
                thread={thread}
                onDone={(title) => {
                  close(thread.id);
                  if (title !== null) intents.renameThread(thread, title);
                }}
              />
            ) : (
              <Delete
                thread={thread}
                onKeep={() => close(thread.id)}
                onDelete={() => {
                  close((threads.list[index + 1] ?? threads.list[index - 1])?.id ?? null);
                  intents.deleteThread(thread);
                }}
              />
            )}
          </li>
        ))}
      </ul>
      {threads.after && (
        <button
          type="button"
          class="link earlier"
          disabled={threads.phase === "loading"}
          onClick={() => intents.listThreads(threads.after ?? undefined)}
        >
          Show more
        </button>
      )}
    </div>
  );
}

interface RowProps {
  thread: Thread;
  now: Date;
  isOpen: boolean;
  isReached: boolean;
  onFocus: () => void;
  onOpen: () => void;
  onEdit: (what: "rename" | "delete") => void;
}

function Row({ thread, now, isOpen, isReached, onFocus, onOpen, onEdit }: RowProps) {
  const title = titleOf(thread);
  const tab = isReached ? 0 : -1;
  return (
    <>
      <button
        type="button"
        class="thread"
        data-thread={thread.id}
        tabIndex={tab}
        aria-current={isOpen ? "true" : undefined}
        onFocus={onFocus}
        onClick={onOpen}
      >
        <span class="title">{title}</span>
        <span class="age">{age(thread.created_at, now)}</span>
      </button>
      <div class="row-actions">
        <IconButton icon="edit" label={`Rename ${title}`} onClick={() => onEdit("rename")} />
        <IconButton icon="trash" label={`Delete ${title}`} onClick={() => onEdit("delete")} />
      </div>
    </>
  );
}

function Rename({ thread, onDone }: { thread: Thread; onDone: (title: string | null) => void }) {
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.stopPropagation();
    // Or Enter would open the row, which has the focus next.
    event.preventDefault();
    onDone(event.key === "Enter" ? (field.current?.value ?? null) : null);
  };
  return (
    <input
      ref={field}
      class="rename"
      aria-label="Name of the chat"
      defaultValue={thread.title ?? ""}
      onKeyDown={onKeyDown}
      onBlur={() => onDone(null)}
    />
  );
}

function Delete({ thread, onDelete, onKeep }: { thread: Thread; onDelete: () => void; onKeep: () => void }) {
  const yes = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => yes.current?.focus(), []);
  return (
    <div
      class="confirm"
      role="group"
      aria-label={`Delete ${titleOf(thread)}?`}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        onKeep();
      }}
    >
      <span class="title">Delete?</span>
      <button type="button" class="button small" ref={yes} onClick={onDelete}>
        Delete
      </button>
      <button type="button" class="button secondary small" onClick={onKeep}>
        Keep
      </button>
    </div>
  );
}

function titleOf(thread: Thread): string {
  return thread.title || "Untitled chat";
}
