import assert from "node:assert/strict";
import { test } from "node:test";

import { inSettings } from "../src/words";
import { BrokenOff, ofError, ofErrorEvent, Refused, sentence } from "../webview/failure";

test("refusals are told apart by their code", () => {
  const check = (status: number, code: string | undefined, kind: string, retry: boolean) => {
    const problem = { detail: "what to do", ...(code ? { code } : {}) };
    assert.deepEqual(ofError(new Refused(status, problem)), { kind, message: "What to do.", retry }, code);
  };
  check(403, "secret_not_found", "key_missing", true);
  check(403, "secret_rejected", "key_refused", true);
  check(404, "thread_not_found", "thread_gone", true);
  check(502, "module_crashed", "module", true);
  check(503, "module_restarting", "module", true);
  check(503, "kernel_failed", "kernel", true);
  check(422, "module_refused", "settings", true);
  check(429, "rate_limited", "other", true);
  check(400, "invalid_request", "other", false);
  check(500, undefined, "other", true);
});

test("a connection that breaks can be tried again", () => {
  assert.equal(ofError(new BrokenOff()).retry, true);
  assert.equal(ofError(new TypeError("fetch failed")).kind, "kernel");
});

test("error events are told apart by their words, which are the chat module's", () => {
  const check = (message: string, kind: string) => assert.equal(ofErrorEvent(message, true).kind, kind, message);
  check("The session's API key could not be had: the host has no such secret.", "key_missing");
  check("The provider refused the API key (status 401), also after it was asked for again: store a valid key and retry.", "key_refused");
  check("The provider does not allow this with the API key at hand (status 403): check the key's permissions.", "key_refused");
  check("The provider at http://h cannot be reached: check `base_url` of the chat module and the network.", "unreachable");
  check("The provider has no such model or address (status 404): check `model` and `base_url` of the chat module.", "settings");
  check("The provider failed (status 503): try again.", "other");
  assert.equal(ofErrorEvent("No.", false).retry, false);
  assert.equal(ofErrorEvent(null, true).message, "The turn failed.");
});

test("settings have the names that the user knows", () => {
  const check = (text: string, expect: string) => assert.equal(inSettings(text), expect);
  check("check `model` and `base_url` of the chat module.", "check `midplane.model` and `midplane.baseUrl`.");
  check("init failed: `base_url` is `nonsense`", "`midplane.baseUrl` is `nonsense`");
  check("nothing of it", "nothing of it");
});

test("messages become sentences", () => {
  const check = (text: string, expect: string) => assert.equal(sentence(text), expect);
  check("the kernel ended", "The kernel ended.");
  check("Try again!", "Try again!");
  check(" waiting… ", "Waiting…");
});
