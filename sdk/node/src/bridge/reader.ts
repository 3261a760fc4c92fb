/**
 * Reads JSON-RPC messages with LSP framing, within the bridge's limits: a peer that lies about a length makes this side keep no more
 * than one message. Says nothing of a bad message's content, since it may hold a secret.
 */

import type { Readable } from "node:stream";

import { AbstractMessageReader, type DataCallback, type Disposable, type Message, type MessageReader } from "vscode-jsonrpc/node";

import { MidplaneError } from "../errors.js";

/** Far above the two fields that a header has. */
export const HEADER_BYTES_MAX = 4 * 1024;
/** As the kernel's own limit. */
export const BODY_BYTES_MAX = 1024 * 1024;

const HEADER_END = Buffer.from("\r\n\r\n");

export class BoundedMessageReader extends AbstractMessageReader implements MessageReader {
  readonly #stream: Readable;
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** Bytes of the message that is being read, once its header has been. */
  #expected: number | undefined;

  constructor(stream: Readable) {
    super();
    this.#stream = stream;
  }

  listen(callback: DataCallback): Disposable {
    const onChunk = (chunk: Buffer): void => {
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
      try {
        for (let message = this.#next(); message !== undefined; message = this.#next()) {
          callback(message);
        }
      } catch (thrown) {
        stop();
        this.fireError(thrown);
        this.fireClose();
      }
    };
    const onError = (): void => this.fireError(new MidplaneError("bridge_closed", "the bridge broke"));
    const onClose = (): void => this.fireClose();
    const stop = (): void => {
      this.#stream.off("data", onChunk);
      this.#stream.off("end", onClose);
      this.#stream.off("close", onClose);
    };
    this.#stream.on("data", onChunk).on("error", onError).on("end", onClose).on("close", onClose);
    return { dispose: stop };
  }

  #next(): Message | undefined {
    this.#expected ??= this.#header();
    if (this.#expected === undefined || this.#bytes < this.#expected) {
      return undefined;
    }
    const body = this.#take(this.#expected);
    this.#expected = undefined;
    return parse(body);
  }

  #header(): number | undefined {
    if (this.#bytes === 0) {
      return undefined;
    }
    const head = this.#joined();
    const end = head.subarray(0, HEADER_BYTES_MAX).indexOf(HEADER_END);
    if (end < 0) {
      if (head.length >= HEADER_BYTES_MAX) {
        throw new MidplaneError("bridge_invalid", `the kernel sent a header of more than ${HEADER_BYTES_MAX} bytes`);
      }
      return undefined;
    }
    const length = contentLength(this.#take(end + HEADER_END.length).toString("latin1"));
    if (length === undefined) {
      throw new MidplaneError("bridge_invalid", "the kernel sent a message without a proper Content-Length");
    }
    if (length > BODY_BYTES_MAX) {
      throw new MidplaneError("bridge_invalid", `the kernel announced a message of ${length} bytes; ${BODY_BYTES_MAX} are the most`);
    }
    return length;
  }

  #take(count: number): Buffer {
    const all = this.#joined();
    const rest = all.subarray(count);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#bytes = rest.length;
    return all.subarray(0, count);
  }

  #joined(): Buffer {
    const [only] = this.#chunks;
    if (only !== undefined && this.#chunks.length === 1) {
      return only;
    }
    const all = Buffer.concat(this.#chunks, this.#bytes);
    this.#chunks = [all];
    return all;
  }
}

/** Undefined unless exactly one field of this name says a plain number. */
function contentLength(header: string): number | undefined {
  const fields = header.split("\r\n").flatMap((line) => {
    const match = /^content-length:[ \t]*(\d{1,10})[ \t]*$/i.exec(line);
    return match?.[1] === undefined ? [] : [Number(match[1])];
  });
  return fields.length === 1 ? fields[0] : undefined;
}

function parse(body: Buffer): Message {
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch {
    // The parser's own words quote the text.
    throw new MidplaneError("bridge_invalid", "the kernel sent a message that is not JSON");
  }
  if (!isMessage(value)) {
    throw new MidplaneError("bridge_invalid", "the kernel sent JSON that is no JSON-RPC message");
  }
  return value;
}

function isMessage(value: unknown): value is Message {
  return typeof value === "object" && value !== null && "jsonrpc" in value && value.jsonrpc === "2.0";
}
