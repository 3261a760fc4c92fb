// What the extension and its page say to each other besides the relay's fetch. Types only: both sides import this file.
// Everything from the page is a claim (security.md speaks of a page that was taken over): `chatView.ts` checks it.

/** What the extension tells of itself; the page shows it and decides nothing else from it. */
export interface Status {
  kernel: KernelStatus;
  provider: "echo" | "openai";
  /** As it is shown: the model's name, or whose default it is. */
  model: string;
  /** Where the provider is, without path; empty for OpenAI's own address. */
  host: string;
  key: "present" | "absent" | "unneeded";
}

export type KernelStatus =
  | { state: "starting" | "ready" | "restarting" | "stopped" }
  /** `reason` says what happened, `hint` what to do. */
  | { state: "failed"; reason: string; hint?: string };

/** Of the user's threads, in whichever window. `ready`: some may have been missed before. */
export type Change =
  | { type: "ready" }
  | { type: "thread.changed"; thread_id: string }
  | { type: "thread.deleted"; thread_id: string };

export type ToPage =
  | { type: "status"; status: Status }
  /** Whether an answer is still being written that a page asked for before it was hidden. */
  | { type: "unattended"; busy: boolean }
  | { type: "change"; change: Change }
  | { type: "newChat" }
  | { type: "showThreads" }
  /** Puts text into the message that is being written. */
  | { type: "quote"; text: string };

/**
 * The commands that a page may ask for: none takes an argument, none is destructive without asking. Nothing here writes into a
 * file or an editor: a page that was taken over would write what it likes.
 */
export const PAGE_COMMANDS = [
  "midplane.setKey",
  "midplane.replaceKey",
  "midplane.openSettings",
  "midplane.restartKernel",
  "midplane.showLog",
] as const;
export type PageCommand = (typeof PAGE_COMMANDS)[number];

export type FromPage =
  /** The page listens: it wants the status, and what was said before it was there. */
  | { type: "ready" }
  /** The user stopped the turn; a page that only goes away leaves it running. */
  | { type: "stop" }
  | { type: "command"; command: PageCommand }
  | { type: "openLink"; url: string }
  | { type: "copy"; text: string };
