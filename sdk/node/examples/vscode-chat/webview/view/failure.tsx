// What went wrong, and the buttons that mend it.

import { titleOf, type Failure } from "../failure";
import type { Intents } from "./app";
import { Icon } from "./icon";
import { Markdown } from "./markdown";

export function FailureCard({ failure, intents }: { failure: Failure; intents: Intents }) {
  const { kind } = failure;
  return (
    <section class="card failure" role="alert">
      <h2>
        <Icon name={kind === "key_missing" ? "key" : "error"} />
        <span>{titleOf(failure)}</span>
      </h2>
      <Markdown text={failure.message} open={false} />
      <div class="buttons">
        {kind === "key_missing" && (
          <button type="button" class="button" onClick={() => intents.command("midplane.setKey")}>
            Set API key
          </button>
        )}
        {kind === "key_refused" && (
          <button type="button" class="button" onClick={() => intents.command("midplane.replaceKey")}>
            Replace key
          </button>
        )}
        {failure.retry && kind !== "thread_gone" && (
          <button type="button" class={kind.startsWith("key") ? "button secondary" : "button"} onClick={intents.retry}>
            Retry
          </button>
        )}
        {kind === "thread_gone" && (
          <button type="button" class="button" onClick={intents.newChat}>
            Start a new chat
          </button>
        )}
        {(kind === "settings" || kind === "unreachable") && (
          <button type="button" class="button secondary" onClick={() => intents.command("midplane.openSettings")}>
            Open settings
          </button>
        )}
        {(kind === "kernel" || kind === "module") && (
          <button type="button" class="button secondary" onClick={() => intents.command("midplane.showLog")}>
            Show log
          </button>
        )}
      </div>
    </section>
  );
}
