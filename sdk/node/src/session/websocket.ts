/** WebSockets over the kernel's socket, with the session's token in a header of the handshake. */

import { Dispatcher, WebSocket } from "undici";

import { targetOf } from "./target.js";
import type { Tokens } from "./tokens.js";

export type { WebSocket };

/** Returns at once, as the standard constructor does; a token is had before the handshake. */
export function openWebSocket(tokens: Tokens, input: string | URL, protocols: string | readonly string[] | undefined): WebSocket {
  const url = targetOf(input);
  url.protocol = "ws:";
  return new WebSocket(url, {
    protocols: protocols === undefined ? [] : typeof protocols === "string" ? protocols : [...protocols],
    dispatcher: new SessionDispatcher(tokens),
  });
}

/** Sends each request to the kernel that there is then. */
class SessionDispatcher extends Dispatcher {
  readonly #tokens: Tokens;

  constructor(tokens: Tokens) {
    super();
    this.#tokens = tokens;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.#tokens.pass(undefined).then(
      ({ link, token }) => {
        const headers = headerPairs(options.headers);
        link.dispatcher.dispatch({ ...options, headers: { ...headers, authorization: `Bearer ${token}` } } as Parameters<typeof link.dispatcher.dispatch>[0], handler);
      },
      (reason: Error) => handler.onError?.(new TypeError("the WebSocket could not be opened", { cause: reason })),
    );
    return true;
  }
}

/** What `fetch` hands to a dispatcher is an object of texts. */
function headerPairs(headers: Dispatcher.DispatchOptions["headers"]): Record<string, string> {
  return Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, String(value)]));
}
