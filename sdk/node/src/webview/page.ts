/**
 * The page's half of the webview relay: `@midplane/host/webview/page`.
 *
 * `createFetch(acquireVsCodeApi())` is a standard `fetch` whose requests the extension makes. For a bundler: nothing of
 * Node, no dependency, no credential; what it may reach is decided by the extension alone.
 *
 * Where it differs from a browser's `fetch`, because there is no browser network below it: `credentials`, `cache`, `mode`,
 * `referrer`, `integrity`, `keepalive` and `priority` have no effect; a redirect is never followed (an error, or with `redirect: "manual"` the
 * response itself); a failure's `TypeError` has a `RelayError` with a stable `code` as its `cause`.
 */
import { PageRequest, RelayError } from "./page-request.js";
import {
  BURST_SECONDS,
  CHANNEL,
  MESSAGES_PER_SECOND,
  OPEN_COST,
  REQUEST_ID_MAX,
  VERSION,
  type HostMessage,
  type PageContent,
  type PageMessage,
} from "./protocol.js";
import { Bucket } from "./rate.js";

export { RelayError };
export type { RelayErrorCode } from "./protocol.js";

/** What `acquireVsCodeApi()` gives, as far as it is used. It may be called only once in a page. */
export interface VsCodeApi {
  postMessage(message: unknown): void;
}

/** Where the extension's messages arrive: the page's `window`. */
export interface PageScope {
  addEventListener(type: string, listener: (event: { readonly data?: unknown }) => void): void;
  readonly document?: { readonly baseURI: string };
}

export interface CreateFetchOptions {
  /** The window to listen on, instead of the global one. */
  readonly scope?: PageScope;
}

/** The origin that a page may write before a path, as in `new URL("/api/chat/threads", "http://localhost")`. It names no server. */
const KERNEL_ORIGIN = "http://localhost";

/** How long the first request waits for a sign of the extension. It answers in milliseconds; this is for one that is still activating. */
const WELCOME_TIMEOUT_MS = 10_000;

/** The page keeps to half of what the extension takes, so that messages bunched up on the way are no flood. */
const PACE = 0.5;

const created = new WeakMap<VsCodeApi, typeof fetch>();

/**
 * Returns a `fetch` for paths under `/api/`, streaming both ways, for the page whose `acquireVsCodeApi()` this is. Called again
 * with the same object it returns the same function.
 *
 * Rejects with the signal's reason when aborted, and with a `TypeError` otherwise; `cause` is then a `RelayError`.
 */
export function createFetch(api: VsCodeApi, options: CreateFetchOptions = {}): typeof fetch {
  let relayed = created.get(api);
  if (relayed === undefined) {
    const client = new PageClient(api, options.scope ?? (globalThis as unknown as PageScope));
    relayed = (input, init) => client.fetch(input, init);
    created.set(api, relayed);
  }
  return relayed;
}

class PageClient {
  readonly #api: VsCodeApi;
  readonly #scope: PageScope;
  readonly #page = pageName();
  readonly #requests = new Map<number, PageRequest>();
  #lastId = 0;
  #bucket = pace(MESSAGES_PER_SECOND);
  #welcomed = false;
  #welcomeTimer: ReturnType<typeof setTimeout> | undefined;
  /** Set by the extension: until then it does not listen. */
  #silentUntil = 0;

  constructor(api: VsCodeApi, scope: PageScope) {
    this.#api = api;
    this.#scope = scope;
    scope.addEventListener("message", (event) => this.#receive(event.data));
    scope.addEventListener("pagehide", () => this.#post({ type: "bye" }));
    this.#post({ type: "hello" });
  }

  async fetch(input: Parameters<typeof fetch>[0], init?: RequestInit): Promise<Response> {
    // The constructor does what `fetch` does with its arguments: methods, header checks, bodies and their content types.
    // It wants to be told that an upload ends before its answer is read; nothing else is possible, so nobody has to say it.
    const streamed = init?.body instanceof ReadableStream;
    const live = streamed || (init?.body == null && input instanceof Request);
    const given = streamed ? ({ ...init, duplex: "half" } as RequestInit) : init;
    const request = new Request(input instanceof Request ? input : new URL(String(input), KERNEL_ORIGIN).href, given);
    // The caller's own signal: one derived from it may be collected while the caller still holds this.
    const signal = (init?.signal === undefined ? (input instanceof Request ? input.signal : undefined) : init.signal) ?? undefined;
    signal?.throwIfAborted();
    const url = this.#path(request.url);
    await this.#turn(OPEN_COST);
    // The caller may have aborted in the very turn it called.
    signal?.throwIfAborted();
    const remainingMs = this.#silentUntil - performance.now();
    if (remainingMs > 0) {
      throw new RelayError("flooded", `the extension does not listen for another ${Math.ceil(remainingMs)} ms`).asTypeError();
    }
    if (this.#lastId === REQUEST_ID_MAX) {
      throw new RelayError("too_many_requests", "this page has made all the requests it can; reload it").asTypeError();
    }
    const id = (this.#lastId += 1);
    const relayed = new PageRequest(id, request, url, { live, signal }, {
      send: (content) => {
        this.#bucket.charge(1, performance.now());
        this.#post(content);
      },
      turn: () => this.#turn(1),
      settled: () => this.#requests.delete(id),
    });
    this.#requests.set(id, relayed);
    this.#awaitWelcome();
    return relayed.run();
  }

  /** Path and query of a URL on the kernel's origin or the page's own, which is what relative URLs of a `Request` become. */
  #path(href: string): string {
    const url = new URL(href);
    const origin = `${url.protocol}//${url.host}`;
    const base = this.#scope.document?.baseURI;
    const own = base !== undefined && URL.canParse(base) ? new URL(base) : undefined;
    if (origin !== KERNEL_ORIGIN && (own === undefined || own.host === "" || origin !== `${own.protocol}//${own.host}`)) {
      throw new RelayError("url_refused", `${origin} is not behind this fetch; it takes paths like /api/chat/chatkit`).asTypeError();
    }
    return url.pathname + url.search;
  }

  #receive(data: unknown): void {
    // Other frames may post to this window, too. None but the extension has been told this page's name.
    const message = data as HostMessage | null | undefined;
    if (typeof message !== "object" || message === null || message.channel !== CHANNEL || message.page !== this.#page) {
      return;
    }
    if (message.version !== VERSION) {
      this.#endAll(new RelayError("version_mismatch", "the extension and this page use different versions of @midplane/host"));
      return;
    }
    switch (message.type) {
      case "welcome":
        this.#bucket = pace(message.messagesPerSecond);
        this.#setWelcomed(true);
        return;
      case "halt":
        this.#silentUntil = performance.now() + message.pauseMs;
        // The next request may find another relay, or none.
        this.#setWelcomed(message.code !== "relay_disposed");
        this.#endAll(new RelayError(message.code, message.message));
        return;
      default:
        this.#requests.get(message.id)?.receive(message);
    }
  }

  #setWelcomed(welcomed: boolean): void {
    this.#welcomed = welcomed;
    clearTimeout(this.#welcomeTimer);
    this.#welcomeTimer = undefined;
  }

  #awaitWelcome(): void {
    if (this.#welcomed || this.#welcomeTimer !== undefined) {
      return;
    }
    this.#welcomeTimer = setTimeout(() => {
      this.#welcomeTimer = undefined;
      this.#endAll(new RelayError("no_relay", "the extension does not answer; it has to call relayFetch for this webview"));
    }, WELCOME_TIMEOUT_MS);
  }

  #endAll(error: RelayError): void {
    for (const request of [...this.#requests.values()]) {
      request.withdraw(error);
    }
  }

  /** Waits while this page has sent as much as it may. Not before it has sent very much. */
  async #turn(cost: number): Promise<void> {
    while (!this.#bucket.take(cost, performance.now())) {
      const waitMs = this.#bucket.waitMs(cost, performance.now());
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  #post(content: PageContent): void {
    const message: PageMessage = { channel: CHANNEL, version: VERSION, page: this.#page, ...content };
    this.#api.postMessage(message);
  }
}

function pace(messagesPerSecond: number): Bucket {
  return new Bucket(messagesPerSecond * PACE, BURST_SECONDS, performance.now());
}

function pageName(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
