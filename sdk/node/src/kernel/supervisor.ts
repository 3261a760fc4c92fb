/**
 * Keeps one link to a kernel open: opens it, notices its end, opens another, or gives up. Whoever needs the kernel asks here, and
 * waits while there is none.
 */

import { pause, untilAborted, within } from "../deadline.js";
import { MidplaneError, messageOf } from "../errors.js";
import { type Disposable, Listeners } from "../listeners.js";
import type { Carrier, Opened } from "./carrier.js";
import type { Link } from "./link.js";
import { type Policy, judge } from "./policy.js";

/**
 * `starting` until the first link, `ready` while there is one, `restarting` between two. `stopped` (by `dispose`) and `failed` are
 * the last.
 */
export type KernelState = "starting" | "ready" | "restarting" | "stopped" | "failed";

export interface SupervisorOptions {
  /** `undefined`: a link that ends is the last. */
  readonly policy: Policy | undefined;
  /** How long {@link Supervisor.link} waits. */
  readonly waitMs: number;
  /** What is to be done on a new link before anyone uses it; not the first time. */
  readonly restore: (link: Link) => Promise<void>;
}

export class Supervisor {
  readonly #carrier: Carrier;
  readonly #options: SupervisorOptions;
  readonly #states = new Listeners<[KernelState, MidplaneError?]>();
  readonly #stop = new AbortController();
  #state: KernelState = "starting";
  #opened: Opened | undefined;
  /** Why there is no link and never will be. */
  #final: MidplaneError | undefined;
  #run: Promise<void> = Promise.resolve();
  #disposed: Promise<void> | undefined;

  constructor(carrier: Carrier, options: SupervisorOptions) {
    this.#carrier = carrier;
    this.#options = options;
  }

  get state(): KernelState {
    return this.#state;
  }

  /** The link, if there is one. */
  get current(): Link | undefined {
    return this.#opened?.link;
  }

  onState(listener: (state: KernelState, why?: MidplaneError) => unknown): Disposable {
    return this.#states.add(listener);
  }

  /** Opens the first link. There is no second try: what fails now, the caller should hear of. */
  async start(signal: AbortSignal | undefined): Promise<Link> {
    const opening = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
    try {
      const opened = await this.#carrier.open(opening);
      this.#use(opened);
      this.#run = this.#supervise(opened);
      return opened.link;
    } catch (thrown) {
      this.#end("failed", asError(thrown));
      await this.#carrier.dispose();
      throw thrown;
    }
  }

  /** The link there is, if its kernel lives, or the next one; rejects after `waitMs`, with the signal's reason, or when there will be none. */
  async link(signal?: AbortSignal): Promise<Link> {
    signal?.throwIfAborted();
    const link = this.#opened?.link;
    const lives = link !== undefined && (await untilAborted(link.lives(), signal));
    // Another one may have been opened meanwhile, or none ever will be.
    const now = this.#opened?.link;
    return now !== undefined && (lives || now !== link) ? now : this.#next(this.#options.waitMs, signal);
  }

  /** Another link than this one, for whoever found it dead before the supervisor did. */
  async after(dead: Link, noticedMs: number, signal?: AbortSignal): Promise<Link | undefined> {
    if (this.#opened?.link === dead) {
      const gone = new Promise<void>((resolve) => {
        const listening = this.onState(() => {
          listening.dispose();
          resolve();
        });
      });
      await untilAborted(
        within(gone, noticedMs, () => new Error("not noticed")).catch(() => undefined),
        signal,
      );
    }
    return this.#opened?.link === dead ? undefined : this.link(signal);
  }

  /** Idempotent; resolves when the last link has ended. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  async #dispose(): Promise<void> {
    const opened = this.#opened;
    this.#end("stopped", new MidplaneError("kernel_stopped", "the kernel was stopped"));
    this.#stop.abort(this.#final);
    await opened?.stop();
    await this.#run;
    await this.#carrier.dispose();
  }

  async #supervise(first: Opened): Promise<void> {
    const endsMs: number[] = [];
    let opened: Opened | undefined = first;
    while (opened !== undefined) {
      const why: MidplaneError = await opened.ended;
      opened = this.#stop.signal.aborted ? undefined : await this.#again(why, endsMs);
    }
  }

  /** The next link, or undefined when there is none to be had. */
  async #again(ended: MidplaneError, endsMs: number[]): Promise<Opened | undefined> {
    const { policy } = this.#options;
    let why = ended;
    this.#opened = undefined;
    for (;;) {
      endsMs.push(Date.now());
      const verdict = policy === undefined ? undefined : judge(policy, endsMs, Date.now());
      if (verdict === undefined || !verdict.again) {
        const told = verdict === undefined ? why.message : `the kernel ended ${verdict.ends} times in short order and is not started again: ${why.message}`;
        this.#end("failed", new MidplaneError("kernel_failed", told, { cause: why }));
        return undefined;
      }
      this.#move("restarting", why);
      try {
        await pause(verdict.delayMs, this.#stop.signal);
        return await this.#reopen();
      } catch (thrown) {
        if (this.#stop.signal.aborted) {
          return undefined;
        }
        why = asError(thrown);
        if (this.#carrier.isFinal(thrown)) {
          this.#end("failed", why);
          return undefined;
        }
      }
    }
  }

  async #reopen(): Promise<Opened> {
    const opened = await this.#carrier.open(this.#stop.signal);
    try {
      await this.#options.restore(opened.link);
      this.#stop.signal.throwIfAborted();
    } catch (thrown) {
      await opened.stop();
      throw thrown;
    }
    this.#use(opened);
    return opened;
  }

  async #next(waitMs: number, signal: AbortSignal | undefined): Promise<Link> {
    if (this.#final !== undefined) {
      throw this.#final;
    }
    let listening: Disposable | undefined;
    const next = new Promise<Link>((resolve, reject) => {
      listening = this.onState(() => {
        if (this.#opened !== undefined) {
          resolve(this.#opened.link);
        } else if (this.#final !== undefined) {
          reject(this.#final);
        }
      });
    });
    const late = () => new MidplaneError("kernel_restarting", `the kernel was not back within ${waitMs} ms`);
    try {
      return await untilAborted(within(next, waitMs, late), signal);
    } finally {
      listening?.dispose();
    }
  }

  #use(opened: Opened): void {
    this.#opened = opened;
    this.#move("ready");
  }

  #end(state: "stopped" | "failed", why: MidplaneError): void {
    if (this.#state === "stopped") {
      return;
    }
    this.#opened = undefined;
    this.#final = why;
    this.#move(state, state === "failed" ? why : undefined);
  }

  #move(state: KernelState, why?: MidplaneError): void {
    this.#state = state;
    this.#states.tell(state, ...(why === undefined ? [] : [why]));
  }
}

function asError(thrown: unknown): MidplaneError {
  return thrown instanceof MidplaneError ? thrown : new MidplaneError("start_failed", messageOf(thrown), { cause: thrown });
}
