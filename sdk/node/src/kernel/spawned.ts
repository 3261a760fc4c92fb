/** Starts kernels and talks to them over the descriptor that they inherit. */

import { Bridge, type BridgeHost } from "../bridge/bridge.js";
import type { Configuration } from "../configuration.js";
import { untilAborted } from "../deadline.js";
import { MidplaneError } from "../errors.js";
import type { Carrier, Opened } from "./carrier.js";
import { describeExit, reasonIn } from "./exit.js";
import { Link } from "./link.js";
import { KernelProcess, type ProcessOptions } from "./process.js";

export interface SpawnOptions {
  readonly process: Omit<ProcessOptions, "args">;
  readonly configuration: Configuration;
  readonly startTimeoutMs: number;
}

export class SpawnedKernels implements Carrier {
  readonly #options: SpawnOptions;
  readonly #host: BridgeHost;

  constructor(options: SpawnOptions, host: BridgeHost) {
    this.#options = options;
    this.#host = host;
  }

  async open(signal: AbortSignal): Promise<Opened> {
    signal.throwIfAborted();
    const { configuration, startTimeoutMs } = this.#options;
    const process = await KernelProcess.start({
      ...this.#options.process,
      args: ["serve", "--bridge-fd", "3", ...configuration.args],
    });
    try {
      const { bridge, ready } = await untilAborted(this.#introduce(process, startTimeoutMs), signal);
      return opened(process, new Link(bridge, ready));
    } catch (thrown) {
      process.kill();
      await process.exited;
      throw thrown;
    }
  }

  isFinal(error: unknown): boolean {
    return error instanceof MidplaneError && (error.code === "protocol_mismatch" || error.code.startsWith("binary_"));
  }

  dispose(): Promise<void> {
    return this.#options.configuration.remove();
  }

  async #introduce(process: KernelProcess, timeoutMs: number): Promise<Awaited<ReturnType<typeof Bridge.open>>> {
    try {
      return await Bridge.open(process.bridge, this.#host, timeoutMs);
    } catch (thrown) {
      if (!(thrown instanceof MidplaneError)) {
        throw thrown;
      }
      if (thrown.code === "bridge_closed") {
        // It writes why to standard error, and then ends.
        throw startFailure(process, await process.exited);
      }
      if (thrown.code === "start_timeout") {
        throw new MidplaneError(thrown.code, `${thrown.message}; its last words: ${process.stderr().slice(-3).join(" / ") || "none"}`);
      }
      throw thrown;
    }
  }
}

function startFailure(process: KernelProcess, exit: Awaited<KernelProcess["exited"]>): MidplaneError {
  const lines = process.stderr();
  const reason = reasonIn(lines);
  const log = lines.length === 0 ? "it wrote nothing to standard error" : `its last lines:\n${lines.map((line) => `    ${line}`).join("\n")}`;
  return new MidplaneError("start_failed", `the kernel did not start: ${reason ?? `it ${describeExit(exit)}`}\nit ${describeExit(exit)}; ${log}`);
}

function opened(process: KernelProcess, link: Link): Opened {
  const ended = Promise.race([
    process.exited.then((exit) => new MidplaneError("kernel_stopped", `the kernel ${describeExit(exit)}${lastWords(process)}`)),
    link.bridge.ended.then(async (why) => {
      // Without its bridge it ends within two seconds. One that broke the protocol is not waited for.
      if (why.code === "bridge_invalid") {
        process.kill();
      }
      const exit = await process.stop(async () => undefined);
      return why.code === "bridge_invalid" ? why : new MidplaneError("kernel_stopped", `the kernel ${describeExit(exit)}${lastWords(process)}`);
    }),
  ]);
  return {
    link,
    // What is under way has nobody to finish it.
    ended: ended.finally(() => link.close(true)),
    stop: async () => {
      await process.stop(() => link.bridge.request("shutdown", {}));
    },
  };
}

function lastWords(process: KernelProcess): string {
  const reason = reasonIn(process.stderr()) ?? process.stderr().at(-1);
  return reason === undefined ? "" : `; its last words: ${reason}`;
}
