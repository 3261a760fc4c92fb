import assert from "node:assert/strict";
import { test } from "node:test";

import { age } from "../webview/time";

test("ages are short", () => {
  const now = new Date("2026-11-21T12:00:00Z");
  const check = (then: string, expect: string) => assert.equal(age(then, now), expect, then);
  check("2026-11-21T11:59:30Z", "now");
  check("2026-11-21T11:57:59.123456Z", "2 min");
  check("2026-11-21T09:00:00Z", "3 h");
  check("2026-11-20T11:00:00Z", "1 d");
  check("2026-11-01T11:00:00Z", "2 w");
  check("2024-11-01T11:00:00Z", "2 y");
  check("2026-11-21T13:00:00Z", "now");
  check("yesterday", "");
});
