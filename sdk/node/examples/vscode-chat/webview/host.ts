// The page's end of its wire to the extension: messages, and the state that VS Code keeps for it while it is hidden.

import type { FromPage, ToPage } from "../src/messages";

/** What `acquireVsCodeApi()` gives; it may be called once. */
export interface VsCode {
  postMessage(message: unknown): void;
  getState(): unknown;
  setState(state: unknown): void;
}

/** What is kept while the page is hidden: enough to fetch the rest again. */
export interface Kept {
  thread: { id: string; title: string | null } | null;
  draft: string;
}

export class Host {
  constructor(private readonly vscode: VsCode) {}

  post(message: FromPage): void {
    this.vscode.postMessage(message);
  }

  onMessage(listener: (message: ToPage) => void): void {
    window.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
      if (isToPage(data)) listener(data);
    });
  }

  get kept(): Kept {
    const kept = this.vscode.getState() as Partial<Kept> | null | undefined;
    return { thread: kept?.thread ?? null, draft: kept?.draft ?? "" };
  }

  keep(change: Partial<Kept>): void {
    this.vscode.setState({ ...this.kept, ...change });
  }
}

const OURS: readonly ToPage["type"][] = ["status", "unattended", "change", "newChat", "showThreads", "quote"];

/** The relay's messages come the same way. */
function isToPage(message: unknown): message is ToPage {
  if (typeof message !== "object" || message === null || "channel" in message) return false;
  const { type } = message as { type?: unknown };
  return OURS.some((ours) => ours === type);
}
