/** A session, as its host holds it. */

import type { WebSocket } from "undici";

import type { Link } from "../kernel/link.js";
import type { JsonObject, SessionCreateParams } from "../protocol.js";
import { type FetchOptions, fetchWith } from "./fetch.js";
import { Tokens } from "./tokens.js";
import { openWebSocket } from "./websocket.js";

/** What a session is to allow; what is left out, the kernel chooses. */
export interface SessionOptions {
  /** Needed when a module of the session needs a secret. */
  readonly secretKeyId?: string;
  /** Any short text; goes to whoever answers for the secret. */
  readonly environment?: string;
  readonly user?: string;
  /** Left out: all that are loaded now. */
  readonly modules?: readonly string[];
  readonly scope?: string;
  /** Seconds that a token holds. */
  readonly expiresIn?: number;
  readonly rateLimit?: { readonly requestsPerMinute: number };
  readonly metadata?: JsonObject;
}

export interface Session {
  /** Another one after the kernel was started again. */
  readonly id: string;
  /** Of the token that is used now. */
  readonly expiresAt: Date;
  readonly user: string;
  readonly modules: readonly string[];
  /**
   * The standard `fetch`, to this session's modules: a path (`/api/chat/…`) or `http://localhost/api/…`. It needs no `this`. The token is
   * added, whatever `Authorization` was given, and renewed. While the kernel is being started again a request waits; one that was
   * under way when the kernel ended rejects with a TypeError, but for GET, HEAD and OPTIONS, which are sent again.
   */
  readonly fetch: typeof globalThis.fetch;
  /** A standard WebSocket to a module of the session. What fails, also before the handshake, is its `error` and `close`. */
  webSocket(path: string | URL, protocols?: string | readonly string[]): WebSocket;
  /** Another token, now. It happens by itself. */
  renew(): Promise<void>;
  /** Ends the session and all that is under way in it. */
  revoke(): Promise<void>;
}

export async function createSession(
  options: SessionOptions,
  link: (signal?: AbortSignal) => Promise<Link>,
  after: FetchOptions["after"],
): Promise<Session> {
  return new HeldSession({ tokens: await Tokens.issue(paramsOf(options), link), after });
}

class HeldSession implements Session {
  readonly #tokens: Tokens;
  readonly #options: FetchOptions;
  readonly fetch: typeof globalThis.fetch;

  constructor(options: FetchOptions) {
    this.#tokens = options.tokens;
    this.#options = options;
    this.fetch = (input, init) => fetchWith(options, input, init);
  }

  get id(): string {
    return this.#tokens.issued.result.id;
  }

  get expiresAt(): Date {
    return new Date(this.#tokens.issued.result.expires_at * 1000);
  }

  get user(): string {
    return this.#tokens.issued.result.user;
  }

  get modules(): readonly string[] {
    return this.#tokens.issued.result.modules;
  }

  webSocket(path: string | URL, protocols?: string | readonly string[]): WebSocket {
    return openWebSocket(this.#options, path, protocols);
  }

  async renew(): Promise<void> {
    await this.#tokens.renew();
  }

  revoke(): Promise<void> {
    return this.#tokens.revoke();
  }
}

/** The kernel refuses members that it does not know, so what is undefined is left out. */
function paramsOf(options: SessionOptions): SessionCreateParams {
  const params = {
    secret_key_id: options.secretKeyId,
    environment: options.environment,
    user: options.user,
    modules: options.modules,
    scope: options.scope,
    expires_in: options.expiresIn,
    rate_limit: options.rateLimit && { requests_per_minute: options.rateLimit.requestsPerMinute },
    metadata: options.metadata,
  };
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined));
}
