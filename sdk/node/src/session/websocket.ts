/** WebSockets over the kernel's socket, with the session's token in a header of the handshake. */

import { connect } from "node:net";

import { Dispatcher, WebSocket } from "undici";

import { ORIGIN } from "../kernel/link.js";
import { type FetchOptions, NOTICED_MS } from "./fetch.js";
import { targetOf } from "./target.js";
import type { Pass } from "./tokens.js";

export type { WebSocket };

/** Returns at once, as the standard constructor does; a token is had before the handshake. */
export function openWebSocket(options: FetchOptions, input: string | URL, protocols: string | readonly string[] | undefined): WebSocket {
  const url = targetOf(input);
  url.protocol = "ws:";
  return new WebSocket(url, {
    protocols: protocols === undefined ? [] : typeof protocols === "string" ? protocols : [...protocols],
    dispatcher: new SessionDispatcher(options),
  });
}

/** Sends each request to the kernel that there is then. */
class SessionDispatcher extends Dispatcher {
  readonly #options: FetchOptions;

  constructor(options: FetchOptions) {
    super();
    this.#options = options;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    passThatAnswers(this.#options).then(
      ({ link, token }) => {
        const headers = { ...headersOf(options), authorization: `Bearer ${token}` };
        link.dispatcher.dispatch({ ...options, origin: options.origin ?? ORIGIN, headers }, handler);
      },
      (reason: Error) => handler.onError?.(new TypeError("the WebSocket could not be opened", { cause: reason })),
    );
    return true;
  }
}

/** A handshake is not sent twice, so the kernel is knocked at first: it may have ended a moment ago. */
async function passThatAnswers({ tokens, after }: FetchOptions): Promise<Pass> {
  const pass = await tokens.pass(undefined);
  if (!(await takesConnections(pass.link.socketPath))) {
    await after(pass.link, NOTICED_MS);
    return tokens.pass(undefined);
  }
  return pass;
}

function takesConnections(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const knock = connect(socketPath);
    knock.once("connect", () => resolve(true)).once("error", () => resolve(false));
    knock.once("connect", () => knock.destroy());
  });
}

/** What `fetch` hands to a dispatcher is an object of texts. */
function headersOf({ headers }: Dispatcher.DispatchOptions): Record<string, string> {
  return Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, String(value)]));
}
