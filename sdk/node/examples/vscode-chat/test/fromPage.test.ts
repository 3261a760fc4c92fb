import assert from "node:assert/strict";
import { test } from "node:test";

import { readFromPage } from "../src/fromPage";
import { PAGE_COMMANDS } from "../src/messages";

test("what the page may say is read, and nothing besides", () => {
  const check = (message: object) => assert.deepEqual(readFromPage({ ...message, more: "ignored" }), message);
  check({ type: "ready" });
  check({ type: "stop" });
  check({ type: "copy", text: "a\nb" });
  check({ type: "openLink", url: "https://h/p?q#f" });
  check({ type: "openLink", url: "mailto:a@h" });
  for (const command of PAGE_COMMANDS) check({ type: "command", command });
});

test("all else is nothing", () => {
  const check = (message: unknown) => assert.equal(readFromPage(message), undefined, JSON.stringify(message));
  for (const message of [undefined, null, 7, "ready", [], {}, { type: 7 }, { type: "insert", text: "x" }]) check(message);
  // The relay's own messages pass by.
  check({ channel: "midplane", type: "stop" });
  for (const command of [undefined, "midplane.forgetKey", "workbench.action.quit", "workbench.action.terminal.sendSequence", "__proto__", ["midplane.setKey"]]) {
    check({ type: "command", command });
  }
  for (const text of [undefined, 7, { toString: () => "x" }, "x".repeat(1024 * 1024 + 1)]) check({ type: "copy", text });
  for (const url of [
    undefined,
    "",
    "h/p",
    "//h/p",
    "command:midplane.forgetKey",
    "vscode://midplane.midplane-chat/x",
    "file:///etc/passwd",
    "javascript:alert(1)",
    " https://h",
    "https:h",
    `https://h/${"x".repeat(8 * 1024)}`,
  ]) {
    check({ type: "openLink", url });
  }
});
