/** Attaches to a kernel that somebody else started, over its socket. */

import { Bridge, type BridgeHost } from "../bridge/bridge.js";
import { upgrade } from "../bridge/upgrade.js";
import { untilAborted } from "../deadline.js";
import { MidplaneError } from "../errors.js";
import type { AttachOptions } from "../options.js";
import type { Carrier, Opened } from "./carrier.js";
import { Link } from "./link.js";

/** A kernel whose socket serves says `ready` at once. */
const READY_MS = 10_000;

export class AttachedKernels implements Carrier {
  readonly #socket: string;
  readonly #hostKey: () => string | PromiseLike<string>;
  readonly #host: BridgeHost;
  /** Whether a refused key may be another one next time. */
  readonly #asksAgain: boolean;

  constructor(options: Pick<AttachOptions, "socket" | "hostKey">, host: BridgeHost) {
    const { hostKey } = options;
    this.#socket = options.socket;
    this.#hostKey = typeof hostKey === "string" ? () => hostKey : hostKey;
    this.#asksAgain = typeof hostKey !== "string";
    this.#host = host;
  }

  async open(signal: AbortSignal): Promise<Opened> {
    const stream = await upgrade(this.#socket, (await this.#hostKey()).trim(), signal);
    try {
      const { bridge, ready } = await untilAborted(Bridge.open(stream, this.#host, READY_MS), signal);
      return opened(new Link(bridge, ready));
    } catch (thrown) {
      stream.destroy();
      throw thrown;
    }
  }

  isFinal(error: unknown): boolean {
    if (!(error instanceof MidplaneError)) {
      return false;
    }
    const refused = error.status === 401 || error.status === 403;
    return (refused && !this.#asksAgain) || error.code === "protocol_mismatch" || error.code === "socket_path_too_long";
  }

  async dispose(): Promise<void> {
    // Nothing is held between two links.
  }
}

function opened(link: Link): Opened {
  return {
    link,
    // The kernel may live on: what it has under way may end well.
    ended: link.bridge.ended.finally(() => link.close(false)),
    stop: async () => link.close(false),
  };
}
