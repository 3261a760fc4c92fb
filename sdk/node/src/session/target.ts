/** What a session's `fetch` and `webSocket` may be pointed at: paths of the kernel. */

import { ORIGIN } from "../kernel/link.js";

/** The URL of a path such as `/api/chat/threads`, or of a URL of the kernel's. Throws a TypeError, as `fetch` does for what it cannot reach. */
export function targetOf(input: string | URL): URL {
  const text = typeof input === "string" ? input : input.href;
  let url: URL;
  try {
    url = new URL(text, ORIGIN);
  } catch (cause) {
    throw new TypeError(`Failed to parse URL from ${text}`, { cause });
  }
  // One origin, so that nobody's token is asked for elsewhere. `ws:` is what a WebSocket's URL says.
  const schemes = ["http:", "ws:"];
  if (!schemes.includes(url.protocol) || url.host !== "localhost") {
    throw new TypeError(`this fetch reaches the kernel only: a path, or ${ORIGIN}/…, and not ${url.origin === "null" ? url.protocol : url.origin}`);
  }
  return url;
}
