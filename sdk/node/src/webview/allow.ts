/**
 * Which requests a page may make: the shape a URL must have, and the extension's list of methods and paths.
 * Pure. Knows nothing of messages, and must never repair a URL: what is not plain already is refused, so that no two
 * readers of it, here, in `fetch` and in the kernel, can take it for different paths.
 */

/** One permission. Query strings are not looked at. */
export interface AllowedRoute {
  /** `GET`, `POST`, … in upper case. `HEAD` is not implied by `GET`. */
  readonly method: string;
  /** A path under `/api/`, exact, or with all below it when it ends in `/*`: `/api/chat/threads/*`. */
  readonly path: string;
}

/** The only part of the kernel's routes that belongs to modules. Everything else is the host's, whatever a list says. */
const MODULES_ROOT = "/api/";

/** RFC 9112, section 3, asks for support of request lines of 8,000 octets at least; the kernel reads header blocks of 16 KiB. */
export const URL_LENGTH_MAX = 8_000;

/** Methods of RFC 9110 and RFC 5789 that a route may name. `CONNECT` makes tunnels and `TRACE` tells credentials. */
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** Segments of RFC 3986's `pchar`, with percent-encoding complete, and no empty one but the last. */
const PLAIN_PATH = /^(?:\/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+)+\/?$/;

/** `.` and `..` as segments. */
const DOT_SEGMENT = /\/\.{1,2}(?:\/|$)/;

/** Encoded characters that some readers undo before they split the path: controls, `%` (decoding twice), `.`, `/`, `\`, and DEL. */
const ENCODED_STRUCTURE = /%(?:[01][0-9A-Fa-f]|25|2[EeFf]|5[Cc]|7[Ff])/;

/** What the URL standard leaves as it is in a query: visible ASCII but `"`, `#`, `<`, `>`; here also without `\`. */
const PLAIN_QUERY = /^[!$-;=?-[\]-~]*$/;

/** The path of `url`, which must be a path and perhaps a query, both plain; or why it is not. */
export function checkUrl(url: string): { readonly path: string } | { readonly refused: string } {
  if (url.length > URL_LENGTH_MAX) {
    return { refused: `it is longer than ${URL_LENGTH_MAX} characters` };
  }
  const mark = url.indexOf("?");
  const path = mark === -1 ? url : url.slice(0, mark);
  const query = mark === -1 ? "" : url.slice(mark + 1);
  if (!PLAIN_PATH.test(path)) {
    return { refused: "its path is not a plain one: it starts with one slash, has no empty segment, and no character that needs encoding" };
  }
  if (DOT_SEGMENT.test(path)) {
    return { refused: "its path has dot segments" };
  }
  if (ENCODED_STRUCTURE.test(path)) {
    return { refused: "its path has an encoded dot, slash, backslash, percent sign or control character" };
  }
  if (!PLAIN_QUERY.test(query)) {
    return { refused: "its query has a character that needs encoding" };
  }
  if (!path.startsWith(MODULES_ROOT) || path.length === MODULES_ROOT.length) {
    return { refused: "only a module's routes, under /api/, are reachable from a page" };
  }
  // The URL standard's parser has the last word: it must find nothing to change.
  const parsed = new URL(url, "http://localhost");
  if (parsed.origin !== "http://localhost" || parsed.pathname !== path) {
    return { refused: "its path changes when it is parsed" };
  }
  return { path };
}

/** An extension's list, checked once. */
export class AllowList {
  readonly #exact = new Set<string>();
  readonly #below: { readonly method: string; readonly prefix: string }[] = [];

  /** Throws a `TypeError` that names the route when one is not under `/api/` or not plain: that is a mistake in the extension. */
  constructor(routes: readonly AllowedRoute[]) {
    for (const { method, path } of routes) {
      const name = `${String(method)} ${String(path)}`;
      if (!METHODS.has(method)) {
        throw new TypeError(`allowed route "${name}": the method must be one of ${[...METHODS].join(", ")}`);
      }
      const below = path.endsWith("/*");
      const literal = below ? path.slice(0, -1) : path;
      // `/api/*` allows every module; its literal part is the root itself.
      const checked = below && literal === MODULES_ROOT ? { path: literal } : checkUrl(literal);
      if ("refused" in checked) {
        throw new TypeError(`allowed route "${name}": ${checked.refused}`);
      }
      if (checked.path !== literal || literal.includes("*")) {
        throw new TypeError(`allowed route "${name}": a path is exact or ends in "/*", and has no query`);
      }
      if (below) {
        this.#below.push({ method, prefix: literal });
      } else {
        this.#exact.add(`${method} ${literal}`);
      }
    }
  }

  /** Whether the list has this method for this path, which `checkUrl` gave. */
  permits(method: string, path: string): boolean {
    return (
      path.startsWith(MODULES_ROOT) &&
      (this.#exact.has(`${method} ${path}`) || this.#below.some((route) => route.method === method && path.startsWith(route.prefix)))
    );
  }
}
