/** One kernel process: from its start to its end. Speaks no word with it. */

import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";

import { settles } from "../deadline.js";
import { MidplaneError, systemCode } from "../errors.js";
import type { Exit } from "./exit.js";
import { StderrTail } from "./stderr.js";

/** The descriptor that the kernel finds its bridge at. */
const BRIDGE_FD = 3;
/** A kernel that drains gives its requests 2 s when its host is gone; a host that ends may have 5 s itself. */
const SHUTDOWN_MS = 2_500;
const TERMINATE_MS = 1_000;
/** What was written before the end is read within this. */
const STDERR_MS = 500;

export interface ProcessOptions {
  readonly binary: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly stderr: "inherit" | ((line: string) => unknown) | undefined;
}

export class KernelProcess {
  readonly #child: ChildProcess;
  readonly #stderr: StderrTail;
  /** A Unix socket pair's end. */
  readonly bridge: Duplex;
  /** Resolves once the process has ended and its standard error was read. */
  readonly exited: Promise<Exit>;

  private constructor(child: ChildProcess, bridge: Duplex, stderr: StderrTail) {
    this.#child = child;
    this.#stderr = stderr;
    this.bridge = bridge;
    // A descendant may hold the pipe open: it does not keep the end secret.
    this.exited = new Promise<Exit>((resolve) => child.once("exit", (code, signal) => resolve({ code, signal }))).then(async (exit) => {
      await settles(stderr.ended, STDERR_MS);
      return exit;
    });
  }

  /** Rejects when the system does not start the program. */
  static async start(options: ProcessOptions): Promise<KernelProcess> {
    const child = await spawned(options);
    const bridge = child.stdio[BRIDGE_FD];
    const { stderr, stdout } = child;
    if (!isDuplex(bridge) || stderr === null || stdout === null) {
      child.kill("SIGKILL");
      throw new MidplaneError("start_failed", "this runtime gave the kernel no pipes");
    }
    // A full pipe would stop it.
    stdout.resume();
    const onLine = options.stderr === "inherit" ? (line: string) => process.stderr.write(`${line}\n`) : options.stderr;
    return new KernelProcess(child, bridge, new StderrTail(stderr, onLine));
  }

  stderr(): readonly string[] {
    return this.#stderr.lines();
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Waits for the end that `ask` asked for, then sends SIGTERM, then SIGKILL. */
  async stop(ask: () => Promise<unknown>): Promise<Exit> {
    // Refused or not: what counts is whether it ends.
    ask().catch(() => undefined);
    if (!(await settles(this.exited, SHUTDOWN_MS))) {
      this.#child.kill("SIGTERM");
      if (!(await settles(this.exited, TERMINATE_MS))) {
        this.kill();
      }
    }
    return this.exited;
  }
}

/** Resolves when the program runs. */
async function spawned({ binary, args, env }: ProcessOptions): Promise<ChildProcess> {
  try {
    const child = spawn(binary, [...args], { stdio: ["ignore", "pipe", "pipe", "pipe"], env: { ...env } });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", reject);
    });
    // Later ones say that a signal could not be sent, to a process that has ended.
    child.on("error", () => undefined);
    return child;
  } catch (thrown) {
    throw unstartable(binary, thrown);
  }
}

function unstartable(binary: string, thrown: unknown): MidplaneError {
  switch (systemCode(thrown)) {
    case "ENOENT":
      return new MidplaneError("binary_unusable", `${binary} cannot be started: the system lacks its interpreter or its loader`, {
        hint: "it may be built for another C library (glibc, musl)",
        cause: thrown,
      });
    case "EACCES":
      return new MidplaneError("binary_unusable", `${binary} may not be executed`, {
        hint: "its file system may be mounted with noexec",
        cause: thrown,
      });
    case "ENOEXEC":
      return new MidplaneError("binary_foreign", `${binary} cannot run here: it is built for another machine`, { cause: thrown });
    default:
      return new MidplaneError("start_failed", `${binary} cannot be started: ${systemCode(thrown) ?? "unknown error"}`, { cause: thrown });
  }
}

function isDuplex(stream: unknown): stream is Duplex {
  return typeof stream === "object" && stream !== null && "write" in stream && "on" in stream;
}
