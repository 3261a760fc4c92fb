// Secrets, from the host to the module, through the real kernel.
import assert from "node:assert/strict";
import { test } from "node:test";

import { MidplaneError, type SecretRequest, type SecretStore } from "@midplane/host";

import { real } from "./support/real.js";
import { soon, start } from "./support/scene.js";

const NEEDS_SECRET = { slow: { config: { needs_secret: true } } };

/** What VS Code's `SecretStorage` does. */
class Store implements SecretStore {
  readonly #values = new Map<string, string>();
  readonly #listeners = new Set<(change: { readonly key: string }) => unknown>();
  readonly onDidChange = (listener: (change: { readonly key: string }) => unknown) => {
    this.#listeners.add(listener);
    return { dispose: () => this.#listeners.delete(listener) };
  };

  async get(key: string): Promise<string | undefined> {
    return this.#values.get(key);
  }

  set(key: string, value: string): void {
    this.#values.set(key, value);
    for (const listener of this.#listeners) {
      listener({ key });
    }
  }
}

test("a key comes out of the store when it is needed, and a changed one at the next use", async (t) => {
  const store = new Store();
  const kernel = await start(t, real(t, NEEDS_SECRET, { secrets: store, log: "info" }));
  await assert.rejects(kernel.createSession({ secretKeyId: "key" }), { code: "secret_not_found", status: 403, message: /there is no secret "key"; set it first/ });
  store.set("key", "sk-1234");
  const session = await kernel.createSession({ secretKeyId: "key" });
  const length = async () => (await session.fetch("/api/slow/secret-len")).text();
  assert.equal(await length(), "7");
  const changed = soon("the change", (done) => kernel.onLog((record) => record.message === "a secret changed" && done(record)));
  store.set("key", "sk-1234567");
  await changed;
  assert.equal(await length(), "10");
});

test("a callback is told who asks, and may say no", async (t) => {
  const asked: SecretRequest[] = [];
  const secrets = (request: SecretRequest) => {
    asked.push(request);
    if (request.environment === "forbidden") {
      throw new MidplaneError("secret_denied", "not in this workspace");
    }
    return "sk-x";
  };
  const kernel = await start(t, real(t, NEEDS_SECRET, { secrets }));
  const session = await kernel.createSession({ secretKeyId: "key", environment: "dev" });
  assert.deepEqual(asked.map(({ secretKeyId, environment, sessionId, module }) => [secretKeyId, environment, sessionId, module]), [["key", "dev", session.id, null]]);
  await assert.rejects(kernel.createSession({ secretKeyId: "key", environment: "forbidden" }), { code: "secret_denied", status: 403, message: /not in this workspace/ });
  await assert.rejects(kernel.createSession(), { status: 400 });
});

test("a session after a restart asks for its key again", async (t) => {
  let asked = 0;
  const kernel = await start(t, real(t, NEEDS_SECRET, { secrets: () => `sk-${++asked}` }));
  const session = await kernel.createSession({ secretKeyId: "key" });
  process.kill(kernel.pid, "SIGKILL");
  assert.equal(await (await session.fetch("/api/slow/secret-len")).text(), "4");
  assert.equal(asked, 2);
});
