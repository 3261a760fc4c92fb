/**
 * The bridge between a Midplane kernel and its hosts.
 *
 * Generated of protocol.json by scripts/generate-protocol: change the kernel's types, not this file.
 *
 * JSON-RPC 2.0 with the framing of the Language Server Protocol (`Content-Length: N`, an empty line, and N bytes of JSON), over the
 * descriptor that `midplane serve --bridge-fd N` was given, or over the kernel's socket after `GET /bridge` with the host key and `Upgrade:
 * jsonrpc`. Parameters are by name; batches are refused. The kernel speaks first, with `ready`; a host's first request is `initialize`.
 * Members that a host does not know it passes over; members that the kernel does not know it refuses.
 */

/** The protocol that this package speaks; the kernel's must be the same. */
export const PROTOCOL = 1;

/** Errors of JSON-RPC, of LSP and of the bridge, by what they say. */
export const ErrorCode = {
  /** The message is not JSON. */
  ParseError: -32700,
  /** The message is no request, its id is in use, or `initialize` comes first. */
  InvalidRequest: -32600,
  /** There is no such method. */
  MethodNotFound: -32601,
  /** The parameters are not what the method takes; from a route, `data` is its problem. */
  InvalidParams: -32602,
  /** It failed; the kernel's log says more under the request id in `data`. */
  InternalError: -32603,
  /** The request was understood and refused; `data` is the problem that HTTP would have answered. */
  Refused: -32000,
  /** The host does not give this secret. The message is for a person. */
  SecretDenied: -32001,
  /** The host has no such secret, and another one may be asked. The message is for a person. */
  SecretNotFound: -32002,
  /** The two speak different protocols; the message and `data` name both numbers. The bridge ends. */
  ProtocolMismatch: -32010,
  /** The request was taken back. */
  RequestCancelled: -32800,
} as const;

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [member: string]: JsonValue | undefined };
export type JsonObject = { readonly [member: string]: JsonValue | undefined };

/** `$/cancelRequest`: the answer is not wanted any more. */
export interface CancelParams {
  /** Of the request. */
  readonly id: RequestId;
}

/** What a host does and wants. */
export interface Capabilities {
  /** It answers `secret/get`. */
  readonly secrets?: boolean;
  /** It wants `event`. */
  readonly events?: boolean;
  /** It wants `log`, of this level and the more important ones. */
  readonly log?: LogLevel | null;
}

/** Why a watched module is loaded again. */
export type Cause = "file" | "configuration";

/** Who a host is, for people and the log. */
export interface ClientIdentity {
  /** A short word, such as that of the program. */
  readonly name: string;
  /** Of the program. */
  readonly version: string;
  /** The same each time this host attaches: its sessions live on when it does so within `[sessions] host_grace`. */
  readonly instance?: string | null;
}

/** The file changed and is not valid; what was in force stays so. */
export interface ConfigurationRefusedEvent {
  readonly type: "configuration.refused";
  readonly reason: string;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** What is in force of a module process's confinement. */
export interface Confinement {
  /** No program it starts can have more rights than it has. */
  readonly no_new_privs: boolean;
  /** No core dump is written, and no other process of the user's looks into it. */
  readonly closed_to_others: boolean;
  /** Of root's special rights it has none, whoever it runs as. */
  readonly no_capabilities: boolean;
  readonly ends_with_kernel: EndsBy;
  /** Which files it reads and writes. */
  readonly landlock: Landlock;
  /** Which system calls it has not. */
  readonly seccomp: Seccomp;
  /** What it may allocate. */
  readonly memory_bytes: number | null;
  /** How many descriptors it may have open. */
  readonly files: number | null;
  /** How many processes it may start; `null`: as many as its user. */
  readonly processes: number | null;
  /** What it may read, with all that is below. Empty when nothing is kept from it. */
  readonly reads: readonly string[];
  /** What it may write, with all that is below. */
  readonly writes: readonly string[];
  /** What is not as it was asked for, a sentence each. */
  readonly missing: readonly string[];
}

/** What is told of a crash. */
export interface Crash {
  readonly generation: number;
  /** A signal's name, an exit status, or why the kernel killed it. */
  readonly reason: string;
  /** The name of the signal that ended it, if one did. */
  readonly signal: string | null;
  /** Method and path of the requests that were under way in it, newest first; eight at most. */
  readonly routes: readonly string[];
  /** Unix seconds. */
  readonly at: number;
}

/** One that was replaced or taken away, and finishes what is under way on it. */
export interface DrainingGeneration {
  readonly name: string;
  readonly version: string;
  readonly generation: number;
  readonly state: Phase;
  readonly in_flight_requests: number;
  readonly open_websockets: number;
}

/** How the module process learns that its kernel has ended. */
export type EndsBy =
  /** The system kills it. */
  | "signal"
  /** Its control lane ends, which it must still notice. */
  | "end_of_lane";

/** The listener was too slow for so many. */
export interface EventsLostEvent {
  readonly type: "events.lost";
  readonly count: number;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** How the kernel is, as `GET /health` says it. What may be missing is told to hosts alone. */
export interface Health {
  readonly status: "ok" | "degraded";
  readonly version: string;
  readonly protocol: number;
  readonly uptime_s?: number;
  readonly instance?: string;
  readonly pid?: number;
  readonly modules?: readonly HealthModule[];
  readonly stuck_workers?: readonly StuckWorker[];
}

export interface HealthModule {
  readonly name: string;
  readonly version: string;
  readonly generation: number;
  readonly state: Phase;
  readonly isolation: "in-process" | "process";
}

export interface HostAttachedEvent {
  readonly type: "host.attached";
  readonly host: string;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** Its bridge ended. */
export interface HostGoneEvent {
  readonly type: "host.gone";
  readonly host: string;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

export interface Identity {
  readonly generation: number;
  readonly version: string;
  readonly sha256: string;
}

/** `initialize`, the first request of a host. */
export interface InitializeParams {
  readonly client: ClientIdentity;
  /** The number that the host speaks. */
  readonly protocol: number;
  readonly capabilities?: Capabilities;
}

/** The answer to `initialize`. */
export interface InitializeResult {
  readonly protocol: number;
  /** The host's name, and how many were attached before it, as the log has it: `vscode#1`. */
  readonly host: string;
}

/** The last one. */
export interface KernelDrainingEvent {
  readonly type: "kernel.draining";
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** An event, and when it happened, in Unix seconds. */
export type KernelEvent =
  | SessionIssuedEvent
  | SessionRevokedEvent
  | ModuleLoadedEvent
  | ModuleSwappedEvent
  | ModuleRolledBackEvent
  | ModuleRefusedEvent
  | ModuleFaultedEvent
  | ModuleCrashedEvent
  | ModuleRestartedEvent
  | ModuleChangedEvent
  | ModuleIncompleteEvent
  | ConfigurationRefusedEvent
  | ModuleUnloadedEvent
  | WorkerStuckEvent
  | KernelStuckEvent
  | HostAttachedEvent
  | HostGoneEvent
  | KeysRotatedEvent
  | KernelDrainingEvent
  | EventsLostEvent;

/** Too few workers are left to it: the process ends. */
export interface KernelStuckEvent {
  readonly type: "kernel.stuck";
  readonly stuck: number;
  readonly workers: number;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** Tokens are signed with a new key. */
export interface KeysRotatedEvent {
  readonly type: "keys.rotated";
  readonly kid: string;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

export type Landlock =
  /** Which version of it is in force; each restricts more. */
  | {
    readonly abi: number;
  }
  | {
    readonly unavailable: string;
  };

export type LineLevel = "ERROR" | "WARN" | "INFO" | "DEBUG" | "TRACE";

/** How important a line of the log is. */
export type LogLevel = "error" | "warn" | "info" | "debug" | "trace";

/** A line of the log, as `--log json` writes it. */
export interface LogLine {
  /** RFC 3339, in UTC, to the millisecond. */
  readonly timestamp: string;
  readonly level: LineLevel;
  /** Where in the program it was written. */
  readonly target: string;
  /** The same text for the same thing: what differs stands in the fields. */
  readonly message: string;
  /** The module that it is about, or whose it is. */
  readonly module?: string;
  readonly generation?: number;
  readonly request_id?: string;
  readonly session?: string;
  readonly fields?: JsonObject;
}

/** A loaded module. */
export interface Module {
  readonly name: string;
  readonly version: string;
  readonly generation: number;
  readonly state: Phase;
  readonly sha256: string;
  readonly path: string;
  readonly grants: readonly string[];
  readonly public: boolean;
  readonly in_flight_requests: number;
  readonly open_websockets: number;
  /** The time its code ran, on all workers. */
  readonly poll_seconds: number;
  /** How often its code took longer than it should. */
  readonly slow_polls: number;
  readonly requests: RequestCounts;
  /** Generations whose code is in memory, this one included. */
  readonly resident_generations: number;
  readonly isolation: "in-process" | "process";
  /** `null` in the kernel's process. */
  readonly process: ModuleProcess | null;
  /** The version of the SDK that it was built with. */
  readonly sdk: string;
  readonly compiler: string;
}

/** A watched one is loaded again. */
export interface ModuleChangedEvent {
  readonly type: "module.changed";
  readonly module: string;
  readonly cause: Cause;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** Its process ended by itself. */
export interface ModuleCrashedEvent {
  readonly type: "module.crashed";
  readonly module: string;
  readonly generation: number;
  /** A signal's name, an exit status, or why the kernel killed it. */
  readonly reason: string;
  /** The name of the signal that ended it, if one did. */
  readonly signal: string | null;
  /** Method and path of the requests that were under way in it, newest first; eight at most. */
  readonly routes: readonly string[];
  /** `null`: it is not started again, or was to end anyway. */
  readonly restart_in_ms: number | null;
  readonly quarantined: boolean;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** It is in quarantine until it is reloaded. */
export interface ModuleFaultedEvent {
  readonly type: "module.faulted";
  readonly module: string;
  readonly generation: number;
  readonly reason: string;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** A watched one's file changed and is not whole; told once. */
export interface ModuleIncompleteEvent {
  readonly type: "module.incomplete";
  readonly module: string;
  readonly reason: string;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** All modules. */
export interface ModuleListResult {
  /** Those that take requests, by name. */
  readonly modules: readonly Module[];
  /** Those that were replaced or taken away and have requests to finish, oldest first. */
  readonly draining: readonly DrainingGeneration[];
}

/** Which module, and what of it. */
export interface ModuleLoadParams {
  /** The name that it gets. */
  readonly name: string;
  /** Absolute, and in one of the kernel's module directories. */
  readonly path: string;
  /** The module's own configuration; what is configured when left out. */
  readonly config?: JsonObject | null;
  /** No more than what is configured; that when left out. */
  readonly grants?: readonly string[] | null;
  /** Whether its public routes are public; only where that is configured. */
  readonly public?: boolean | null;
  /** When the answer comes; at once when left out. */
  readonly wait?: Wait | null;
}

export interface ModuleLoadedEvent {
  readonly type: "module.loaded";
  readonly module: string;
  readonly generation: number;
  readonly version: string;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** The process that a module has to itself. */
export interface ModuleProcess {
  /** Of the generation that serves; `null` once it has ended. */
  readonly pid: number | null;
  /** Of the processes of this name, since the kernel started. */
  readonly crashes: number;
  readonly last_crash: Crash | null;
  /** What is in force of its confinement. */
  readonly confined: Confinement | null;
}

/** It was not loaded; what ran before goes on. */
export interface ModuleRefusedEvent {
  readonly type: "module.refused";
  readonly module: string;
  readonly reason: string;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** Which module, and with what. */
export interface ModuleReloadParams {
  /** Of the module. */
  readonly name: string;
  /** The module's own configuration; what it has when left out. */
  readonly config?: JsonObject | null;
  /** When the answer comes; at once when left out. */
  readonly wait?: Wait | null;
}

/** Its process crashed, and there is a new one; or the one to replace an exclusive module was refused, and the old code runs anew. */
export interface ModuleRestartedEvent {
  readonly type: "module.restarted";
  readonly module: string;
  readonly from: number;
  readonly to: number;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** The version before has taken the place of one that failed too often. */
export interface ModuleRolledBackEvent {
  readonly type: "module.rolled_back";
  readonly module: string;
  readonly from: number;
  readonly to: number;
  readonly version: string;
  readonly reason: string;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** New requests go to another generation. */
export interface ModuleSwappedEvent {
  readonly type: "module.swapped";
  readonly module: string;
  readonly from: number;
  readonly to: number;
  readonly version: string;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** Which module, and how soon. */
export interface ModuleUnloadParams {
  /** Of the module. */
  readonly name: string;
  /** How long what is under way on it may take, up to ten minutes; what is configured when left out. */
  readonly drain_ms?: number | null;
  /** Unloads it although other modules were granted calls of it. */
  readonly force?: boolean | null;
}

/** A generation has ended; `unloaded`: its code has left the process. */
export interface ModuleUnloadedEvent {
  readonly type: "module.unloaded";
  readonly module: string;
  readonly generation: number;
  readonly unloaded: boolean;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** Where a generation stands. */
export type Phase =
  /** There is a private copy of its artifact, or will be. */
  | "staged"
  /** Its library is mapped. */
  | "loaded"
  /** `init` has returned. */
  | "initialised"
  /** It has what the generation before handed over. */
  | "restored"
  /** It has said that it can serve. */
  | "probed"
  /** New requests go to it. */
  | "serving"
  /** New requests wait while its state is handed over. */
  | "held"
  /** Another has taken its place, or none: what is under way on it finishes. */
  | "draining"
  /** Nothing calls it any more. */
  | "retired"
  /** Its code has left the process. */
  | "unloaded"
  /** Something keeps its code mapped. */
  | "resident"
  /** It failed before it served, or was quarantined. */
  | "faulted";

/** The document (RFC 9457). */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** What to do, in a sentence. */
  readonly detail: string;
  /** Stable. */
  readonly code: string;
  /** The id of the request, under which the log says more. */
  readonly instance: string;
}

export interface RateLimit {
  readonly requests_per_minute: number;
}

/** `ready`, the first message on a bridge: the modules are loaded and the socket serves. */
export interface Ready {
  /** The number of the bridge and of the HTTP API; raised by an incompatible change. */
  readonly protocol: number;
  /** Of the kernel. */
  readonly version: string;
  /** Of this process, new at each start; `iss` of its tokens. */
  readonly instance: string;
  /** Of the kernel's process. */
  readonly pid: number;
  /** The path of the socket. */
  readonly socket: string;
  /** `mph_…`: opens all control routes of the socket. */
  readonly host_key: string;
}

/** What was replaced by what, and how what was under way on the old one ended. */
export interface Receipt {
  readonly module: string;
  readonly from: Identity | null;
  readonly to: Identity | null;
  /**
   * For how long new requests waited: for the hand-over of state, or the end of an exclusive module's old generation, and the exchange of
   * the route; `null` when there was nothing to exchange.
   */
  readonly swap_us: number | null;
  /** `null` while draining. */
  readonly drain_ms: number | null;
  readonly requests: ReceiptRequests;
  /** `null` when the old generation had nothing to hand over. */
  readonly state: ReceiptState | null;
  /** Whether the old code has left the process; `null` while draining. */
  readonly unloaded: boolean | null;
  readonly resident_reason: string | null;
}

/** Requests that were under way on the old generation at the exchange. */
export interface ReceiptRequests {
  readonly finished_on_old: number;
  readonly cancelled: number;
}

/** State that the old generation handed over. */
export interface ReceiptState {
  readonly bytes: number;
  readonly schema: number;
  /** Whether the new one takes state at all; one that takes it and refuses it is not loaded. */
  readonly accepted: boolean;
}

/** Answers by status class. */
export interface RequestCounts {
  readonly "1xx": number;
  readonly "2xx": number;
  readonly "3xx": number;
  readonly "4xx": number;
  readonly "5xx": number;
  readonly cancelled: number;
}

/** Which answer belongs to which request. */
export type RequestId = number | string;

export type Seccomp =
  /** How many system calls are refused, always or with some arguments. */
  | {
    readonly refused_calls: number;
  }
  | {
    readonly unavailable: string;
  };

/** `secret/changed`: the next use of the key asks for it again. Sessions go on. */
export interface SecretChangedParams {
  /** The name of the key. */
  readonly secret_key_id: string;
}

/** The answer to `secret/changed`. */
export interface SecretChangedResult {
  /** Sessions that had it. */
  readonly sessions: number;
}

/** `secret/get`: the kernel asks for a key, at the moment it is needed. */
export interface SecretGetParams {
  /** The name of the key. */
  readonly secret_key_id: string;
  /** Any short text; callers use `dev` and `pro`. */
  readonly environment: string;
  /** The session it is for; when several ask at once, the first. */
  readonly session_id: string;
  /** The module that asks; `null` when the session is being made. */
  readonly module: string | null;
}

/** The answer to `secret/get`. */
export interface SecretGetResult {
  /** One line of visible ASCII, up to 4 KiB. */
  readonly secret: string;
}

/** What a new session is to allow. */
export interface SessionCreateParams {
  /** The name of the key that its modules may use; needed when one of them needs a key. */
  readonly secret_key_id?: string | null;
  /** Goes to the host with the request for the key; `pro` when left out. */
  readonly environment?: string | null;
  /** Whose it is; `local` when left out. */
  readonly user?: string | null;
  /** Those it may use; all that are loaded now when left out. */
  readonly modules?: readonly string[] | null;
  /** Words with spaces between, for the modules to read. */
  readonly scope?: string | null;
  /** Seconds until the client secret expires; `[sessions] ttl` when left out, at most `max_ttl`. */
  readonly expires_in?: number | null;
  /** None when left out. */
  readonly rate_limit?: RateLimit | null;
  /** Up to 8 KiB of JSON that the modules see. */
  readonly metadata?: JsonObject | null;
}

export interface SessionIssuedEvent {
  readonly type: "session.issued";
  readonly session: string;
  readonly user: string;
  readonly modules: readonly string[];
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** Which session, and for how long. */
export interface SessionRenewParams {
  /** Of the session. */
  readonly id: string;
  /** Seconds until the new client secret expires; `[sessions] ttl` when left out. */
  readonly expires_in?: number | null;
}

/** A session with its token. */
export interface SessionResult {
  /** The session's token, shown this once. */
  readonly client_secret: string;
  readonly token_type: "Bearer";
  /** Seconds from now. */
  readonly expires_in: number;
  readonly id: string;
  readonly object: "session";
  readonly status: SessionStatus;
  readonly user: string;
  readonly modules: readonly string[];
  readonly scope: string;
  readonly secret_key_id: string | null;
  readonly environment: string;
  readonly created_at: number;
  readonly expires_at: number;
  readonly rate_limit: RateLimit | null;
  readonly metadata: JsonObject;
}

/** Which session. */
export interface SessionRevokeParams {
  /** Of the session. */
  readonly id: string;
}

export interface SessionRevokedEvent {
  readonly type: "session.revoked";
  readonly session: string;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

export type SessionStatus = "active" | "expired" | "revoked";

/** A worker that a module holds, and for how long. */
export interface StuckWorker {
  /** From 0; the thread is called `worker-<number>`. */
  readonly worker: number;
  readonly module: string;
  readonly generation: number;
  /** Method and path below the module's prefix; `session check` for one. */
  readonly route: string;
  readonly request_id: string;
  readonly held_s: number;
}

/** When the answer to a load comes. */
export type Wait =
  /** When the old generation is gone, however long its requests take. */
  | "drained";

/** A module holds it and does not give it back. */
export interface WorkerStuckEvent {
  readonly type: "worker.stuck";
  readonly worker: number;
  readonly module: string;
  readonly generation: number;
  /** Method and path below the module's prefix; `session check` for one. */
  readonly route: string;
  readonly request_id: string;
  /** Unix seconds. */
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** What a host asks. */
export interface RequestsToKernel {
  /**
   * The first request: who the host is, and what it does and wants. Before it every other is refused; one with another protocol number ends
   * the bridge.
   */
  readonly "initialize": { readonly params: InitializeParams; readonly result: InitializeResult };
  /** A key is another one now: the next use asks for it again. The sessions on it go on. */
  readonly "secret/changed": { readonly params: SecretChangedParams; readonly result: SecretChangedResult };
  /** Issues a session, as `POST /sessions`. The kernel asks for its key meanwhile. */
  readonly "session/create": { readonly params: SessionCreateParams; readonly result: SessionResult };
  /** Makes a new client secret for a session, as `POST /sessions/{id}/renew`. Those before it hold until they expire. */
  readonly "session/renew": { readonly params: SessionRenewParams; readonly result: SessionResult };
  /** Ends a session at once, as `DELETE /sessions/{id}`; its streams end within a second. */
  readonly "session/revoke": { readonly params: SessionRevokeParams; readonly result: null };
  /** What is loaded, as `GET /modules`. */
  readonly "module/list": { readonly params: undefined; readonly result: ModuleListResult };
  /** Loads a module, or swaps it for what is at the path now, as `PUT /modules/{name}`. What ran keeps running when it fails. */
  readonly "module/load": { readonly params: ModuleLoadParams; readonly result: Receipt };
  /** Swaps a module for what is at its path now, as `POST /modules/{name}/reload`. */
  readonly "module/reload": { readonly params: ModuleReloadParams; readonly result: Receipt };
  /** Takes no new requests for a module, lets those under way finish, and unloads it, as `DELETE /modules/{name}`. */
  readonly "module/unload": { readonly params: ModuleUnloadParams; readonly result: Receipt };
  /** The kernel answers, drains and exits with 0. */
  readonly "shutdown": { readonly params: undefined; readonly result: null };
}

/** What a host says. */
export interface NotificationsToKernel {
  /** A key is another one now: the next use asks for it again. The sessions on it go on. */
  readonly "secret/changed": { readonly params: SecretChangedParams };
  /**
   * The answer to a request is not wanted any more. The kernel answers what it was asked with RequestCancelled then, and needs no answer to
   * what it asked.
   */
  readonly "$/cancelRequest": { readonly params: CancelParams };
}

/** What the kernel asks. */
export interface RequestsToHost {
  /**
   * The kernel asks for a key at the moment it is needed, of a host that said it gives secrets. Of several, the one that attached last is
   * asked first; the next one when it has not got it or does not answer in time. What it denies is denied.
   */
  readonly "secret/get": { readonly params: SecretGetParams; readonly result: SecretGetResult };
}

/** What the kernel says. */
export interface NotificationsToHost {
  /** The first message: the modules are loaded, and the socket serves. */
  readonly "ready": { readonly params: Ready };
  /** Something happened; for hosts that said they want events. The same as `GET /events`. */
  readonly "event": { readonly params: KernelEvent };
  /** A line of the kernel's log, of the level that the host asked for or a more important one, if the kernel's own filter lets it pass. */
  readonly "log": { readonly params: LogLine };
  /**
   * The answer to a request is not wanted any more. The kernel answers what it was asked with RequestCancelled then, and needs no answer to
   * what it asked.
   */
  readonly "$/cancelRequest": { readonly params: CancelParams };
}
