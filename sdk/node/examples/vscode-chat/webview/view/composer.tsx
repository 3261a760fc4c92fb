// Where a message is written. Enter sends, Shift+Enter begins a line, Escape stops the answer.

import { useLayoutEffect, useRef } from "preact/hooks";

import type { Status } from "../../src/messages";
import type { Intents } from "./app";
import { Icon } from "./icon";

interface Props {
  draft: string;
  busy: boolean;
  /** Whether a message could be sent now. */
  ready: boolean;
  status: Status | null;
  intents: Intents;
}

export function Composer({ draft, busy, ready, status, intents }: Props) {
  const field = useRef<HTMLTextAreaElement>(null);
  // The side bar's focus is the composer's, whenever the composer appears.
  useLayoutEffect(() => field.current?.focus(), []);

  const send = () => {
    if (intents.send(draft)) field.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // While an input method composes, Enter is its own.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };
  return (
    <form
      class="composer"
      aria-label="New message"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={field}
        aria-label="Message"
        placeholder={placeholder(status)}
        rows={1}
        value={draft}
        onInput={(event) => intents.write(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div class="bar">
        {status && (
          <button
            type="button"
            class="provider"
            title="Choose who answers"
            onClick={() => intents.command("midplane.openSettings")}
          >
            <Icon name={status.provider === "echo" ? "megaphone" : "sparkle"} />
            <span>{status.provider === "echo" ? "Echo" : status.model}</span>
          </button>
        )}
        <span class="space" />
        {busy ? (
          <button type="button" class="round stop" aria-label="Stop" title="Stop (Escape)" onClick={intents.stop}>
            <Icon name="debug-stop" />
          </button>
        ) : (
          <button
            type="submit"
            class="round"
            aria-label="Send"
            title="Send (Enter)"
            disabled={!ready || draft.trim() === ""}
          >
            <Icon name="arrow-up" />
          </button>
        )}
      </div>
    </form>
  );
}

function placeholder(status: Status | null): string {
  if (!status || status.kernel.state === "starting") return "Starting…";
  if (status.kernel.state === "restarting") return "Restarting…";
  if (status.key === "absent") return "Set an API key to begin";
  return status.provider === "echo" ? "Say something" : "Ask anything";
}
