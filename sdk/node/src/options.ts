/** What `startKernel` and `attachKernel` take. */

import type { LogRecord } from "./bridge/records.js";
import type { JsonObject, LogLevel } from "./protocol.js";

/** The part of VS Code's `SecretStorage` that is used: `context.secrets` fits as it is. */
export interface SecretStore {
  get(key: string): PromiseLike<string | undefined>;
  /** Sessions on a key that changed ask for it again at their next use. */
  readonly onDidChange?: (listener: (change: { readonly key: string }) => unknown) => { dispose(): unknown };
}

export interface SecretRequest {
  readonly secretKeyId: string;
  /** As the session was created with; `pro` unless it said otherwise. */
  readonly environment: string;
  readonly sessionId: string;
  /** The module that asks, or null when the session is being issued. */
  readonly module: string | null;
  /** Aborts when the answer is not wanted any more. */
  readonly signal: AbortSignal;
}

/**
 * Answers with the secret, or with undefined when there is none. To say no with a reason, throw a `MidplaneError` with the code
 * `secret_denied`: its message goes to whoever asked for the session. What else is thrown is not passed on. The kernel waits for
 * five seconds.
 */
export type SecretCallback = (request: SecretRequest) => string | undefined | PromiseLike<string | undefined>;

/** How the host calls itself in the kernel's log. */
export interface ClientIdentity {
  readonly name: string;
  readonly version: string;
}

interface CommonOptions {
  /** Where secrets come from. Without it the kernel is told that this host has none. */
  readonly secrets?: SecretStore | SecretCallback;
  readonly client?: ClientIdentity;
  /** The least severe log lines wanted; left out: none. */
  readonly log?: LogLevel;
  /** The first log listener, there before anything is logged. */
  readonly onLog?: (record: LogRecord) => unknown;
  /** How long a request waits for a kernel that is being started again; default 10,000. */
  readonly restartWaitMs?: number;
}

/** A module, and what the configuration's `[modules.NAME]` may say of it: the kernel names what it does not know. */
export interface ModuleOptions {
  /** The library's file. Relative paths are from the working directory. */
  readonly path: string;
  readonly config?: JsonObject;
  readonly isolation?: "in-process" | "process";
  readonly grants?: readonly string[];
  readonly watch?: boolean;
  readonly sha256?: string;
  readonly [setting: string]: JsonObject[string];
}

export interface RestartOptions {
  /** The kernel is given up after so many ends within {@link withinMs}; default 4. */
  readonly max?: number;
  /** Default 180,000. */
  readonly withinMs?: number;
  /** The pauses before the first restart, the second, …; the last one repeats. Default 0, 500, 2000. */
  readonly delaysMs?: readonly number[];
}

export interface StartOptions extends CommonOptions {
  /** Path of `midplane`. Else `MIDPLANE_BINARY`, then `binDirs`, then `PATH`. */
  readonly binary?: string;
  /** Directories that may hold a `midplane`. */
  readonly binDirs?: readonly string[];
  /** What to load at the start: paths, or paths with settings. */
  readonly modules?: Readonly<Record<string, ModuleOptions | string>>;
  /**
   * The kernel's configuration: a file's path, or its tables, such as `{ sessions: { ttl: "5m" } }`. Without a file the user's own
   * configuration is not read. With a file, `modules` may only give paths.
   */
  readonly config?: string | JsonObject;
  /** The kernel's and the modules' durable state; in an extension, a directory below `context.globalStorageUri`. */
  readonly dataDir?: string;
  /** Where to serve; default: a name of its own in the user's runtime directory. */
  readonly socket?: string;
  /** More arguments of `midplane serve`. */
  readonly args?: readonly string[];
  /** Variables for the kernel besides the few that it is given anyway. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What the kernel writes to standard error, line by line; `inherit` passes it through. Default: the last lines are kept for errors. */
  readonly stderr?: "inherit" | ((line: string) => unknown);
  /** How the kernel is started again when it ends by itself; `false`: not at all. */
  readonly restart?: RestartOptions | false;
  /** How long the kernel may take to be ready, its modules' `init` included; default 60,000. */
  readonly startTimeoutMs?: number;
  /** Aborts the start. */
  readonly signal?: AbortSignal;
}

export interface AttachOptions extends CommonOptions {
  readonly socket: string;
  /** The key, or how to get it, which is asked again whenever the host attaches again: a kernel's restart makes a new one. */
  readonly hostKey: string | (() => string | PromiseLike<string>);
  readonly signal?: AbortSignal;
}
