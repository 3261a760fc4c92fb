/**
 * The messages of the bridge, as the kernel writes and reads them (JSON-RPC 2.0 with LSP framing). Types and numbers only:
 * nothing here runs. Members are snake_case, as on the wire; times are Unix seconds unless a name says otherwise.
 */

/** The protocol that this package speaks; the kernel's must be the same. */
export const PROTOCOL = 1;

/** Errors of JSON-RPC, of LSP and of the bridge, by what they say. */
export const ErrorCode = {
  ParseError: -32700,
  InvalidRequest: -32600,
  MethodNotFound: -32601,
  InvalidParams: -32602,
  InternalError: -32603,
  RequestCancelled: -32800,
  /** What a route would have answered with 401, 403, 404, 409, 422 or 5xx; `data` is its problem. */
  Refused: -32000,
  SecretDenied: -32001,
  SecretNotFound: -32002,
  ProtocolMismatch: -32010,
} as const;

export type LogLevel = "error" | "warn" | "info" | "debug" | "trace";

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [member: string]: JsonValue | undefined };
export type JsonObject = { readonly [member: string]: JsonValue | undefined };

/** Notification `ready`, kernel to host: the first message. */
export interface Ready {
  readonly protocol: number;
  readonly version: string;
  /** The kernel's own name, of this start: tokens and sessions end with it. */
  readonly instance: string;
  readonly pid: number;
  /** Path of the socket that it serves on. */
  readonly socket: string;
  /** `mph_…`: opens all control routes. */
  readonly host_key: string;
}

/** Request `initialize`, host to kernel: the first, whatever the carrier. */
export interface InitializeParams {
  readonly client: {
    readonly name: string;
    readonly version: string;
    /** Opaque; the same whenever the same host attaches again, so that its sessions live on. */
    readonly instance?: string;
  };
  readonly protocol: number;
  readonly capabilities: {
    /** Answers `secret/get`. */
    readonly secrets?: boolean;
    readonly events?: boolean;
    /** The least severe level that is wanted; null or left out: none. */
    readonly log?: LogLevel | null;
  };
}

export interface InitializeResult {
  readonly protocol: number;
  /** What the kernel calls this host in its log, such as `my-extension#1`. */
  readonly host: string;
}

/** Request `secret/get`, kernel to host; errors -32001 and -32002. */
export interface SecretGetParams {
  readonly secret_key_id: string;
  readonly environment: string;
  readonly session_id: string;
  readonly module: string | null;
}

export interface SecretGetResult {
  readonly secret: string;
}

/** Request or notification `secret/changed`, host to kernel. */
export interface SecretChangedParams {
  readonly secret_key_id: string;
}

export interface SecretChangedResult {
  /** Sessions that will ask again. */
  readonly sessions: number;
}

/** Request `session/create`: `POST /sessions`. */
export interface SessionCreateParams {
  readonly secret_key_id?: string;
  readonly environment?: string;
  readonly user?: string;
  readonly modules?: readonly string[];
  readonly scope?: string;
  /** Seconds. */
  readonly expires_in?: number;
  readonly rate_limit?: RateLimit;
  readonly metadata?: JsonObject;
}

export interface RateLimit {
  readonly requests_per_minute: number;
}

export interface SessionResult {
  readonly id: string;
  readonly object: "session";
  /** The session's token. */
  readonly client_secret: string;
  readonly token_type: string;
  /** Seconds. */
  readonly expires_in: number;
  readonly expires_at: number;
  readonly user: string;
  readonly modules: readonly string[];
  readonly scope: string | null;
  readonly secret_key_id: string | null;
  readonly environment: string;
  readonly status: string;
  readonly rate_limit: RateLimit | null;
  readonly metadata: JsonObject;
}

/** Request `session/renew`. */
export interface SessionRenewParams {
  readonly id: string;
  /** Seconds. */
  readonly expires_in?: number;
}

/** Request `session/revoke`; the result is null. */
export interface SessionRevokeParams {
  readonly id: string;
}

/** Request `module/load`: `PUT /modules/{name}`. */
export interface ModuleLoadParams {
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  readonly config?: JsonObject;
  readonly grants?: readonly string[];
  readonly public?: boolean;
  /** `drained`: the answer comes when the old generation is gone. */
  readonly wait?: "drained";
}

/** Request `module/reload`. */
export interface ModuleReloadParams {
  readonly name: string;
  readonly config?: JsonObject;
  /** `drained`: the answer comes when the old generation is gone. */
  readonly wait?: "drained";
}

/** Request `module/unload`. */
export interface ModuleUnloadParams {
  readonly name: string;
  readonly drain_ms?: number;
}

/** Request `module/list`: `GET /modules`. */
export interface ModuleListResult {
  /** Those that take requests, by name. */
  readonly modules: readonly Module[];
  /** Those that were replaced or taken away and have requests to finish, oldest first. */
  readonly draining: readonly DrainingGeneration[];
}

export interface Module {
  readonly name: string;
  readonly version: string;
  readonly generation: number;
  readonly state: string;
  readonly sha256: string;
  readonly path: string;
  readonly grants: readonly string[];
  readonly public: boolean;
  readonly in_flight_requests: number;
  readonly open_websockets: number;
  readonly poll_seconds: number;
  /** Answers by status class (`2xx`, …), and `cancelled`. */
  readonly requests: { readonly [statusClass: string]: number };
  readonly resident_generations: number;
  readonly isolation: "in-process" | "process";
  /** Null in the kernel's process. */
  readonly process: { readonly pid: number | null; readonly crashes: number; readonly [member: string]: JsonValue | undefined } | null;
}

export interface DrainingGeneration {
  readonly name: string;
  readonly version: string;
  readonly generation: number;
  readonly in_flight_requests: number;
}

/** What a load, a swap or an unload did. */
export interface Receipt {
  readonly module: string;
  readonly from: Identity | null;
  readonly to: Identity | null;
  /** For how long new requests waited; null when there was nothing to exchange. */
  readonly swap_us: number | null;
  /** Null while draining. */
  readonly drain_ms: number | null;
  readonly requests: { readonly finished_on_old: number; readonly cancelled: number };
  readonly state: { readonly bytes: number; readonly schema: number; readonly accepted: boolean } | null;
  /** Whether the old code has left the process; null while draining. */
  readonly unloaded: boolean | null;
  readonly resident_reason: string | null;
}

export interface Identity {
  readonly generation: number;
  readonly version: string;
  readonly sha256: string;
}

/** `GET /health` with the host key. */
export interface Health {
  readonly status: "ok" | "degraded" | "starting" | "draining";
  readonly version: string;
  readonly protocol: number;
  readonly uptime_s?: number;
  readonly pid?: number;
  readonly instance?: string;
  readonly modules?: readonly {
    readonly name: string;
    readonly version: string;
    readonly generation: number;
    readonly state: string;
    readonly isolation: string;
  }[];
}

/** RFC 9457, as the HTTP API has it; what a refused request carries as `data`. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  /** Stable; listed in the OpenAPI document. */
  readonly code: string;
  /** Id of the request. */
  readonly instance?: string;
}

/** Notification `event`, kernel to host: what `GET /events` carries. */
export interface KernelEvent {
  /** Such as `session.issued`, `module.swapped`. */
  readonly type: string;
  readonly at: number;
  readonly [member: string]: JsonValue | undefined;
}

/** What becomes of the notification `log`. */
export interface LogRecord {
  readonly level: LogLevel;
  /** Where in the kernel, or which module. */
  readonly target: string;
  readonly message: string;
  readonly fields: JsonObject;
  /** Unix seconds, with a fraction. */
  readonly at: number;
}
