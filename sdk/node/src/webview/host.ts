/**
 * The extension's half of the webview relay: `@midplane/host/webview`.
 *
 * A page posts the requests it would like to make; `relayFetch` checks each against the extension's allow-list and
 * makes the allowed ones with `session.fetch`, which adds the credential on this side. The page never holds a token, and
 * nothing it posts can name a route of the kernel itself, another module than the listed, or a header that says who asks.
 *
 * This file keeps the pages and their requests apart and counts them; what a message may look like is `claims.ts`, what a
 * URL may look like `allow.ts`, and one request's life `exchange.ts`. No imports of Node: it runs in a web extension, too.
 */
import { AllowList, checkUrl, type AllowedRoute } from "./allow.js";
import { readClaim } from "./claims.js";
import { Exchange, type UpstreamFetch } from "./exchange.js";
import { RequestFields } from "./headers.js";
import {
  BURST_SECONDS,
  CHANNEL,
  MESSAGES_PER_SECOND,
  OPEN_COST,
  VERSION,
  type HostContent,
  type HostMessage,
  type OpenContent,
  type PageContent,
  type RelayErrorCode,
} from "./protocol.js";
import { Bucket } from "./rate.js";

export type { AllowedRoute, RelayErrorCode, UpstreamFetch };

/** The part of `vscode.Webview` that is used. */
export interface WebviewLike {
  /** Resolves with false when the page is not there to get the message. */
  postMessage(message: unknown): PromiseLike<boolean> | boolean | void;
  onDidReceiveMessage(listener: (message: unknown) => void): { dispose(): unknown };
}

/** What one page may cost the extension. */
export interface RelayLimits {
  /** Requests under way at once. 32: several streams beside short requests; with the windows, 8 MiB each way in the worst case. */
  readonly requestsMax: number;
  /** Bytes of one request body. 32 MiB: an attachment. The kernel has its own bound for each route, 1 MiB unless a module declares more. */
  readonly bodyBytesMax: number;
  /** Messages a second in the long run, with two seconds' worth at once; opening a request counts for 20. */
  readonly messagesPerSecond: number;
}

/** Something a page was not given. For the extension's log: nothing in it is the page's own words but method, path and the names of headers. */
export interface Refusal {
  readonly code: RelayErrorCode | "header_dropped";
  readonly method?: string;
  readonly path?: string;
  readonly detail: string;
}

export interface RelayOptions {
  /** What the page may ask for; all else is refused. Only routes under `/api/` can be listed. */
  readonly allow: readonly AllowedRoute[];
  /** Request headers that pass besides those that describe content and caching. Never credentials, cookies, origins or hosts. */
  readonly requestHeaders?: readonly string[];
  readonly limits?: Partial<RelayLimits>;
  /** Called for each refusal, also for each header left behind. */
  readonly onRefused?: (refusal: Refusal) => void;
  /** Called when an allowed request failed upstream. The page is not told what `error` says. */
  readonly onError?: (error: unknown, request: { readonly method: string; readonly url: string }) => void;
  /** A monotonic clock in milliseconds. */
  readonly now?: () => number;
}

export interface Relay {
  /** Ends every request of the page, and listens no more. The webview itself is left alone. */
  dispose(): void;
}

const DEFAULT_LIMITS: RelayLimits = { requestsMax: 32, bodyBytesMax: 32 * 1024 * 1024, messagesPerSecond: MESSAGES_PER_SECOND };

/** How long a page that flooded is not listened to. Long enough that the flood costs it more than it costs us. */
const FLOOD_PAUSE_MS = 1_000;

/** Page instances remembered, so that a late message of one is not taken for a new page. A reload makes one. */
const PAST_PAGES_MAX = 64;

/**
 * Gives the page in `webview` a `fetch` for the routes in `options.allow`; the page takes its end with `createFetch`.
 * One relay for one webview; dispose it with the webview or when the session ends.
 *
 * Throws a `TypeError` when the list names a route outside `/api/`, or a header that never passes.
 */
export function relayFetch(webview: WebviewLike, fetch: UpstreamFetch, options: RelayOptions): Relay {
  return new WebviewRelay(webview, fetch, options);
}

interface Page {
  readonly name: string;
  readonly exchanges: Map<number, Exchange>;
  lastId: number;
  /** The webview dropped a message: what the page waits for may never come, and it has to be told when it is heard again. */
  lost: boolean;
}

class WebviewRelay implements Relay {
  readonly #webview: WebviewLike;
  readonly #fetch: UpstreamFetch;
  readonly #allow: AllowList;
  readonly #fields: RequestFields;
  readonly #limits: RelayLimits;
  readonly #options: RelayOptions;
  readonly #now: () => number;
  readonly #bucket: Bucket;
  readonly #subscription: { dispose(): unknown };
  readonly #pastPages = new Set<string>();
  #page: Page | undefined;
  /** Requests that reach upstream, those of past pages included, until they are over there. */
  #running = 0;
  #deafUntil = Number.NEGATIVE_INFINITY;
  #disposed = false;

  constructor(webview: WebviewLike, fetch: UpstreamFetch, options: RelayOptions) {
    this.#webview = webview;
    this.#fetch = fetch;
    this.#allow = new AllowList(options.allow);
    this.#fields = new RequestFields(options.requestHeaders ?? []);
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#bucket = new Bucket(this.#limits.messagesPerSecond, BURST_SECONDS, this.#now());
    this.#subscription = webview.onDidReceiveMessage((message) => this.#receive(message));
  }

  dispose(): void {
    if (this.#disposed) {
      return;
    }
    if (this.#page !== undefined) {
      this.#halt(this.#page.name, "relay_disposed", "the extension has ended the relay");
      this.#leave();
    }
    this.#disposed = true;
    this.#subscription.dispose();
  }

  #receive(posted: unknown): void {
    if (this.#disposed) {
      return;
    }
    const claim = readClaim(posted);
    if (claim.kind === "foreign") {
      return;
    }
    const now = this.#now();
    if (now < this.#deafUntil) {
      return;
    }
    const opens = claim.kind === "message" && claim.content.type === "open";
    if (!this.#bucket.take(opens ? OPEN_COST : 1, now)) {
      this.#flooded(claim.kind === "nameless" ? undefined : claim.page, now);
      return;
    }
    switch (claim.kind) {
      case "nameless":
        this.#refused({ code: "malformed", detail: "a message without a page's name" });
        return;
      case "refused":
        this.#refused({ code: claim.code, detail: claim.message });
        this.#blame(claim.page, claim.id, claim.code, claim.message);
        return;
      case "message": {
        const page = this.#enter(claim.page);
        if (page !== undefined) {
          this.#handle(page, claim.content);
        }
      }
    }
  }

  /** The page of that name: the present one, or a new one in its place; none when its time is past, or it has first to be told what it missed. */
  #enter(name: string): Page | undefined {
    if (this.#page?.name === name) {
      if (this.#page.lost) {
        this.#page.lost = false;
        this.#halt(name, "messages_lost", "the webview could not be reached for a while, and its requests were ended");
        return undefined;
      }
      return this.#page;
    }
    if (this.#pastPages.has(name)) {
      this.#halt(name, "page_superseded", "another script of this webview has taken the relay; call createFetch once");
      return undefined;
    }
    this.#leave();
    this.#page = { name, exchanges: new Map(), lastId: 0, lost: false };
    this.#post(name, { type: "welcome", messagesPerSecond: this.#limits.messagesPerSecond });
    return this.#page;
  }

  /** Ends the present page's requests, and remembers it as past. */
  #leave(): void {
    const page = this.#page;
    if (page === undefined) {
      return;
    }
    this.#page = undefined;
    this.#pastPages.add(page.name);
    if (this.#pastPages.size > PAST_PAGES_MAX) {
      const [oldest] = this.#pastPages;
      this.#pastPages.delete(oldest as string);
    }
    abortAll(page);
  }

  #handle(page: Page, content: PageContent): void {
    switch (content.type) {
      case "hello":
        return;
      case "bye":
        this.#leave();
        return;
      case "open":
        this.#open(page, content);
        return;
      case "data":
        page.exchanges.get(content.id)?.push(content.bytes as Uint8Array<ArrayBuffer>);
        return;
      case "end":
        page.exchanges.get(content.id)?.complete();
        return;
      case "credit":
        page.exchanges.get(content.id)?.grant(content.bytes);
        return;
      case "abort":
        this.#forget(page, content.id)?.abort();
    }
  }

  #open(page: Page, open: OpenContent): void {
    const { id, method, url } = open;
    // Ids only go up, so that a late message can never meet another request than its own.
    if (id <= page.lastId) {
      this.#refused({ code: "malformed", detail: "a request id was used again" });
      this.#blame(page.name, id, "malformed", "a request id must be higher than all before it");
      return;
    }
    page.lastId = id;
    const refuse = (code: RelayErrorCode, message: string, path?: string): void => {
      this.#refused({ code, method, detail: message, ...(path === undefined ? {} : { path }) });
      this.#post(page.name, { type: "fail", id, code, message });
    };
    const checked = checkUrl(url);
    if ("refused" in checked) {
      refuse("url_refused", `this URL is not for a page: ${checked.refused}`);
      return;
    }
    if (!this.#allow.permits(method, checked.path)) {
      refuse("not_allowed", `the extension does not allow ${method} ${checked.path} to this page`, checked.path);
      return;
    }
    if (this.#running >= this.#limits.requestsMax) {
      refuse("too_many_requests", `a page may have ${this.#limits.requestsMax} requests under way`, checked.path);
      return;
    }
    const { passed, dropped } = this.#fields.filter(open.headers);
    if (dropped.length > 0) {
      this.#refused({ code: "header_dropped", method, path: checked.path, detail: `${dropped.length} request headers stay behind: ${dropped.join(", ")}` });
    }
    this.#start(page, open, passed);
  }

  #start(page: Page, open: OpenContent, headers: [string, string][]): void {
    const { id, method, url } = open;
    const exchange = new Exchange(open, headers, this.#limits.bodyBytesMax, {
      send: (content) => this.#post(page.name, content),
      failed: (error) => this.#options.onError?.(error, { method, url }),
      settled: () => {
        this.#running -= 1;
        this.#forget(page, id);
      },
    });
    this.#running += 1;
    page.exchanges.set(id, exchange);
    void exchange.run(this.#fetch);
  }

  #forget(page: Page, id: number): Exchange | undefined {
    const exchange = page.exchanges.get(id);
    page.exchanges.delete(id);
    return exchange;
  }

  /** Ends what a wrong message is about: one request, or all of the page's. */
  #blame(page: string, id: number | undefined, code: RelayErrorCode, message: string): void {
    const present = this.#page?.name === page ? this.#page : undefined;
    if (id === undefined || code === "version_mismatch") {
      if (present !== undefined) {
        abortAll(present);
      }
      this.#halt(page, code, message);
      return;
    }
    const exchange = present?.exchanges.get(id);
    if (exchange === undefined) {
      this.#post(page, { type: "fail", id, code, message });
    } else {
      exchange.fail(code, message);
    }
  }

  #flooded(page: string | undefined, now: number): void {
    this.#deafUntil = now + FLOOD_PAUSE_MS;
    const message = `more than ${this.#limits.messagesPerSecond} messages a second; all requests of this page were ended`;
    this.#refused({ code: "flooded", detail: message });
    if (this.#page !== undefined) {
      abortAll(this.#page);
    }
    const told = page ?? this.#page?.name;
    if (told !== undefined) {
      this.#halt(told, "flooded", message, FLOOD_PAUSE_MS);
    }
  }

  #halt(page: string, code: RelayErrorCode, message: string, pauseMs = 0): void {
    this.#post(page, { type: "halt", code, message, pauseMs });
  }

  #post(page: string, content: HostContent): void {
    const message: HostMessage = { channel: CHANNEL, version: VERSION, page, ...content };
    const lost = (): void => {
      // What was dropped cannot be sent again, so its stream is broken. A hidden webview that VS Code has torn down comes
      // back as a new page; in an editor that only pauses it, the same one does.
      if (this.#page?.name === page) {
        this.#page.lost = true;
        abortAll(this.#page);
      }
    };
    try {
      const posted = this.#webview.postMessage(message);
      if (posted === false) {
        lost();
      } else if (typeof posted === "object") {
        posted.then((delivered) => (delivered ? undefined : lost()), lost);
      }
    } catch {
      // A disposed webview throws. Its owner disposes the relay, too, or has let go of both.
      lost();
    }
  }

  #refused(refusal: Refusal): void {
    this.#options.onRefused?.(refusal);
  }
}

function abortAll(page: Page): void {
  for (const exchange of page.exchanges.values()) {
    exchange.abort();
  }
  page.exchanges.clear();
}
