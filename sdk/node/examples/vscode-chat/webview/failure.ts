// What went wrong, as the page shows it: a title, a sentence, and what can be done about it. The only place that knows
// the codes and words of the kernel and of the chat module.

import { inSettings } from "../src/words";

export interface Failure {
  kind: "key_missing" | "key_refused" | "unreachable" | "settings" | "thread_gone" | "module" | "kernel" | "other";
  message: string;
  /** Whether the same request may succeed, at once or after something was mended. */
  retry: boolean;
}

/** The body of a problem (RFC 9457), as far as it is used here. */
export interface Problem {
  status?: number;
  code?: string;
  detail?: string;
  title?: string;
}

/** A request that was refused: the status is 400 or above. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.detail ?? problem.title ?? `the chat module refused the request (status ${status})`);
  }
}

/** A stream that ended before the turn was over. */
export class BrokenOff extends Error {
  constructor() {
    super("the answer broke off");
  }
}

const OF_CODE: Record<string, Failure["kind"]> = {
  secret_not_found: "key_missing",
  secret_denied: "key_missing",
  secret_rejected: "key_refused",
  thread_not_found: "thread_gone",
  item_not_found: "thread_gone",
  module_crashed: "module",
  module_restarting: "module",
  module_failed: "module",
  module_unavailable: "module",
  module_not_found: "module",
  module_not_loaded: "module",
  host_unavailable: "kernel",
  host_timeout: "kernel",
  kernel_failed: "kernel",
  module_refused: "settings",
};

export function ofError(error: unknown): Failure {
  if (error instanceof Refused) {
    const kind = OF_CODE[error.problem.code ?? ""] ?? "other";
    // Of the statuses below 500 these alone may pass by themselves (RFC 9110, sections 15.5.9 and 15.6; RFC 6585, section 4).
    const passes = error.status >= 500 || error.status === 408 || error.status === 429;
    return { kind, message: sentence(error.message), retry: passes || kind !== "other" };
  }
  if (error instanceof BrokenOff) {
    return { kind: "kernel", message: "The answer broke off before it was complete.", retry: true };
  }
  return { kind: "kernel", message: "The connection to Midplane was lost.", retry: true };
}

/** An `error` event. Its code is always `custom`, so the words decide which button stands beside them. */
export function ofErrorEvent(message: string | null | undefined, allowRetry: boolean): Failure {
  const text = message?.trim() || "The turn failed.";
  return { kind: kindOfWords(text), message: sentence(inSettings(text)), retry: allowRetry };
}

function kindOfWords(text: string): Failure["kind"] {
  if (/API key could not be had/i.test(text)) return "key_missing";
  if (/refused the API key|status 401|status 403/i.test(text)) return "key_refused";
  if (/cannot be reached/i.test(text)) return "unreachable";
  if (/`(base_url|model|api)`/.test(text)) return "settings";
  return "other";
}

/** The kernel's messages begin in lower case and have no full stop; a person reads sentences. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  const ended = /[.!?…]$/.test(trimmed) ? trimmed : `${trimmed}.`;
  return ended.charAt(0).toUpperCase() + ended.slice(1);
}

export function titleOf(failure: Failure): string {
  switch (failure.kind) {
    case "key_missing":
      return "No API key";
    case "key_refused":
      return "The API key was refused";
    case "unreachable":
      return "The provider cannot be reached";
    case "settings":
      return "The settings do not fit the provider";
    case "thread_gone":
      return "This chat is no longer there";
    case "module":
      return "The chat module stopped";
    case "kernel":
      return "The answer was interrupted";
    case "other":
      return "That did not work";
  }
}
