/**
 * Which header fields cross the relay, in each direction. Pure.
 *
 * A page's fields are on a list or they stay behind, silently for the caller as with a browser's own forbidden fields;
 * the credential is added upstream, and nothing a page says may meet it there.
 */
import type { HeaderList } from "./protocol.js";

/** Fields of a request that pass without being named by the extension: what describes the body and the answer wanted, and nothing that says who asks. */
const REQUEST_FIELDS: readonly string[] = [
  "accept",
  "accept-language",
  "cache-control",
  "content-language",
  "content-type",
  "idempotency-key",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "last-event-id",
  "prefer",
  "range",
  "traceparent",
  "tracestate",
  "x-request-id",
];

/** Fields about one connection (RFC 9110, section 7.6.1) and the framing of a message on it. */
const CONNECTION_FIELDS = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/** Fields of a request that never pass, not even when an extension names them. Beside the Fetch standard's forbidden ones, what could stand for another method, origin or caller. */
const NEVER_IN_REQUEST: ReadonlySet<string> = new Set([
  ...CONNECTION_FIELDS,
  "accept-charset",
  "accept-encoding",
  "authorization",
  "content-length",
  "cookie",
  "cookie2",
  "date",
  "dnt",
  "expect",
  "forwarded",
  "host",
  "origin",
  "referer",
  "set-cookie",
  "via",
  "x-http-method",
  "x-http-method-override",
  "x-method-override",
]);
const NEVER_IN_REQUEST_PREFIXES = ["access-control-", "proxy-", "sec-", "x-forwarded-", "x-midplane-"];

/** Fields of a response that never reach a page: credentials, challenges, and what belongs to the connection. */
const NEVER_IN_RESPONSE: ReadonlySet<string> = new Set([
  ...CONNECTION_FIELDS,
  "authentication-info",
  "authorization",
  "cookie",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-authorization",
  "set-cookie",
  "set-cookie2",
  "www-authenticate",
]);

/** The request fields that pass: the usual ones and those an extension names. */
export class RequestFields {
  readonly #names: ReadonlySet<string>;

  /** Throws a `TypeError` when one of the names is a field that never passes: that is a mistake in the extension. */
  constructor(more: readonly string[]) {
    for (const name of more) {
      if (neverInRequest(name.toLowerCase())) {
        throw new TypeError(`request header "${name}" cannot be allowed: it is never taken from a page`);
      }
    }
    this.#names = new Set([...REQUEST_FIELDS, ...more.map((name) => name.toLowerCase())]);
  }

  /** Parts a page's fields (names in lower case) into those that pass and the names of those that stay behind. */
  filter(headers: HeaderList): { readonly passed: [string, string][]; readonly dropped: readonly string[] } {
    const passed: [string, string][] = [];
    const dropped: string[] = [];
    for (const [name, value] of headers) {
      if (this.#names.has(name)) {
        passed.push([name, value]);
      } else {
        dropped.push(name);
      }
    }
    return { passed, dropped };
  }
}

/** The fields of a response that a page may see. */
export function responseFields(headers: Headers): [string, string][] {
  const passed: [string, string][] = [];
  headers.forEach((value, name) => {
    if (!NEVER_IN_RESPONSE.has(name)) {
      passed.push([name, value]);
    }
  });
  return passed;
}

function neverInRequest(name: string): boolean {
  return NEVER_IN_REQUEST.has(name) || NEVER_IN_REQUEST_PREFIXES.some((prefix) => name.startsWith(prefix));
}
