// Reads what a page posts, as if a stranger had posted it. Pure; what it lets through may be acted on without another look.

import { PAGE_COMMANDS, type FromPage } from "./messages";

/** Longer than an answer may be (1 MiB). */
const TEXT_CHARS_MAX = 1024 * 1024;
/** Longer than browsers' address bars take. */
const URL_CHARS_MAX = 8 * 1024;
/** As the page's links: nothing that runs or opens something here. */
const LINK = /^(https?:\/\/|mailto:)/i;

/** The message, or nothing if it is none: the relay's have a channel, and a page may post anything. */
export function readFromPage(message: unknown): FromPage | undefined {
  if (typeof message !== "object" || message === null || "channel" in message) return undefined;
  const { type, command, text, url } = message as Record<string, unknown>;
  switch (type) {
    case "ready":
    case "stop":
      return { type };
    case "command": {
      const known = PAGE_COMMANDS.find((known) => known === command);
      return known && { type, command: known };
    }
    case "copy":
      return typeof text === "string" && text.length <= TEXT_CHARS_MAX ? { type, text } : undefined;
    case "openLink":
      return typeof url === "string" && url.length <= URL_CHARS_MAX && LINK.test(url) ? { type, url } : undefined;
    default:
      return undefined;
  }
}
