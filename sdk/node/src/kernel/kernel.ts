/** A kernel, as its host holds it: whatever run of it there is just now. */

import type { BridgeHost } from "../bridge/bridge.js";
import { messageOf, type MidplaneError } from "../errors.js";
import { type Disposable, Listeners } from "../listeners.js";
import { type Modules, RemoteModules } from "../modules.js";
import type { LogRecord } from "../bridge/records.js";
import type { Health, KernelEvent, SecretChangedResult } from "../protocol.js";
import { type Session, type SessionOptions, createSession } from "../session/session.js";
import type { Carrier } from "./carrier.js";
import type { Link } from "./link.js";
import type { Policy } from "./policy.js";
import { type KernelState, Supervisor } from "./supervisor.js";

export interface Kernel extends AsyncDisposable {
  readonly state: KernelState;
  /** Of the kernel that runs, or ran last. */
  readonly version: string;
  readonly pid: number;
  readonly socketPath: string;
  readonly instance: string;
  readonly modules: Modules;
  /** Told of every change; `why` says what led to `restarting` and `failed`. */
  onState(listener: (state: KernelState, why?: MidplaneError) => unknown): Disposable;
  /** Sessions issued and revoked, modules loaded, swapped, crashed: as `GET /events` tells. */
  onEvent(listener: (event: KernelEvent) => unknown): Disposable;
  /** Log lines, at or above the level that was asked for at the start. */
  onLog(listener: (record: LogRecord) => unknown): Disposable;
  createSession(options?: SessionOptions): Promise<Session>;
  health(): Promise<Health>;
  /** Says that a secret is another one now; gives the number of sessions that will ask for it again. A `SecretStore` does it by itself. */
  secretChanged(secretKeyId: string): Promise<number>;
  /**
   * Stops a kernel that was started here, and lets go of one that was attached to. Idempotent; takes four seconds at most. Does not
   * reject.
   */
  dispose(): Promise<void>;
}

export interface HeldOptions {
  readonly carrier: Carrier;
  readonly policy: Policy | undefined;
  readonly waitMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Where a bridge's messages go, before there is a kernel to give to anyone. */
export class Inbox implements Pick<BridgeHost, "onEvent" | "onLog"> {
  readonly events = new Listeners<[KernelEvent]>();
  readonly logs = new Listeners<[LogRecord]>();

  readonly onEvent = (event: KernelEvent): void => this.events.tell(event);
  readonly onLog = (record: LogRecord): void => this.logs.tell(record);
}

export class HeldKernel implements Kernel {
  readonly #supervisor: Supervisor;
  readonly #inbox: Inbox;
  readonly #modules: RemoteModules;
  readonly #closing: (() => unknown)[] = [];
  #last: Link;

  private constructor(supervisor: Supervisor, inbox: Inbox, modules: RemoteModules, first: Link) {
    this.#supervisor = supervisor;
    this.#inbox = inbox;
    this.#modules = modules;
    this.#last = first;
    supervisor.onState(() => {
      this.#last = supervisor.current ?? this.#last;
    });
  }

  /** Rejects when the first link cannot be had; nothing is left then. */
  static async hold(options: HeldOptions, inbox: Inbox): Promise<HeldKernel> {
    const { carrier, policy, waitMs } = options;
    const modules = new RemoteModules(() => supervisor.link());
    const restore = (link: Link): Promise<void> => modules.restore(link, (name, thrown) => inbox.onLog(notRestored(name, thrown)));
    const supervisor: Supervisor = new Supervisor(carrier, { policy, waitMs, restore });
    return new HeldKernel(supervisor, inbox, modules, await supervisor.start(options.signal));
  }

  get state(): KernelState {
    return this.#supervisor.state;
  }

  get version(): string {
    return this.#last.version;
  }

  get pid(): number {
    return this.#last.pid;
  }

  get socketPath(): string {
    return this.#last.socketPath;
  }

  get instance(): string {
    return this.#last.instance;
  }

  get modules(): Modules {
    return this.#modules;
  }

  onState(listener: (state: KernelState, why?: MidplaneError) => unknown): Disposable {
    return this.#supervisor.onState(listener);
  }

  onEvent(listener: (event: KernelEvent) => unknown): Disposable {
    return this.#inbox.events.add(listener);
  }

  onLog(listener: (record: LogRecord) => unknown): Disposable {
    return this.#inbox.logs.add(listener);
  }

  createSession(options: SessionOptions = {}): Promise<Session> {
    const supervisor = this.#supervisor;
    return createSession(
      options,
      (signal) => supervisor.link(signal),
      (dead, noticedMs, signal) => supervisor.after(dead, noticedMs, signal),
    );
  }

  async health(): Promise<Health> {
    const link = await this.#supervisor.link();
    return (await link.control("/health")) as Health;
  }

  async secretChanged(secretKeyId: string): Promise<number> {
    const link = await this.#supervisor.link();
    const { sessions } = await link.bridge.request<SecretChangedResult>("secret/changed", { secret_key_id: secretKeyId });
    return sessions;
  }

  /** Called before the kernel ends. */
  whenClosing(action: () => unknown): void {
    this.#closing.push(action);
  }

  async dispose(): Promise<void> {
    for (const action of this.#closing.splice(0)) {
      action();
    }
    await this.#supervisor.dispose();
    this.#inbox.events.clear();
    this.#inbox.logs.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

function notRestored(name: string, thrown: unknown): LogRecord {
  return {
    level: "error",
    target: "midplane_host",
    message: "a module that was loaded or reloaded by hand is not as it was before the kernel was started again",
    fields: { module: name, reason: messageOf(thrown) },
    at: Math.floor(Date.now() / 1000),
  };
}
