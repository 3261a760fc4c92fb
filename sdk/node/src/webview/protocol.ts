/**
 * The messages between the two halves of the webview relay, and the numbers both of them count by.
 *
 * Shared by the page and the extension: no imports, nothing of Node, nothing of the DOM. What a page sends is typed
 * here but believed nowhere: `claims.ts` turns it into these types or refuses it.
 *
 * Bytes travel as `Uint8Array`s over a buffer of their own. VS Code carries array buffers outside the JSON of a message,
 * both ways, for extensions whose `engines.vscode` is 1.57 or later, which every editor with Node 20 is; base64 would add
 * a third to every event for the sake of editors this package cannot run in. A carrier that loses the bytes is
 * found by the first message that has any, and named (`bytes_lost`). Nothing here is ever `null` or `undefined`: JSON drops
 * the one, and some editors failed on the other beside a buffer.
 */

/** Marks a message as the relay's, so that an extension may post its own beside it. */
export const CHANNEL = "midplane.fetch";

/** Goes up when a message changes its meaning. Both halves come from one package; a page bundled from an older one is told so. */
export const VERSION = 1;

/** A page instance's name: 128 random bits in hexadecimal. Frames inside the page cannot read it, so they can forge nothing. */
export const PAGE_ID = /^[0-9a-f]{32}$/;

/** Request ids count up from 1; the top is what fits every integer type on the way. */
export const REQUEST_ID_MAX = 2 ** 31 - 1;

/** Most body bytes in one message: what a socket read yields, so that nothing is gathered up before it is sent on. */
export const CHUNK_BYTES_MAX = 64 * 1024;

/**
 * What a chunk costs besides its bytes. Without it a window of one-byte chunks would be a quarter of a million messages
 * in somebody's memory (compare CVE-2019-9511, HTTP/2's data dribble).
 */
export const CHUNK_OVERHEAD = 256;

/** How much of one body, in cost, may be under way and unread, in each direction: four full chunks, so that one is on the wire while the next is read. */
export const WINDOW_BYTES = 4 * (CHUNK_BYTES_MAX + CHUNK_OVERHEAD);

/** Credit is returned once this much was read: late enough to be rare beside the chunks, early enough that the sender never waits for a reader that keeps up. */
export const GRANT_BYTES = WINDOW_BYTES / 4;

/** A request body up to this long travels with the request itself: one message, no round trip. */
export const INLINE_BODY_BYTES_MAX = CHUNK_BYTES_MAX;

/** What a chunk of this many bytes takes from the window. */
export function chunkCost(byteLength: number): number {
  return byteLength + CHUNK_OVERHEAD;
}

/** Messages a page may send in a second, in the long run. An editor's message costs far more than looking at it here does. */
export const MESSAGES_PER_SECOND = 2_000;

/** Seconds' worth of messages that may come at once. */
export const BURST_SECONDS = 2;

/** What opening a request counts for among a page's messages: it makes work upstream, even when it is taken back at once (compare CVE-2023-44487, rapid reset). */
export const OPEN_COST = 20;

/** Why a request did not come to pass. `TypeError.cause.code` on the page. */
export type RelayErrorCode =
  /** The URL is not a plain path under `/api/`. */
  | "url_refused"
  /** The extension's allow-list has no such method and path. */
  | "not_allowed"
  /** A message was not what the protocol says. */
  | "malformed"
  | "too_many_requests"
  | "headers_too_large"
  | "body_too_large"
  /** More bytes than there was credit for. */
  | "flow_violation"
  /** Too many messages; everything of this page was ended. */
  | "flooded"
  /** Another page instance has taken this one's place. */
  | "page_superseded"
  /** The module answered with a redirect, which the relay does not follow: it would lead past the allow-list. */
  | "redirect_refused"
  /** The kernel could not be reached, or broke off. */
  | "upstream_failed"
  /** This editor's `postMessage` does not carry array buffers. */
  | "bytes_lost"
  /** The editor dropped messages to the page, as it does for one that is hidden. */
  | "messages_lost"
  | "relay_disposed"
  | "version_mismatch"
  /** Nothing on the extension's side answers. */
  | "no_relay";

export type HeaderList = readonly (readonly [name: string, value: string])[];

interface Envelope {
  readonly channel: typeof CHANNEL;
  readonly version: typeof VERSION;
  readonly page: string;
}

/** What a page says. */
export type PageMessage = Envelope & PageContent;
export type PageContent =
  /** A script has started; whatever another instance had under way is over. Implied by the first `open` of an unknown page. */
  | { readonly type: "hello" }
  /** The script is going away. */
  | { readonly type: "bye" }
  | OpenContent
  | { readonly type: "data"; readonly id: number; readonly bytes: Uint8Array }
  /** The request body is complete. */
  | { readonly type: "end"; readonly id: number }
  /** This much more of the response may be sent. */
  | { readonly type: "credit"; readonly id: number; readonly bytes: number }
  | { readonly type: "abort"; readonly id: number };

export interface OpenContent {
  readonly type: "open";
  readonly id: number;
  readonly method: string;
  /** Path and query, nothing else: `/api/chat/chatkit?x=1`. */
  readonly url: string;
  readonly headers: HeaderList;
  /** All of a small body, or that it follows. */
  readonly body?: Uint8Array | "stream";
  /** Hand a redirect to the caller instead of failing. It is never followed. */
  readonly manualRedirect?: true;
}

/** What the extension says. */
export type HostMessage = Envelope & HostContent;
export type HostContent =
  | { readonly type: "welcome"; readonly messagesPerSecond: number }
  | {
      readonly type: "head";
      readonly id: number;
      readonly status: number;
      readonly statusText: string;
      readonly headers: HeaderList;
      /** Whether chunks and an `end` follow. */
      readonly body: boolean;
    }
  | { readonly type: "data"; readonly id: number; readonly bytes: Uint8Array }
  | { readonly type: "end"; readonly id: number }
  /** This much more of the request body may be sent. */
  | { readonly type: "credit"; readonly id: number; readonly bytes: number }
  /** This request is over. */
  | { readonly type: "fail"; readonly id: number; readonly code: RelayErrorCode; readonly message: string }
  /** All requests of this page are over; new ones may be tried after the pause. */
  | { readonly type: "halt"; readonly code: RelayErrorCode; readonly message: string; readonly pauseMs: number };

/**
 * Bytes as they arrived, over a buffer of their own, or `undefined` when the carrier made something else of them.
 * Realms may differ, so this asks for the tag and not for the class.
 */
export function arrivedBytes(value: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (value instanceof ArrayBuffer) {
    return new Uint8Array(value);
  }
  if (!ArrayBuffer.isView(value) || Object.prototype.toString.call(value) !== "[object Uint8Array]") {
    return undefined;
  }
  const view = value as Uint8Array;
  const whole = view.buffer instanceof ArrayBuffer && view.byteLength === view.buffer.byteLength;
  return whole ? (view as Uint8Array<ArrayBuffer>) : new Uint8Array(view);
}
