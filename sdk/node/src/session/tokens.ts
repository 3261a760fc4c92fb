/**
 * The token of one session: issued, renewed ahead of its end, issued anew when the kernel is another one. One renewal at a time,
 * whoever asks for it. The token itself is handed out to requests and shown to nobody.
 */

import { untilAborted } from "../deadline.js";
import { MidplaneError } from "../errors.js";
import type { Link } from "../kernel/link.js";
import type { SessionCreateParams, SessionResult } from "../protocol.js";
import { freshness } from "./lifetime.js";

/** What a request needs. */
export interface Pass {
  readonly link: Link;
  readonly token: string;
}

/** What is known of the session. */
export interface Issued {
  readonly link: Link;
  readonly result: SessionResult;
  readonly issuedMs: number;
}

export class Tokens {
  readonly #params: SessionCreateParams;
  readonly #link: (signal?: AbortSignal) => Promise<Link>;
  #issued: Issued;
  #renewal: Promise<Issued> | undefined;
  /** The one that the kernel refused last. */
  #refused: string | undefined;
  #revoked = false;

  private constructor(params: SessionCreateParams, link: (signal?: AbortSignal) => Promise<Link>, issued: Issued) {
    this.#params = params;
    this.#link = link;
    this.#issued = issued;
  }

  /** Issues the session. */
  static async issue(params: SessionCreateParams, link: (signal?: AbortSignal) => Promise<Link>): Promise<Tokens> {
    return new Tokens(params, link, await create(await link(), params));
  }

  get issued(): Issued {
    return this.#issued;
  }

  /** A token that holds, and the kernel that it holds at. Waits for a kernel that is being started again. */
  async pass(signal: AbortSignal | undefined): Promise<Pass> {
    const link = await this.#link(signal);
    this.#checkAlive();
    const { result } = this.#issued;
    const fresh = freshness({ issuedMs: this.#issued.issuedMs, expiresMs: result.expires_at * 1000 }, Date.now());
    const refused = this.#refused === result.client_secret;
    const holds = this.#issued.link.instance === link.instance && fresh !== "expired" && !refused;
    if (holds && fresh === "fresh") {
      return { link, token: result.client_secret };
    }
    try {
      const renewed = await untilAborted(this.#renewed(link), signal);
      return { link: renewed.link, token: renewed.result.client_secret };
    } catch (thrown) {
      signal?.throwIfAborted();
      if (holds && !this.#revoked) {
        return { link, token: result.client_secret };
      }
      throw thrown;
    }
  }

  /** The kernel refused this token: the next request needs another one. */
  refuse(token: string): void {
    this.#refused = token;
  }

  async renew(): Promise<Issued> {
    const link = await this.#link();
    this.#checkAlive();
    return this.#renewed(link);
  }

  /** Idempotent. */
  async revoke(): Promise<void> {
    if (this.#revoked) {
      return;
    }
    this.#revoked = true;
    const link = await this.#link();
    // Those of an earlier kernel ended with it.
    if (this.#issued.link.instance === link.instance) {
      await link.bridge.request("session/revoke", { id: this.#issued.result.id });
    }
  }

  #checkAlive(): void {
    if (this.#revoked) {
      throw new MidplaneError("session_revoked", "the session was revoked");
    }
  }

  #renewed(link: Link): Promise<Issued> {
    this.#renewal ??= this.#renewOrCreate(link).finally(() => {
      this.#renewal = undefined;
    });
    return this.#renewal;
  }

  async #renewOrCreate(link: Link): Promise<Issued> {
    const issued = (await this.#extended(link)) ?? (await create(link, this.#params));
    this.#issued = issued;
    if (this.#revoked) {
      // While this was under way: nobody is to hold it.
      await link.bridge.request("session/revoke", { id: issued.result.id });
      this.#checkAlive();
    }
    return issued;
  }

  /** The same session with another token, or undefined when a new session is needed. */
  async #extended(link: Link): Promise<Issued | undefined> {
    const { result, link: before } = this.#issued;
    if (before.instance !== link.instance) {
      return undefined;
    }
    const { expires_in } = this.#params;
    try {
      const issuedMs = Date.now();
      const renewed = await link.bridge.request<SessionResult>("session/renew", {
        id: result.id,
        ...(expires_in === undefined ? {} : { expires_in }),
      });
      const next: Issued = { link, result: { ...result, ...renewed }, issuedMs };
      // At the end of its longest life a session is renewed by seconds only.
      const shortened = renewed.expires_in < result.expires_in && renewed.expires_at <= result.expires_at;
      return shortened ? undefined : next;
    } catch (thrown) {
      if (!(thrown instanceof MidplaneError) || (thrown.code !== "session_not_found" && thrown.code !== "session_ended")) {
        throw thrown;
      }
      if (thrown.code === "session_ended" && before === link && (await isRevoked(link, result.id))) {
        // Somebody meant it. What ends because its host was away is not meant: then the link is another one.
        this.#revoked = true;
        throw new MidplaneError("session_revoked", "the session was revoked", { cause: thrown });
      }
      return undefined;
    }
  }
}

async function create(link: Link, params: SessionCreateParams): Promise<Issued> {
  const issuedMs = Date.now();
  const result = await link.bridge.request<SessionResult>("session/create", params);
  return { link, result, issuedMs };
}

async function isRevoked(link: Link, id: string): Promise<boolean> {
  const session = await link.control(`/sessions/${encodeURIComponent(id)}`);
  return typeof session === "object" && session !== null && "status" in session && session.status === "revoked";
}
