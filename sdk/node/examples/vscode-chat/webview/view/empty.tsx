// The chat before the first message: what this is, what is missing, and what to press.

import type { Status } from "../../src/messages";
import type { Intents } from "./app";
import { Icon } from "./icon";

export function Empty({ status, intents }: { status: Status | null; intents: Intents }) {
  // What keeps the kernel from running is said above.
  if (!status || status.kernel.state === "failed" || status.kernel.state === "stopped") return null;
  return (
    <section class="empty">
      <div class="mark">
        <Icon name="comment-discussion" />
      </div>
      <Words status={status} intents={intents} />
      <ul class="keys" aria-label="Keys">
        <li>
          <kbd>Enter</kbd> sends
        </li>
        <li>
          <kbd>Shift</kbd>
          <kbd>Enter</kbd> new line
        </li>
        <li>
          <kbd>Esc</kbd> stops
        </li>
      </ul>
    </section>
  );
}

function Words({ status, intents }: { status: Status; intents: Intents }) {
  if (status.key === "absent") {
    return (
      <>
        <h2>No API key yet</h2>
        <p>
          {status.host ? `The provider at ${status.host}` : "OpenAI"} wants one. It is kept in VS Code&rsquo;s secret
          storage, and this page never sees it.
        </p>
        <div class="buttons">
          <button type="button" class="button" onClick={() => intents.command("midplane.setKey")}>
            Set API key
          </button>
          <button type="button" class="button secondary" onClick={() => intents.command("midplane.openSettings")}>
            Choose another provider
          </button>
        </div>
      </>
    );
  }
  if (status.provider === "echo") {
    return (
      <>
        <h2>Say something</h2>
        <p>The echo repeats your words, without network or key. Choose a model when you want answers.</p>
        <div class="buttons">
          <button type="button" class="button secondary" onClick={() => intents.command("midplane.openSettings")}>
            Choose a model
          </button>
        </div>
      </>
    );
  }
  return (
    <>
      <h2>What would you like to know?</h2>
      <p>
        {status.model} answers{status.host ? ` at ${status.host}` : ""}. Select code and choose{" "}
        <em>Ask About Selection</em> to bring it here.
      </p>
    </>
  );
}
