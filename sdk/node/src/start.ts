/** `startKernel` and `attachKernel`: from options to a kernel that answers. */

import { randomUUID } from "node:crypto";
import { resolve } from "node:path";

import { findBinary } from "./binary.js";
import type { BridgeHost } from "./bridge/bridge.js";
import { SecretAnswers } from "./bridge/secrets.js";
import { writeConfiguration } from "./configuration.js";
import { kernelEnvironment } from "./environment.js";
import { AttachedKernels } from "./kernel/attached.js";
import { HeldKernel, Inbox, type Kernel } from "./kernel/kernel.js";
import { REATTACH, RESTART } from "./kernel/policy.js";
import { SpawnedKernels } from "./kernel/spawned.js";
import type { AttachOptions, ClientIdentity, SecretCallback, SecretStore, StartOptions } from "./options.js";
import { checkSocketPath } from "./socket_path.js";

const RESTART_WAIT_MS = 10_000;
/** A module's `init` may take 30 s, and its trial before that. */
const START_TIMEOUT_MS = 60_000;
const UNNAMED: ClientIdentity = { name: "midplane-host", version: "0.1.0" };

/**
 * Starts a kernel and waits until it serves, with all its modules. It ends with `dispose()`, or with this process, whichever is first; when it ends
 * by itself it is started again.
 *
 * Rejects with a `MidplaneError` when the program is missing or foreign, the kernel ends before it is ready, or speaks another
 * protocol.
 */
export async function startKernel(options: StartOptions = {}): Promise<Kernel> {
  if (options.socket !== undefined) {
    checkSocketPath(resolve(options.socket));
  }
  options.signal?.throwIfAborted();
  const binary = await findBinary({ binary: options.binary, binDirs: options.binDirs, env: process.env });
  const inbox = new Inbox();
  const configuration = await writeConfiguration(options);
  const carrier = new SpawnedKernels(
    {
      process: { binary, env: kernelEnvironment(process.env, options.env), stderr: options.stderr },
      configuration,
      startTimeoutMs: options.startTimeoutMs ?? START_TIMEOUT_MS,
    },
    hostOf(options, inbox),
  );
  const policy = options.restart === false ? undefined : { ...RESTART, ...options.restart };
  const waitMs = options.restartWaitMs ?? RESTART_WAIT_MS;
  return watched(await HeldKernel.hold({ carrier, policy, waitMs, signal: options.signal }, inbox), options.secrets);
}

/**
 * Attaches to a kernel that runs already, such as one that systemd started. When its bridge ends, it is attached to again, for as long
 * as it takes; `dispose()` lets it live on.
 */
export async function attachKernel(options: AttachOptions): Promise<Kernel> {
  checkSocketPath(options.socket);
  const inbox = new Inbox();
  const carrier = new AttachedKernels(options, hostOf(options, inbox));
  const waitMs = options.restartWaitMs ?? RESTART_WAIT_MS;
  return watched(await HeldKernel.hold({ carrier, policy: REATTACH, waitMs, signal: options.signal }, inbox), options.secrets);
}

function hostOf(options: Pick<StartOptions, "client" | "log" | "onLog" | "secrets">, inbox: Inbox): BridgeHost {
  if (options.onLog !== undefined) {
    inbox.logs.add(options.onLog);
  }
  return {
    client: { ...(options.client ?? UNNAMED), instance: randomUUID() },
    log: options.log ?? null,
    secrets: options.secrets === undefined ? undefined : new SecretAnswers(options.secrets),
    onEvent: inbox.onEvent,
    onLog: inbox.onLog,
  };
}

/** Passes the store's changes on. */
function watched(kernel: HeldKernel, secrets: SecretStore | SecretCallback | undefined): Kernel {
  if (typeof secrets === "object" && secrets.onDidChange !== undefined) {
    // A kernel that is not there now asks for every secret anew when it is.
    const listening = secrets.onDidChange(({ key }) => void kernel.secretChanged(key).catch(() => undefined));
    kernel.whenClosing(() => listening.dispose());
  }
  return kernel;
}
