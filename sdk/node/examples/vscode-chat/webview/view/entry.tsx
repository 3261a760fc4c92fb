// One entry of a conversation: a question, an answer, what the model thought.

import { useState } from "preact/hooks";

import type { Entry } from "../state";
import { Icon, IconButton } from "./icon";
import { Markdown } from "./markdown";

interface Props {
  entry: Entry;
  /** Absent where the turn cannot be repeated. */
  onRetry?: (() => void) | undefined;
  onCopy: (text: string) => void;
}

export function EntryView({ entry, onRetry, onCopy }: Props) {
  switch (entry.kind) {
    case "user":
      return (
        <article class="entry user" aria-label="You" data-id={entry.id}>
          <div class="bubble">
            <Markdown text={entry.text} open={false} />
          </div>
        </article>
      );
    case "assistant":
      return <Answer entry={entry} onRetry={onRetry} onCopy={onCopy} />;
    case "thoughts":
      return <Thoughts entry={entry} />;
    case "other":
      return <p class="entry note">The answer holds {entry.what}, which this view does not show.</p>;
  }
}

function Answer({ entry, onRetry, onCopy }: Props & { entry: Extract<Entry, { kind: "assistant" }> }) {
  const open = entry.ending === "open";
  return (
    <article class={`entry assistant ${entry.ending}`} aria-label="Answer" aria-busy={open} data-id={entry.id}>
      {entry.parts.map((text, index) => (
        <Markdown key={index} text={text} open={open} />
      ))}
      {entry.ending === "stopped" && <p class="ending">Stopped</p>}
      {!open && entry.ending !== "failed" && (
        <div class="actions">
          <CopyButton text={entry.parts.join("\n\n")} onCopy={onCopy} />
          {onRetry && <IconButton icon="refresh" label="Retry" onClick={onRetry} />}
        </div>
      )}
    </article>
  );
}

/** Long enough to be seen. */
const COPIED_SHOWN_MS = 1_500;

function CopyButton({ text, onCopy }: { text: string; onCopy: (text: string) => void }) {
  const [copied, setCopied] = useState(false);
  const copy = () => {
    onCopy(text);
    setCopied(true);
    setTimeout(() => setCopied(false), COPIED_SHOWN_MS);
  };
  return <IconButton icon={copied ? "check" : "copy"} label={copied ? "Copied" : "Copy answer"} onClick={copy} />;
}

function Thoughts({ entry }: { entry: Extract<Entry, { kind: "thoughts" }> }) {
  const label = entry.open
    ? "Thinking…"
    : entry.duration_s === null
      ? "Thoughts"
      : `Thought for ${entry.duration_s} ${entry.duration_s === 1 ? "second" : "seconds"}`;
  return (
    <details class="entry thoughts">
      <summary>
        <Icon name={entry.open ? "loading" : "sparkle"} spin={entry.open} />
        <span>{label}</span>
        <Icon name="chevron-right" />
      </summary>
      {entry.thoughts.map((text, index) => (
        <Markdown key={index} text={text} open={entry.open} />
      ))}
    </details>
  );
}
