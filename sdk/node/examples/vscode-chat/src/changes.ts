// Follows what becomes of the user's threads, whichever window changed them: the chat module tells it at `GET /api/chat/changes`
// for as long as somebody listens.

import { EventSourceParserStream } from "eventsource-parser/stream";
import * as vscode from "vscode";

import { isAbort, messageOf } from "./failures";
import type { Change } from "./messages";

type Fetch = typeof globalThis.fetch;

const ROUTE = "/api/chat/changes";
/** Between attempts where the module is away; a reload takes less. */
const RETRY_MS = 500;
/** The longest pause: a kernel that is started again is there by then. */
const RETRY_MAX_MS = 4_000;

export class Changes implements vscode.Disposable {
  private readonly told = new vscode.EventEmitter<Change>();
  private following: AbortController | undefined;

  readonly onDidChange = this.told.event;

  constructor(
    private readonly fetch: Fetch,
    private readonly log: Pick<vscode.LogOutputChannel, "debug">,
  ) {}

  /** Until `unfollow`. What happened before is not told: the first change is always `ready`. */
  follow(): void {
    if (this.following) return;
    this.following = new AbortController();
    void this.run(this.following.signal);
  }

  unfollow(): void {
    this.following?.abort();
    this.following = undefined;
  }

  dispose(): void {
    this.unfollow();
    this.told.dispose();
  }

  private async run(signal: AbortSignal): Promise<void> {
    let pause = RETRY_MS;
    while (!signal.aborted) {
      try {
        if (await this.listen(signal)) pause = RETRY_MS;
      } catch (error) {
        if (!isAbort(error)) this.log.debug(`changes of threads are not followed: ${messageOf(error)}`);
      }
      await elapsed(pause, signal);
      pause = Math.min(pause * 2, RETRY_MAX_MS);
    }
  }

  /** Whether anything was told before the module or the kernel went. */
  private async listen(signal: AbortSignal): Promise<boolean> {
    const response = await this.fetch(ROUTE, { headers: { accept: "text/event-stream" }, signal });
    if (!response.ok || !response.body) {
      void response.body?.cancel();
      throw new Error(`status ${response.status}`);
    }
    const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
    let wasTold = false;
    for await (const { data } of events) {
      const change = JSON.parse(data) as Change | { type: "drained" };
      // The next generation of the module tells the rest.
      if (change.type === "drained") return true;
      wasTold = true;
      this.told.fire(change);
    }
    return wasTold;
  }
}

function elapsed(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
