import assert from "node:assert/strict";
import { test } from "node:test";

import { MidplaneError, type SecretStore, type StartOptions } from "@midplane/host";

import { scripted, soon, start } from "./support/scene.js";
import type { TestContext } from "node:test";

/** What goes over the bridge when the kernel asks for `id`. */
async function asked(t: TestContext, secrets: StartOptions["secrets"], id = "key"): Promise<{ result?: unknown; error?: { code: number; message: string } }> {
  const kernel = await start(t, scripted(t, {}, secrets === undefined ? {} : { secrets }));
  const session = await kernel.createSession();
  const { jsonrpc: _, id: __, ...answer } = (await (await session.fetch(`/api/t/ask?id=${id}`)).json()) as Record<string, unknown>;
  return answer;
}

test("a store and a callback answer", async (t) => {
  const store: SecretStore = { get: async (key) => `value of ${key}` };
  assert.deepEqual(await asked(t, store), { result: { secret: "value of key" } });
  assert.deepEqual(await asked(t, ({ secretKeyId, environment, module }) => `${secretKeyId} ${environment} ${module}`), { result: { secret: "key pro t" } });
});

test("a store keeps its this", async (t) => {
  class Store {
    readonly #values = new Map([["key", "found"]]);
    async get(key: string): Promise<string | undefined> {
      return this.#values.get(key);
    }
  }
  assert.deepEqual(await asked(t, new Store()), { result: { secret: "found" } });
});

test("a secret that is not there, one that is denied, and one that cannot be read", async (t) => {
  assert.deepEqual(await asked(t, () => undefined), { error: { code: -32002, message: 'there is no secret "key"; set it first' } });
  const denied = () => {
    throw new MidplaneError("secret_denied", "you said no");
  };
  assert.deepEqual(await asked(t, denied), { error: { code: -32001, message: "you said no" } });
  const broken = () => Promise.reject(new Error("keyring: sk-canary"));
  assert.deepEqual(await asked(t, broken), { error: { code: -32603, message: "the host could not read the secret" } });
  const strange = (() => 42) as unknown as () => string;
  assert.deepEqual(await asked(t, strange), { error: { code: -32603, message: "the host's source of secrets answered with something else than a text" } });
});

test("a host without secrets does not answer for them", async (t) => {
  assert.equal((await asked(t, undefined)).error?.code, -32601);
});

test("a store's changes are passed on until the kernel is disposed", async (t) => {
  const listeners = new Set<(change: { key: string }) => unknown>();
  const store: SecretStore = {
    get: async () => "x",
    onDidChange: (listener) => {
      listeners.add(listener);
      return { dispose: () => listeners.delete(listener) };
    },
  };
  const kernel = await start(t, scripted(t, {}, { secrets: store }));
  const session = await kernel.createSession();
  assert.equal(await kernel.secretChanged("other"), 3);
  for (const listener of listeners) {
    listener({ key: "mine" });
  }
  const changes = await soon<unknown[]>("the change", (done) => {
    const look = async (): Promise<void> => {
      const calls = (await (await session.fetch("/api/t/calls")).json()) as { method: string; params: unknown }[];
      const found = calls.filter(({ method }) => method === "secret/changed");
      return found.length < 2 ? look() : done(found.map(({ params }) => params));
    };
    void look();
  });
  assert.deepEqual(changes, [{ secret_key_id: "other" }, { secret_key_id: "mine" }]);
  await kernel.dispose();
  assert.equal(listeners.size, 0);
});
