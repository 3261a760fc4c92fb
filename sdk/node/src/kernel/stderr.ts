/** Keeps the last lines that a kernel wrote to standard error. */

import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";

/** Enough for an error and what led to it. */
const LINES_MAX = 20;
/** Log lines are short; whatever is longer is cut. */
const LINE_CHARS_MAX = 2_000;

export class StderrTail {
  readonly #lines: string[] = [];
  readonly #decoder = new StringDecoder("utf8");
  #partial = "";
  /** Resolves when the stream has ended and all its lines were seen. */
  readonly ended: Promise<void>;

  constructor(stream: Readable, onLine: ((line: string) => unknown) | undefined) {
    const take = (text: string): void => {
      const lines = (this.#partial + text).split("\n");
      this.#partial = (lines.pop() ?? "").slice(0, LINE_CHARS_MAX);
      for (const line of lines) {
        this.#keep(line.slice(0, LINE_CHARS_MAX), onLine);
      }
    };
    stream.on("data", (chunk: Buffer) => take(this.#decoder.write(chunk)));
    this.ended = new Promise((resolve) => {
      stream.on("error", () => resolve());
      stream.on("close", () => {
        if (this.#partial !== "") {
          take("\n");
        }
        resolve();
      });
    });
  }

  lines(): readonly string[] {
    return [...this.#lines];
  }

  #keep(line: string, onLine: ((line: string) => unknown) | undefined): void {
    this.#lines.push(line);
    if (this.#lines.length > LINES_MAX) {
      this.#lines.shift();
    }
    onLine?.(line);
  }
}
