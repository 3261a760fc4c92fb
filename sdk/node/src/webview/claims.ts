/**
 * From what a page posted to a message of the protocol, or a refusal. Every field is looked at, none is believed, and
 * nothing is done: this file is pure and reaches no request.
 */
import {
  CHANNEL,
  INLINE_BODY_BYTES_MAX,
  PAGE_ID,
  REQUEST_ID_MAX,
  VERSION,
  WINDOW_BYTES,
  arrivedBytes,
  type HeaderList,
  type OpenContent,
  type PageContent,
  type RelayErrorCode,
} from "./protocol.js";

/** The kernel reads header blocks of 16 KiB; half of that is left to the credential and what `fetch` adds. */
export const HEADER_BYTES_MAX = 8 * 1024;

/** The kernel reads 100 fields. */
export const HEADER_FIELDS_MAX = 64;

/** Longer than any method there is; only a bound on what is compared and logged. */
const METHOD_LENGTH_MAX = 16;

export type Claim =
  /** Not the relay's: the extension's own messages pass here, too. */
  | { readonly kind: "foreign" }
  /** The relay's, but from nobody who could be answered. */
  | { readonly kind: "nameless" }
  | { readonly kind: "message"; readonly page: string; readonly content: PageContent }
  /** Wrong. With an id, one request is to blame; without, the page is. */
  | { readonly kind: "refused"; readonly page: string; readonly id?: number; readonly code: RelayErrorCode; readonly message: string };

class Refusal extends Error {
  constructor(
    readonly code: RelayErrorCode,
    message: string,
  ) {
    super(message);
  }
}

/** Reads what a page posted. Never throws. */
export function readClaim(posted: unknown): Claim {
  if (!isRecord(posted) || posted["channel"] !== CHANNEL) {
    return { kind: "foreign" };
  }
  const page = posted["page"];
  if (typeof page !== "string" || !PAGE_ID.test(page)) {
    return { kind: "nameless" };
  }
  if (posted["version"] !== VERSION) {
    return {
      kind: "refused",
      page,
      code: "version_mismatch",
      message: `the extension speaks version ${VERSION} of the relay's protocol; bundle the page with the same version of @midplane/host`,
    };
  }
  const id = posted["id"];
  const blame = isCount(id, REQUEST_ID_MAX) ? { id } : {};
  try {
    return { kind: "message", page, content: readContent(posted) };
  } catch (error) {
    if (error instanceof Refusal) {
      return { kind: "refused", page, ...blame, code: error.code, message: error.message };
    }
    throw error;
  }
}

function readContent(posted: Record<string, unknown>): PageContent {
  const type = posted["type"];
  switch (type) {
    case "hello":
    case "bye":
      onlyMembers(posted, []);
      return { type };
    case "open":
      onlyMembers(posted, ["id", "method", "url", "headers", "body", "manualRedirect"]);
      return readOpen(posted);
    case "data":
      onlyMembers(posted, ["id", "bytes"]);
      return { type, id: readId(posted), bytes: readBytes(posted["bytes"]) };
    case "credit": {
      onlyMembers(posted, ["id", "bytes"]);
      const bytes = posted["bytes"];
      if (!isCount(bytes, WINDOW_BYTES)) {
        throw new Refusal("malformed", `"bytes" of a credit must be a whole number from 1 to ${WINDOW_BYTES}`);
      }
      return { type, id: readId(posted), bytes };
    }
    case "end":
    case "abort":
      onlyMembers(posted, ["id"]);
      return { type, id: readId(posted) };
    default:
      throw new Refusal("malformed", `"type" names no message of the protocol`);
  }
}

function readOpen(posted: Record<string, unknown>): OpenContent {
  const id = readId(posted);
  const method = posted["method"];
  if (typeof method !== "string" || method.length > METHOD_LENGTH_MAX || !/^[A-Z]+$/.test(method)) {
    throw new Refusal("malformed", `"method" must be a method's name in upper case`);
  }
  const url = posted["url"];
  if (typeof url !== "string") {
    throw new Refusal("malformed", `"url" must be a string`);
  }
  const headers = readHeaders(posted["headers"]);
  const body = posted["body"];
  if (body !== undefined && (method === "GET" || method === "HEAD")) {
    throw new Refusal("malformed", `a ${method} request has no body`);
  }
  const manualRedirect = posted["manualRedirect"];
  if (manualRedirect !== undefined && manualRedirect !== true) {
    throw new Refusal("malformed", `"manualRedirect" is true or absent`);
  }
  return {
    type: "open",
    id,
    method,
    url,
    headers,
    ...(body === undefined ? {} : { body: body === "stream" ? "stream" : readInlineBody(body) }),
    ...(manualRedirect === true ? { manualRedirect } : {}),
  };
}

function readHeaders(claimed: unknown): HeaderList {
  if (!Array.isArray(claimed)) {
    throw new Refusal("malformed", `"headers" must be a list of pairs`);
  }
  if (claimed.length > HEADER_FIELDS_MAX) {
    throw new Refusal("headers_too_large", `a request may have ${HEADER_FIELDS_MAX} header fields; this one has ${claimed.length}`);
  }
  const headers: [string, string][] = [];
  let byteLength = 0;
  // By index: a list with holes is read as one with undefined in it, and refused.
  for (let at = 0; at < claimed.length; at += 1) {
    const pair: unknown = claimed[at];
    if (!Array.isArray(pair) || pair.length !== 2) {
      throw new Refusal("malformed", `"headers" must be a list of pairs`);
    }
    const [name, value]: unknown[] = pair;
    // RFC 9110, section 5.6.2, in lower case as `Headers` gives it.
    if (typeof name !== "string" || name.length > HEADER_BYTES_MAX || !/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name)) {
      throw new Refusal("malformed", "a header field's name must be a token in lower case");
    }
    // RFC 9110, section 5.5: no controls but the tab, one byte a character.
    if (typeof value !== "string" || value.length > HEADER_BYTES_MAX || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
      throw new Refusal("malformed", "a header field's value must be Latin-1 without control characters");
    }
    byteLength += name.length + value.length;
    headers.push([name, value]);
  }
  if (byteLength > HEADER_BYTES_MAX) {
    throw new Refusal("headers_too_large", `header fields may have ${HEADER_BYTES_MAX} bytes in all; these have ${byteLength}`);
  }
  return headers;
}

function readInlineBody(claimed: unknown): Uint8Array {
  const bytes = readBytes(claimed);
  if (bytes.byteLength > INLINE_BODY_BYTES_MAX) {
    throw new Refusal("flow_violation", `a body of more than ${INLINE_BODY_BYTES_MAX} bytes has to be streamed`);
  }
  return bytes;
}

function readBytes(claimed: unknown): Uint8Array<ArrayBuffer> {
  const bytes = arrivedBytes(claimed);
  if (bytes !== undefined) {
    return bytes;
  }
  // A carrier that writes arrays as JSON makes an object of indices of them.
  if (isRecord(claimed)) {
    throw new Refusal("bytes_lost", `this editor did not carry an array buffer; "engines.vscode" must be ^1.57.0 or later`);
  }
  throw new Refusal("malformed", "bytes must be a Uint8Array");
}

function readId(posted: Record<string, unknown>): number {
  const id = posted["id"];
  if (!isCount(id, REQUEST_ID_MAX)) {
    throw new Refusal("malformed", `"id" must be a whole number from 1 to ${REQUEST_ID_MAX}`);
  }
  return id;
}

/** A member nobody reads is a member somebody may read later; the kernel refuses unknown members as well. */
function onlyMembers(posted: Record<string, unknown>, own: readonly string[]): void {
  for (const member of Object.keys(posted)) {
    if (!own.includes(member) && member !== "channel" && member !== "version" && member !== "page" && member !== "type") {
      throw new Refusal("malformed", "the message has a member the protocol does not know");
    }
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A whole number from 1 to `max`. */
function isCount(value: unknown, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= max;
}
