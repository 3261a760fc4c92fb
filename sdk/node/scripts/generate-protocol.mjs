// Makes the types of the bridge (src/protocol.ts) and its reference (PROTOCOL.md) of its description (protocol.json, which the
// kernel's own types make: scripts/generate-protocol at the top of the repository does both).
//
//     node scripts/generate-protocol.mjs [--check]
//
//   --check   writes nothing; says what is stale, and fails if anything is
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { reference } from "./protocol/reference.mjs";
import { types } from "./protocol/types.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const description = JSON.parse(readFileSync(join(root, "protocol.json"), "utf8"));
const check = process.argv.includes("--check");

for (const [file, text] of [["src/protocol.ts", types(description)], ["PROTOCOL.md", reference(description)]]) {
  const path = join(root, file);
  if (!check) {
    writeFileSync(path, text);
    console.log(`sdk/node/${file}: ${text.split("\n").length - 1} lines`);
  } else if (read(path) !== text) {
    console.error(`sdk/node/${file} is stale: run scripts/generate-protocol`);
    process.exitCode = 1;
  }
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
