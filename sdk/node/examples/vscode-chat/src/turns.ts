// Keeps a turn alive when its page goes: VS Code ends a page that is hidden, and an answer under way should be there when
// the user comes back. Only the user's own stop ends a turn.

import * as vscode from "vscode";

type Fetch = typeof globalThis.fetch;

export class Turns implements vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly running = new Set<AbortController>();
  private unattended = 0;

  /** A turn began or ceased to run without a page. */
  readonly onDidChange = this.changed.event;

  constructor(private readonly inner: Fetch) {}

  /** Whether an answer is being written that no page reads. */
  get areUnattended(): boolean {
    return this.unattended > 0;
  }

  stop(): void {
    for (const turn of this.running) turn.abort();
  }

  dispose(): void {
    this.stop();
    this.changed.dispose();
  }

  /** As `inner`; but a streamed answer goes on when the caller aborts it. */
  readonly fetch: Fetch = async (input, init) => {
    const headers = new Headers(init?.headers);
    if (headers.get("accept") !== "text/event-stream") return this.inner(input, init);
    const turn = new AbortController();
    this.running.add(turn);
    try {
      const response = await this.inner(input, { ...init, signal: turn.signal });
      if (response.ok && response.body) return this.shared(response, response.body, turn, init?.signal ?? undefined);
      this.running.delete(turn);
      return response;
    } catch (error) {
      this.running.delete(turn);
      throw error;
    }
  };

  private shared(
    response: Response,
    body: ReadableStream<Uint8Array>,
    turn: AbortController,
    signal: AbortSignal | undefined,
  ): Response {
    const reader = body.getReader();
    let left = false;
    const leave = () => {
      if (left) return;
      left = true;
      void this.attend(reader, turn);
    };
    const copy = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const abort = () => {
          leave();
          controller.error(signal?.reason);
        };
        if (signal?.aborted) abort();
        else signal?.addEventListener("abort", abort, { once: true });
      },
      pull: async (controller) => {
        try {
          const { done, value } = await reader.read();
          if (left) return;
          if (!done) return controller.enqueue(value);
          left = true;
          controller.close();
        } catch (error) {
          if (left) return;
          left = true;
          controller.error(error);
        }
        this.running.delete(turn);
      },
      cancel: leave,
    });
    return new Response(copy, { status: response.status, statusText: response.statusText, headers: response.headers });
  }

  /** Reads the rest in the page's place, so that the module goes on writing. */
  private async attend(reader: ReadableStreamDefaultReader<Uint8Array>, turn: AbortController): Promise<void> {
    if (turn.signal.aborted) return void this.running.delete(turn);
    this.unattended++;
    this.changed.fire();
    try {
      while (!(await reader.read()).done);
    } catch {
      // The turn was stopped, or its kernel ended: the thread has what was kept of it.
    }
    this.running.delete(turn);
    this.unattended--;
    this.changed.fire();
  }
}
