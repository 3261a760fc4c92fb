/**
 * One run of a kernel, as long as it can be talked to: its bridge and its socket. A restart makes another one. Holds the host key,
 * and shows it to nobody.
 */

import { Agent } from "undici";

import type { Bridge } from "../bridge/bridge.js";
import { MidplaneError, fromProblem, isProblem } from "../errors.js";
import type { Ready } from "../protocol.js";
import { checkSocketPath } from "../socket_path.js";

/** The kernel is on this machine: one that does not take a connection at once is not there. */
const CONNECT_MS = 5_000;
/** One that answers later than this is slow, and not dead: then its bridge would have ended. */
const DOUBT_MS = 1_000;
/** The codes of a connection that the other side ended; `kernel_stopped` is what a link's requests are ended with. */
export const CUT: readonly string[] = ["ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "kernel_stopped"];

export class Link {
  readonly bridge: Bridge;
  readonly version: string;
  readonly instance: string;
  readonly pid: number;
  readonly socketPath: string;
  /** Dials the kernel's socket whatever the host in a URL is: no request of this package can leave by another way. */
  readonly dispatcher: Agent;
  readonly #hostKey: string;
  /** A connection was cut since the kernel was last asked whether it lives. */
  #doubted = false;
  #asked: Promise<boolean> = Promise.resolve(true);
  /** The bridge has. What the kernel still does ends soon, too. */
  #ended = false;

  /** Throws when the socket cannot be dialled. */
  constructor(bridge: Bridge, ready: Ready) {
    checkSocketPath(ready.socket);
    this.bridge = bridge;
    this.version = ready.version;
    this.instance = ready.instance;
    this.pid = ready.pid;
    this.socketPath = ready.socket;
    this.#hostKey = ready.host_key;
    this.dispatcher = new Agent({
      connect: { socketPath: ready.socket, timeout: CONNECT_MS },
      // A model may think for long; the kernel keeps its own deadlines, and its end closes the connection.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    this.dispatcher.on("disconnect", (_origin, _targets, { code }) => {
      this.#doubted ||= CUT.includes(code);
    });
    void bridge.ended.then(() => {
      this.#ended = true;
    });
  }

  /**
   * Whether the kernel is still there. When a connection to it was cut, which a kernel's end does before anything else is known of it,
   * this asks it over the bridge: a request that was sent to it now would be lost in the queue of a socket that nobody reads.
   */
  async lives(): Promise<boolean> {
    if (this.#doubted) {
      this.#doubted = false;
      this.#asked = this.bridge.responds(DOUBT_MS);
    }
    return (await this.#asked) && !this.#ended;
  }

  /** A control route over HTTP, with the host key; gives the JSON of a successful answer. */
  async control(path: string): Promise<unknown> {
    const { statusCode, body } = await this.dispatcher
      .request({ origin: ORIGIN, path, method: "GET", headers: { authorization: `Bearer ${this.#hostKey}` } })
      .catch((cause: unknown) => {
        throw new MidplaneError("kernel_unreachable", `GET ${path}: the kernel does not answer on ${this.socketPath}`, { cause });
      });
    const answer: unknown = await body.json();
    // A kernel that is starting or draining says so with 503 and an ordinary body.
    if (statusCode >= 400 && isProblem(answer)) {
      throw fromProblem(answer);
    }
    return answer;
  }

  /** `now` cuts what is under way; else it is finished. */
  close(now: boolean): void {
    this.bridge.close();
    const closed = now
      ? this.dispatcher.destroy(new MidplaneError("kernel_stopped", "the kernel has ended"))
      : this.dispatcher.close();
    // It was closed before.
    closed.catch(() => undefined);
  }
}

/** What a kernel calls itself in URLs. */
export const ORIGIN = "http://localhost";
