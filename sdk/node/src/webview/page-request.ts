/**
 * One request on the page's side: opens it, sends its body as the extension takes it, and makes a `Response` of what comes
 * back. Knows nothing of other requests or of the window it is in.
 */
import { Inlet, Outlet } from "./flow.js";
import {
  INLINE_BODY_BYTES_MAX,
  arrivedBytes,
  type HeaderList,
  type HostContent,
  type OpenContent,
  type PageContent,
  type RelayErrorCode,
} from "./protocol.js";

/** Why the relay did not complete a request: the `cause` of the `TypeError` that `fetch` rejects with. */
export class RelayError extends Error {
  override readonly name = "RelayError";

  constructor(
    /** Stable; `not_allowed` and the others are explained at the type. */
    readonly code: RelayErrorCode,
    message: string,
  ) {
    super(message);
  }

  /** As `fetch` gives its failures. */
  asTypeError(): TypeError {
    return new TypeError(`Failed to fetch: ${this.message}`, { cause: this });
  }
}

export interface PageRequestEvents {
  send(content: PageContent): void;
  /** Resolves when one more message may be sent. */
  turn(): Promise<void>;
  /** No message for it is expected any more. Called once. */
  settled(): void;
}

export interface PageRequestSource {
  /** The body is still being made: what there is has to leave at once, and cannot be waited for. */
  readonly live: boolean;
  readonly signal: AbortSignal | undefined;
}

type Answer = Extract<HostContent, { readonly id: number }>;

export class PageRequest {
  readonly #id: number;
  readonly #request: Request;
  readonly #url: string;
  readonly #source: PageRequestSource;
  readonly #events: PageRequestEvents;
  readonly #upload = new Outlet();
  readonly #aborted = (): void => this.#abort(this.#source.signal?.reason);
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #inlet: Inlet | undefined;
  #settled = false;
  #opened = false;
  #resolve!: (response: Response) => void;
  #reject!: (error: unknown) => void;

  constructor(id: number, request: Request, url: string, source: PageRequestSource, events: PageRequestEvents) {
    this.#id = id;
    this.#request = request;
    this.#url = url;
    this.#source = source;
    this.#events = events;
  }

  /** Resolves with the response once its head is there. */
  run(): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#source.signal?.addEventListener("abort", this.#aborted);
      this.#start().catch((error: unknown) => this.#abort(error));
    });
  }

  /** Takes one message of the extension. */
  receive(answer: Answer): void {
    switch (answer.type) {
      case "head":
        this.#answer(answer);
        return;
      case "data": {
        const bytes = arrivedBytes(answer.bytes);
        if (bytes === undefined) {
          this.#abort(new RelayError("bytes_lost", `this editor did not carry an array buffer; "engines.vscode" must be ^1.57.0 or later`).asTypeError());
        } else if (this.#inlet?.push(bytes) !== true) {
          this.#abort(new RelayError("flow_violation", "the extension sent more than was asked for").asTypeError());
        }
        return;
      }
      case "end":
        this.#settle();
        this.#inlet?.end();
        return;
      case "credit":
        this.#upload.grant(answer.bytes);
        return;
      case "fail":
        this.#fail(new RelayError(answer.code, answer.message));
    }
  }

  /** Ends it with all others of the page. The extension may yet have to be told: its word and this request may have crossed on the way. */
  withdraw(error: RelayError): void {
    this.#abort(error.asTypeError());
  }

  /** Ends it for a reason that came from the extension. */
  #fail(error: RelayError): void {
    this.#settle();
    this.#break(error.asTypeError());
  }

  async #start(): Promise<void> {
    const { body } = this.#request;
    if (body === null) {
      this.#open();
      return;
    }
    const reader = (this.#reader = body.getReader() as ReadableStreamDefaultReader<Uint8Array>);
    if (this.#source.live) {
      this.#open("stream");
      await this.#pump(reader, []);
      return;
    }
    // All of it is here already, so looking whether it is short delays nothing.
    const chunks: Uint8Array[] = [];
    let byteLength = 0;
    while (byteLength <= INLINE_BODY_BYTES_MAX) {
      const { done, value } = await reader.read();
      if (done) {
        this.#open(joined(chunks, byteLength));
        return;
      }
      chunks.push(value);
      byteLength += value.byteLength;
    }
    this.#open("stream");
    await this.#pump(reader, chunks);
  }

  #open(body?: OpenContent["body"]): void {
    if (this.#settled) {
      return;
    }
    const { method, headers, redirect } = this.#request;
    this.#opened = true;
    this.#events.send({
      type: "open",
      id: this.#id,
      method,
      url: this.#url,
      headers: fields(headers),
      ...(body === undefined ? {} : { body }),
      ...(redirect === "manual" ? { manualRedirect: true } : {}),
    });
  }

  async #pump(reader: ReadableStreamDefaultReader<Uint8Array>, read: readonly Uint8Array[]): Promise<void> {
    const send = (bytes: Uint8Array): void => this.#events.send({ type: "data", id: this.#id, bytes });
    for (const chunk of read) {
      if (!(await this.#upload.write(chunk, send))) {
        return;
      }
    }
    // Room first: a source that is asked for more than is wanted has made it for nothing.
    while (await this.#upload.room(1)) {
      const { done, value } = await reader.read();
      if (this.#settled) {
        return;
      }
      if (done) {
        this.#events.send({ type: "end", id: this.#id });
        return;
      }
      if (!ArrayBuffer.isView(value)) {
        throw new TypeError("a request body's stream must give Uint8Arrays");
      }
      await this.#events.turn();
      await this.#upload.write(value, send);
    }
  }

  #answer({ status, statusText, headers, body }: Extract<Answer, { type: "head" }>): void {
    if (this.#settled || this.#inlet !== undefined) {
      return;
    }
    if (body) {
      this.#inlet = new Inlet({
        grant: (bytes) => this.#sendUnlessSettled({ type: "credit", id: this.#id, bytes }),
        cancelled: () => {
          this.#sendUnlessSettled({ type: "abort", id: this.#id });
          this.#settle();
        },
        settled: () => this.#unlisten(),
      });
    } else {
      this.#settle();
      this.#unlisten();
    }
    const response = new Response(this.#inlet?.stream ?? null, { status, statusText, headers: headers as [string, string][] });
    // The constructor leaves it empty. As with `fetch`, it says what was asked for.
    Object.defineProperty(response, "url", { value: this.#request.url, enumerable: true });
    this.#resolve(response);
  }

  /** Ends it for a reason on this side, and tells the extension. */
  #abort(reason: unknown): void {
    if (this.#opened) {
      this.#sendUnlessSettled({ type: "abort", id: this.#id });
    }
    this.#settle();
    this.#break(reason);
  }

  #break(reason: unknown): void {
    this.#unlisten();
    this.#reject(reason);
    this.#inlet?.fail(reason);
  }

  #unlisten(): void {
    this.#source.signal?.removeEventListener("abort", this.#aborted);
  }

  #sendUnlessSettled(content: PageContent): void {
    if (!this.#settled) {
      this.#events.send(content);
    }
  }

  /** The extension has nothing more to say. What is unread may still be read, or dropped by the signal. */
  #settle(): void {
    if (this.#settled) {
      return;
    }
    this.#settled = true;
    this.#upload.close();
    this.#reader?.cancel().catch(() => undefined);
    this.#events.settled();
  }
}

function fields(headers: Headers): HeaderList {
  const list: [string, string][] = [];
  headers.forEach((value, name) => list.push([name, value]));
  return list;
}

/** Over a buffer of its own, whatever the chunks are views of. */
function joined(chunks: readonly Uint8Array[], byteLength: number): Uint8Array {
  const whole = new Uint8Array(byteLength);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}
