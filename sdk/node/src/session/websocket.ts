/** WebSockets over the kernel's socket, with the session's token in a header of the handshake. */

import { Dispatcher, WebSocket } from "undici";

import { ORIGIN } from "../kernel/link.js";
import { type FetchOptions, NOTICED_MS, mayHaveEnded } from "./fetch.js";
import { targetOf } from "./target.js";

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

/** Sends a handshake to the kernel that there is then, and once more when that one ends of a sudden: a handshake is a GET. */
class SessionDispatcher extends Dispatcher {
  readonly #options: FetchOptions;

  constructor(options: FetchOptions) {
    super();
    this.#options = options;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    void this.#send(options, handler, true);
    return true;
  }

  async #send(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler, again: boolean): Promise<void> {
    const { tokens, after } = this.#options;
    try {
      const { link, token } = await tokens.pass(undefined);
      const headers = { ...headersOf(options), authorization: `Bearer ${token}` };
      const failed = async (error: Error): Promise<void> => {
        const other = await after(link, NOTICED_MS).catch(() => undefined);
        return other === undefined ? handler.onError?.(error) : this.#send(options, handler, false);
      };
      const heard = again ? unlessCut(handler, failed) : handler;
      link.dispatcher.dispatch({ ...options, origin: options.origin ?? ORIGIN, headers }, heard);
    } catch (cause) {
      handler.onError?.(new TypeError("the WebSocket could not be opened", { cause }));
    }
  }
}

const ANSWERED: readonly (string | symbol)[] = ["onHeaders", "onUpgrade", "onRequestUpgrade"];

/** The same handler, but that `failed` hears of a connection that ended before there was an answer. */
function unlessCut(handler: Dispatcher.DispatchHandler, failed: (error: Error) => Promise<void>): Dispatcher.DispatchHandler {
  let answered = false;
  return new Proxy(handler, {
    get(target, name): unknown {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== "function") {
        return method;
      }
      return (...args: readonly unknown[]): unknown => {
        answered ||= ANSWERED.includes(name);
        const [error] = args;
        return name === "onError" && !answered && error instanceof Error && mayHaveEnded(error)
          ? void failed(error)
          : Reflect.apply(method, target, args);
      };
    },
  });
}

/** What `fetch` hands to a dispatcher is an object of texts. */
function headersOf({ headers }: Dispatcher.DispatchOptions): Record<string, string> {
  return Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, String(value)]));
}
