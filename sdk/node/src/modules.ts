/** Loading, reloading and unloading modules, over the bridge. */

import type { JsonObject, ModuleListResult, Receipt } from "./protocol.js";
import type { Link } from "./kernel/link.js";

export interface ModuleLoad {
  /** Absolute, and in one of the kernel's module directories: by default those of the modules that it started with. */
  readonly path: string;
  readonly config?: JsonObject;
  /** Of what the configuration grants; left out: all of that. */
  readonly grants?: readonly string[];
  readonly public?: boolean;
  /** As for {@link ModuleReload}. */
  readonly wait?: "drained";
}

export interface ModuleReload {
  readonly config?: JsonObject;
  /** `drained`: the receipt comes when the old generation is gone, and says whether its code has left the process. */
  readonly wait?: "drained";
}

export interface ModuleUnload {
  /** How long requests that are under way may go on. */
  readonly drainMs?: number;
}

export interface Modules {
  list(): Promise<ModuleListResult>;
  /** Loads a module, or swaps the one of this name for it. Refused with 422 when it cannot be loaded: what ran keeps running. */
  load(name: string, module: ModuleLoad): Promise<Receipt>;
  /** Swaps to what is at the module's path now. */
  reload(name: string, options?: ModuleReload): Promise<Receipt>;
  unload(name: string, options?: ModuleUnload): Promise<Receipt>;
}

/** A drain may take as long as its module's `drain_timeout` says. */
const DRAIN_MS = 3_600_000;

interface Order {
  readonly method: "module/load" | "module/reload" | "module/unload";
  readonly params: JsonObject;
}

/** Remembers what was done since the start, since a kernel that is started again knows only its configuration. */
export class RemoteModules implements Modules {
  readonly #link: () => Promise<Link>;
  readonly #done = new Map<string, readonly Order[]>();

  constructor(link: () => Promise<Link>) {
    this.#link = link;
  }

  async list(): Promise<ModuleListResult> {
    return (await this.#link()).bridge.request("module/list", {});
  }

  async load(name: string, { path, config, grants, public: isPublic, wait }: ModuleLoad): Promise<Receipt> {
    const params = compact({ name, path, config, grants, public: isPublic });
    const receipt = await this.#order({ method: "module/load", params: compact({ ...params, wait }) });
    this.#done.set(name, [{ method: "module/load", params }]);
    return receipt;
  }

  async reload(name: string, { config, wait }: ModuleReload = {}): Promise<Receipt> {
    const receipt = await this.#order({ method: "module/reload", params: compact({ name, config, wait }) });
    if (config !== undefined) {
      // A load that came before gives the path.
      const loads = (this.#done.get(name) ?? []).filter(({ method }) => method === "module/load");
      this.#done.set(name, [...loads, { method: "module/reload", params: { name, config } }]);
    }
    return receipt;
  }

  async unload(name: string, { drainMs }: ModuleUnload = {}): Promise<Receipt> {
    const receipt = await this.#order({ method: "module/unload", params: compact({ name, drain_ms: drainMs }) });
    this.#done.set(name, [{ method: "module/unload", params: { name } }]);
    return receipt;
  }

  /** Does it all again on another kernel. One that fails does not keep the others from it. */
  async restore(link: Link, onFailure: (name: string, thrown: unknown) => void): Promise<void> {
    for (const [name, orders] of this.#done) {
      try {
        for (const { method, params } of orders) {
          await link.bridge.request(method, params);
        }
      } catch (thrown) {
        // A module that was loaded by hand and unloaded is not there to unload.
        if (orders[0]?.method !== "module/unload") {
          onFailure(name, thrown);
        }
      }
    }
  }

  async #order({ method, params }: Order): Promise<Receipt> {
    const link = await this.#link();
    return link.bridge.request(method, params, "wait" in params ? { timeoutMs: DRAIN_MS } : {});
  }
}

/** Left out is not null on the wire. */
function compact(params: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined));
}
