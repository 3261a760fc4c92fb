/** A request, as a standard `fetch` reads its arguments, ready to be sent once or, when its body can be had twice, again. */

import { targetOf } from "./target.js";

export interface Outgoing {
  readonly url: URL;
  readonly method: string;
  /** Without a credential. */
  readonly headers: Headers;
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
  readonly redirect: RequestRedirect;
  readonly signal: AbortSignal | undefined;
  /** Whether it can be sent again when it is known that nobody acted on it. */
  readonly replayable: boolean;
  /** Whether it may be sent again when somebody may have acted on it (RFC 9110 section 9.2.1). */
  readonly safe: boolean;
}

export type RequestInfo = Parameters<typeof fetch>[0];
export type RequestInitOf = NonNullable<Parameters<typeof fetch>[1]>;
type RequestRedirect = Request["redirect"];

const SAFE: readonly string[] = ["GET", "HEAD", "OPTIONS"];

/** Rejects as `fetch` does: a TypeError, or the reason of a signal that has been aborted. */
export async function readRequest(input: RequestInfo, init: RequestInitOf | undefined): Promise<Outgoing> {
  const given = input instanceof Request ? input : undefined;
  const url = targetOf(given === undefined ? (input as string | URL) : given.url);
  const signal = init?.signal ?? given?.signal ?? undefined;
  signal?.throwIfAborted();
  // The platform's own class reads every kind of body and header, and refuses what it must. Its signal would be another one, that
  // is tied to this one for ever.
  const request = new Request(given ?? url, { ...init, signal: null });
  const streamed = request.body !== null && (init?.body === undefined || init.body === null || isStream(init.body));
  const body = streamed || request.body === null ? request.body : new Uint8Array(await request.arrayBuffer());
  return {
    url,
    method: request.method,
    headers: new Headers(request.headers),
    body,
    redirect: request.redirect,
    signal,
    replayable: !streamed,
    safe: SAFE.includes(request.method),
  };
}

/** A Request that was given has a body of unknown origin, which is taken for a stream too. */
function isStream(body: NonNullable<RequestInitOf["body"]>): boolean {
  return body instanceof ReadableStream || (typeof body === "object" && Symbol.asyncIterator in body);
}
