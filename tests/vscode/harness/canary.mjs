// The canary: a key that is nobody's, and the search for it in every coat it could wear.

import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, lstatSync } from "node:fs";
import { join } from "node:path";

import { processes } from "./processes.mjs";

/** Looks like an API key, is long enough to be found by chance never, and new for every run. */
export const newCanary = () => `sk-canary-${randomBytes(24).toString("hex")}`;

/** The key as it is and as it could be written: in UTF-16, hexadecimal, base64 (at each of its three offsets), percent-encoded, reversed. */
export function coats(key) {
  const bytes = Buffer.from(key);
  const base64 = [0, 1, 2].flatMap((offset) => {
    const padded = Buffer.concat([Buffer.alloc(offset), bytes]);
    // Without the characters at both ends that depend on what stands beside it.
    const text = padded.toString("base64").replace(/=+$/, "").slice(offset === 0 ? 0 : 4, -4);
    return [text, text.replaceAll("+", "-").replaceAll("/", "_")];
  });
  const percent = [...bytes].map((byte) => `%${byte.toString(16)}`).join("");
  const texts = [key, bytes.toString("hex"), bytes.toString("hex").toUpperCase(), [...key].reverse().join(""), percent, ...base64];
  return [...new Set(texts)].map((text) => Buffer.from(text)).concat(Buffer.from(key, "utf16le"));
}

export const holds = (bytes, needles) => needles.some((needle) => bytes.includes(needle));

/** The files below `root` that hold it. */
export function filesWith(root, needles) {
  const found = [];
  let searched = 0;
  const walk = (directory) => {
    for (const name of readdirSync(directory)) {
      const path = join(directory, name);
      let status;
      try {
        status = lstatSync(path);
        if (status.isDirectory()) walk(path);
        else if (status.isFile()) {
          searched += 1;
          if (holds(readFileSync(path), needles)) found.push(path);
        }
      } catch {
        // Gone meanwhile.
      }
    }
  };
  walk(root);
  return { found, searched };
}

/** The processes, of the whole machine, that have it in their environment or arguments. */
export function processesWith(needles) {
  return processes().filter(({ arguments: words, environ }) => holds(Buffer.from(`${words.join("\0")}\0${environ}`), needles));
}
