/**
 * Back-pressure by credit, for one body in one direction: an `Outlet` where the bytes come from, an `Inlet` where they
 * are read. Used by both halves; knows nothing of messages, requests or who may ask for what.
 *
 * No timer and no gathering: a chunk leaves in the turn it was read, unless the reader has a whole window unread.
 */
import { CHUNK_BYTES_MAX, GRANT_BYTES, WINDOW_BYTES, chunkCost } from "./protocol.js";

/** The sending end: counts what the reader has room for. */
export class Outlet {
  #credit = WINDOW_BYTES;
  #closed = false;
  #wake: (() => void) | undefined;

  /** Adds what the reader gave back. False when that is more than was ever taken: the reader lies. */
  grant(bytes: number): boolean {
    if (this.#credit + bytes > WINDOW_BYTES) {
      return false;
    }
    this.#credit += bytes;
    this.#signal();
    return true;
  }

  /** Resolves once the reader has room for a chunk this long, or with false when the outlet was closed. */
  async room(byteLength: number): Promise<boolean> {
    while (!this.#closed && this.#credit < chunkCost(byteLength)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return !this.#closed;
  }

  /**
   * Sends `bytes` on, in pieces no longer than a chunk, each copied into a buffer of its own: a chunk from a socket is a view over a pool that
   * holds other requests' bytes too, and `postMessage` may carry the whole pool across.
   * Resolves with false when the outlet was closed before all was sent.
   */
  async write(bytes: Uint8Array, send: (piece: Uint8Array<ArrayBuffer>) => void): Promise<boolean> {
    for (let start = 0; start < bytes.byteLength; start += CHUNK_BYTES_MAX) {
      const piece = bytes.subarray(start, start + CHUNK_BYTES_MAX);
      if (!(await this.room(piece.byteLength))) {
        return false;
      }
      this.#credit -= chunkCost(piece.byteLength);
      send(new Uint8Array(piece));
    }
    return !this.#closed;
  }

  /** Ends every wait. */
  close(): void {
    this.#closed = true;
    this.#signal();
  }

  #signal(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

export interface InletEvents {
  /** The reader took this much; the sender may have it again. Not called once the sender has ended. */
  grant(bytes: number): void;
  /** The reader wants no more. Not called once the sender has ended. */
  cancelled(reason: unknown): void;
  /** The stream has been read to its end, cancelled, or failed. */
  settled?(): void;
}

/** The reading end: a byte stream that holds at most a window. */
export class Inlet {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly #events: InletEvents;
  readonly #waiting: Uint8Array<ArrayBuffer>[] = [];
  #room = WINDOW_BYTES;
  #read = 0;
  #ended = false;
  #settled = false;
  #controller!: ReadableByteStreamController;
  #pulled: (() => void) | undefined;

  constructor(events: InletEvents) {
    this.#events = events;
    this.stream = new ReadableStream(
      {
        type: "bytes",
        start: (controller) => {
          this.#controller = controller as ReadableByteStreamController;
        },
        pull: () => this.#pull(),
        cancel: (reason) => this.#cancel(reason),
      },
      // The window is the queue; a second one in the stream would read ahead of the reader.
      { highWaterMark: 0 },
    ) as ReadableStream<Uint8Array<ArrayBuffer>>;
  }

  /** Takes a chunk. False when it is empty, too long, past the end, or more than there was credit for: the sender lies. */
  push(bytes: Uint8Array<ArrayBuffer>): boolean {
    const cost = chunkCost(bytes.byteLength);
    if (this.#ended || bytes.byteLength === 0 || bytes.byteLength > CHUNK_BYTES_MAX || cost > this.#room) {
      return false;
    }
    if (!this.#settled) {
      this.#room -= cost;
      this.#waiting.push(bytes);
      this.#advance();
    }
    return true;
  }

  /** No more will come. False when that was said before. */
  end(): boolean {
    if (this.#ended) {
      return false;
    }
    this.#ended = true;
    this.#advance();
    return true;
  }

  /** Breaks the stream off at once; what waits unread is dropped, as `fetch` does. */
  fail(error: unknown): void {
    if (this.#settled) {
      return;
    }
    this.#settle();
    this.#controller.error(error);
  }

  #pull(): Promise<void> {
    return new Promise((resolve) => {
      this.#pulled = resolve;
      this.#advance();
    });
  }

  /** Hands over one chunk if the reader has asked for one, and closes once the last is gone. */
  #advance(): void {
    if (this.#settled) {
      return;
    }
    if (this.#pulled !== undefined) {
      const bytes = this.#waiting.shift();
      if (bytes !== undefined) {
        const cost = chunkCost(bytes.byteLength);
        this.#controller.enqueue(bytes);
        this.#account(cost);
        this.#answerPull();
      }
    }
    if (this.#ended && this.#waiting.length === 0) {
      this.#controller.close();
      // A read into the caller's own buffer has to be answered, too; with nothing, the stream being closed.
      this.#controller.byobRequest?.respond(0);
      this.#settle();
    }
  }

  #account(cost: number): void {
    this.#read += cost;
    if (this.#read >= GRANT_BYTES && !this.#ended) {
      const bytes = this.#read;
      this.#read = 0;
      this.#room += bytes;
      this.#events.grant(bytes);
    }
  }

  #cancel(reason: unknown): void {
    if (this.#settled) {
      return;
    }
    const ended = this.#ended;
    this.#settle();
    if (!ended) {
      this.#events.cancelled(reason);
    }
  }

  #settle(): void {
    this.#settled = true;
    this.#waiting.length = 0;
    this.#answerPull();
    this.#events.settled?.();
  }

  #answerPull(): void {
    const pulled = this.#pulled;
    this.#pulled = undefined;
    pulled?.();
  }
}
