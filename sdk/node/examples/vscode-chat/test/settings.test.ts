import assert from "node:assert/strict";
import { test } from "node:test";

import { effectOf, hostOf, modelName, moduleConfig, needsKey, type Settings } from "../src/settings";

const ECHO: Settings = {
  provider: "echo",
  baseUrl: "",
  model: "",
  api: "responses",
  requiresKey: true,
  instructions: "",
  isolation: "process",
  logLevel: "info",
};
const OPENAI: Settings = { ...ECHO, provider: "openai" };

test("the echo is told nothing of providers", () => {
  const config = moduleConfig({ ...ECHO, baseUrl: "http://h/v1", model: "m", requiresKey: false });
  assert.deepEqual(Object.keys(config), ["provider", "echo_delay"]);
});

test("what is empty is left to the module", () => {
  assert.deepEqual(moduleConfig(OPENAI), { provider: "openai", api: "responses", requires_key: true });
  assert.deepEqual(moduleConfig({ ...OPENAI, baseUrl: "http://h/v1", model: "m", instructions: "Be brief." }), {
    provider: "openai",
    api: "responses",
    requires_key: true,
    base_url: "http://h/v1",
    model: "m",
    instructions: "Be brief.",
  });
});

test("a key is needed where a provider wants one", () => {
  assert.equal(needsKey(ECHO), false);
  assert.equal(needsKey(OPENAI), true);
  assert.equal(needsKey({ ...OPENAI, requiresKey: false }), false);
});

test("a change disturbs no more than it must", () => {
  const check = (change: Partial<Settings>, expect: string, from = OPENAI) =>
    assert.equal(effectOf(from, { ...from, ...change }), expect, JSON.stringify(change));
  check({}, "none");
  check({ model: "m" }, "reload");
  check({ provider: "echo" }, "reload");
  check({ isolation: "in-process" }, "restart");
  check({ logLevel: "debug", model: "m" }, "restart");
  check({ model: "m" }, "none", ECHO);
});

test("what a person reads", () => {
  assert.equal(modelName({ ...OPENAI, model: "m" }), "m");
  assert.equal(modelName(OPENAI), "OpenAI's default model");
  assert.equal(modelName({ ...OPENAI, baseUrl: "http://h/v1" }), "No model chosen");
  assert.equal(hostOf(OPENAI), "");
  assert.equal(hostOf({ ...OPENAI, baseUrl: "http://127.0.0.1:11434/v1" }), "127.0.0.1:11434");
  assert.equal(hostOf({ ...OPENAI, baseUrl: "nonsense" }), "nonsense");
});
