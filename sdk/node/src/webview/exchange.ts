/**
 * One request of a page on the extension's side: from the checked claim, over the upstream `fetch`, to the last chunk.
 * Whether it may be made was decided before; this file must not decide it again, and holds no credential.
 */
import { Inlet, Outlet } from "./flow.js";
import { responseFields } from "./headers.js";
import type { HostContent, OpenContent, RelayErrorCode } from "./protocol.js";

/** What a request goes out through: `session.fetch`, or anything that takes a path as `fetch` takes a URL. */
export type UpstreamFetch = (input: string, init?: RequestInit) => Promise<Response>;

export interface ExchangeEvents {
  send(content: HostContent): void;
  /** The upstream's failure, in full; the page is told only that there was one. */
  failed(error: unknown): void;
  /** Nothing of it is left, upstream or here. Called once. */
  settled(): void;
}

/** RFC 9110: these have no content, whatever a response says (section 15.3.5, 15.3.6, 15.4.5; and 1xx, which `fetch` never gives). */
const BODILESS_STATUSES: ReadonlySet<number> = new Set([204, 205, 304]);

/** The Fetch standard's redirect statuses. */
const REDIRECT_STATUSES: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** What the `Response` constructor takes as a status text, and so the most a page can be given. */
const STATUS_TEXT = /^[\t\x20-\x7e]{0,128}$/;

export class Exchange {
  readonly #open: OpenContent;
  readonly #headers: [string, string][];
  readonly #bodyBytesMax: number;
  readonly #events: ExchangeEvents;
  readonly #upstream = new AbortController();
  readonly #response = new Outlet();
  readonly #upload: Inlet | undefined;
  #uploadedBytes = 0;
  /** The page has been told how it ended, or has ended it itself: nothing more is sent. */
  #over = false;

  constructor(open: OpenContent, headers: [string, string][], bodyBytesMax: number, events: ExchangeEvents) {
    this.#open = open;
    this.#headers = headers;
    this.#bodyBytesMax = bodyBytesMax;
    this.#events = events;
    if (open.body === "stream") {
      this.#upload = new Inlet({
        grant: (bytes) => this.#send({ type: "credit", id: open.id, bytes }),
        // Upstream wants no more of the body; its answer says why, and the page's window simply stays full.
        cancelled: () => undefined,
      });
    }
  }

  /** Makes the request. Resolves, and never rejects, when all of it is over. */
  async run(fetch: UpstreamFetch): Promise<void> {
    try {
      const response = await fetch(this.#open.url, this.#init());
      await this.#relay(response);
    } catch (error) {
      if (!this.#over) {
        this.#events.failed(error);
        this.fail("upstream_failed", failureMessage(error));
      }
    } finally {
      this.#end();
      this.#events.settled();
    }
  }

  /** A chunk of the request body from the page. */
  push(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#upload === undefined) {
      this.fail("malformed", "this request's body was complete when it was opened");
      return;
    }
    this.#uploadedBytes += bytes.byteLength;
    if (this.#uploadedBytes > this.#bodyBytesMax) {
      this.fail("body_too_large", `a request body may have ${this.#bodyBytesMax} bytes`);
    } else if (!this.#upload.push(bytes)) {
      this.fail("flow_violation", "a chunk was empty, too long, past the end, or more than there was credit for");
    }
  }

  /** The request body is complete. */
  complete(): void {
    if (this.#upload === undefined || !this.#upload.end()) {
      this.fail("malformed", "this request's body was complete already");
    }
  }

  /** The page has read this much more. */
  grant(bytes: number): void {
    if (!this.#response.grant(bytes)) {
      this.fail("flow_violation", "more credit was returned than had been used");
    }
  }

  /** Breaks it off, upstream as well, and tells the page. */
  fail(code: RelayErrorCode, message: string): void {
    this.#send({ type: "fail", id: this.#open.id, code, message });
    this.abort();
  }

  /** Breaks it off, upstream as well, without a word. */
  abort(): void {
    this.#end();
    const reason = new DOMException("the page's request was ended", "AbortError");
    this.#upstream.abort(reason);
    this.#upload?.fail(reason);
  }

  #init(): RequestInit {
    const { method, body } = this.#open;
    return {
      method,
      headers: this.#headers,
      signal: this.#upstream.signal,
      // Followed, a redirect would take the credential to a path that nobody allowed.
      redirect: "manual",
      ...(this.#upload === undefined ? {} : { body: this.#upload.stream, duplex: "half" }),
      ...(body === undefined || body === "stream" ? {} : { body }),
    } as RequestInit;
  }

  async #relay(response: Response): Promise<void> {
    const { id, manualRedirect } = this.#open;
    // A browser's fetch hides what a redirect was; a web extension runs in one.
    const opaque = response.status < 200 || response.status > 599;
    if (opaque || (REDIRECT_STATUSES.has(response.status) && manualRedirect !== true)) {
      this.fail("redirect_refused", "the module answered with a redirect, which a relay does not follow");
      return;
    }
    const body = BODILESS_STATUSES.has(response.status) || this.#open.method === "HEAD" ? null : response.body;
    this.#send({
      type: "head",
      id,
      status: response.status,
      statusText: STATUS_TEXT.test(response.statusText) ? response.statusText : "",
      headers: responseFields(response.headers),
      body: body !== null,
    });
    if (body === null) {
      return;
    }
    const reader = body.getReader();
    // The page has to have room before a chunk is read: until then the bytes stay with the kernel, and it with the module.
    while (await this.#response.room(1)) {
      const { done, value } = await reader.read();
      if (done) {
        this.#send({ type: "end", id });
        return;
      }
      if (!(await this.#response.write(value, (bytes) => this.#send({ type: "data", id, bytes })))) {
        break;
      }
    }
    await reader.cancel();
  }

  #send(content: HostContent): void {
    if (!this.#over) {
      this.#events.send(content);
    }
  }

  #end(): void {
    this.#over = true;
    this.#response.close();
  }
}

/**
 * What a page may know of a failure: its code, where the error or its cause has a stable one, as a session's errors do. Never the
 * message: it can name paths of this machine.
 */
function failureMessage(error: unknown): string {
  const code = stableCode(error) ?? (error instanceof Error ? stableCode(error.cause) : undefined);
  return `the request could not be completed${code === undefined ? "" : `: ${code}`}; the extension's log says more`;
}

function stableCode(error: unknown): string | undefined {
  const code: unknown = typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
  return typeof code === "string" && /^[a-z][a-z_]{0,63}$/.test(code) ? code : undefined;
}
