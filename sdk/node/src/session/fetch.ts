/**
 * `fetch` on the kernel's socket, with the session's token.
 *
 * It is undici's own `fetch`, not the runtime's with a dispatcher: an extension host replaces the global one, and its replacement
 * may leave the dispatcher out (VS Code's `http.electronFetch`, and older versions of its proxy support). A request would then go to TCP
 * port 80 of this machine, token included. Arguments are read by the runtime's `Request`, and the answer is the runtime's `Response`, so
 * that neither side notices.
 */

import { fetch as undiciFetch } from "undici";

import { MidplaneError, systemCode } from "../errors.js";
import { CUT, type Link } from "../kernel/link.js";
import { type Outgoing, type RequestInfo, type RequestInitOf, readRequest } from "./outgoing.js";
import { toResponse } from "./response.js";
import type { Pass, Tokens } from "./tokens.js";

/** How long a kernel whose connections fail may be thought alive: it may be draining, for two seconds. */
export const NOTICED_MS = 3_000;
/** A request meets a kernel's end once; one that meets two is not worth a third try. */
const TRIES_MAX = 3;

export interface FetchOptions {
  readonly tokens: Tokens;
  /** Another kernel than this one, when it is gone. */
  readonly after: (dead: Link, noticedMs: number, signal?: AbortSignal) => Promise<Link | undefined>;
}

/** Behaves as the standard one; see `Session.fetch`. */
export async function fetchWith(options: FetchOptions, input: RequestInfo, init: RequestInitOf | undefined): Promise<Response> {
  const outgoing = await readRequest(input, init);
  for (let tries = 1; ; tries += 1) {
    const pass = await passFor(options.tokens, outgoing);
    const last = tries === TRIES_MAX || !outgoing.replayable;
    let answer: Awaited<ReturnType<typeof send>>;
    try {
      answer = await send(outgoing, pass);
    } catch (thrown) {
      outgoing.signal?.throwIfAborted();
      const repeatable = !last && (wasNotSent(thrown) || (outgoing.safe && wasCut(thrown)));
      if (!repeatable || !(await isReplaced(options, pass.link, outgoing, thrown))) {
        throw thrown;
      }
      continue;
    }
    if (last || !isTokenRefused(answer)) {
      return toResponse(answer);
    }
    options.tokens.refuse(pass.token);
    await answer.body?.cancel();
  }
}

function send(outgoing: Outgoing, { link, token }: Pass): ReturnType<typeof undiciFetch> {
  const headers = new Headers(outgoing.headers);
  // Clients that were made for a provider send a key of theirs.
  headers.set("authorization", `Bearer ${token}`);
  return undiciFetch(outgoing.url, {
    method: outgoing.method,
    headers: [...headers],
    body: outgoing.body,
    redirect: outgoing.redirect,
    dispatcher: link.dispatcher,
    ...(outgoing.signal === undefined ? {} : { signal: outgoing.signal }),
    ...(outgoing.replayable ? {} : { duplex: "half" }),
  });
}

async function passFor(tokens: Tokens, outgoing: Outgoing): Promise<Pass> {
  try {
    return await tokens.pass(outgoing.signal);
  } catch (cause) {
    outgoing.signal?.throwIfAborted();
    throw new TypeError("fetch failed", { cause });
  }
}

/** Only the kernel says this of a token; what a module answers with 401 is the module's. */
function isTokenRefused(answer: Awaited<ReturnType<typeof send>>): boolean {
  return answer.status === 401 && !answer.headers.has("x-midplane-module");
}

/** No connection was made, or the dispatcher was closed before the request came to it. */
const NOT_SENT: readonly string[] = ["ECONNREFUSED", "ENOENT", "UND_ERR_CONNECT_TIMEOUT", "UND_ERR_CLOSED", "UND_ERR_DESTROYED"];

function wasNotSent(thrown: unknown): boolean {
  return NOT_SENT.includes(causeCode(thrown));
}

/** The connection ended before the answer. */
function wasCut(thrown: unknown): boolean {
  return CUT.includes(causeCode(thrown));
}

function causeCode(thrown: unknown): string {
  return systemCode(thrown instanceof Error ? (thrown.cause ?? thrown) : undefined) ?? "";
}

/** Whether a connection failed in a way that a kernel's end explains. */
export function mayHaveEnded(thrown: unknown): boolean {
  return wasNotSent(thrown) || wasCut(thrown);
}

async function isReplaced({ after }: FetchOptions, dead: Link, outgoing: Outgoing, thrown: unknown): Promise<boolean> {
  try {
    return (await after(dead, NOTICED_MS, outgoing.signal)) !== undefined;
  } catch (reason) {
    outgoing.signal?.throwIfAborted();
    // Why there is no other kernel says more than why this one did not answer.
    throw reason instanceof MidplaneError ? new TypeError("fetch failed", { cause: reason }) : thrown;
  }
}
