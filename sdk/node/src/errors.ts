/** What this package throws and rejects with. No message, member or cause ever holds a host key, a token or a secret. */

import { ErrorCode, type Problem } from "./protocol.js";

/** Codes of errors that arise on this side; those of refused requests are the kernel's, as its OpenAPI document lists them. */
export type HostErrorCode =
  /** The options contradict each other or cannot be written down. */
  | "invalid_options"
  /** No `midplane` was found, or there is none at the path that was given. */
  | "binary_missing"
  /** It is no program that may be run: not a file, not executable, or its loader is missing. */
  | "binary_unusable"
  /** It was built for another processor or system. */
  | "binary_foreign"
  /** The kernel ended before it was ready; the message says why. */
  | "start_failed"
  /** The kernel was not ready in time. */
  | "start_timeout"
  /** Kernel and package speak different protocols. */
  | "protocol_mismatch"
  /** What came over the bridge was not JSON-RPC within its limits. */
  | "bridge_invalid"
  | "socket_path_too_long"
  /** Nothing answers on the socket of a kernel to attach to. */
  | "kernel_unreachable"
  /** The kernel is being started again and was not ready in time. */
  | "kernel_restarting"
  /** The kernel ended too often and is not started again. */
  | "kernel_failed"
  /** `dispose` was called. */
  | "kernel_stopped"
  /** The bridge ended before the answer came. */
  | "bridge_closed"
  | "bridge_timeout"
  /** The session was revoked. */
  | "session_revoked"
  /** To be thrown by a secret callback: the user or a policy says no. */
  | "secret_denied"
  | "secret_not_found";

export interface MidplaneErrorOptions {
  readonly status?: number;
  readonly problem?: Problem;
  readonly hint?: string;
  readonly cause?: unknown;
}

export class MidplaneError extends Error {
  /** Stable: a {@link HostErrorCode}, or the `code` of the kernel's problem. */
  readonly code: HostErrorCode | (string & {});
  /** The HTTP status that the kernel's refusal has. */
  readonly status?: number;
  /** The kernel's whole refusal (RFC 9457). */
  readonly problem?: Problem;
  /** What to do about it, in a sentence. */
  readonly hint?: string;

  constructor(code: HostErrorCode | (string & {}), message: string, options: MidplaneErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "MidplaneError";
    this.code = code;
    if (options.status !== undefined) {
      this.status = options.status;
    }
    if (options.problem !== undefined) {
      this.problem = options.problem;
    }
    if (options.hint !== undefined) {
      this.hint = options.hint;
    }
  }
}

/** The refusal of a JSON-RPC request. */
export function fromRpc(method: string, error: { readonly code: number; readonly message: string; readonly data?: unknown }): MidplaneError {
  if (isProblem(error.data)) {
    return fromProblem(error.data);
  }
  const code = error.code === ErrorCode.ProtocolMismatch ? "protocol_mismatch" : (codeOf(error.data) ?? "bridge_refused");
  return new MidplaneError(code, `${method}: ${error.message}`);
}

export function fromProblem(problem: Problem): MidplaneError {
  return new MidplaneError(problem.code, problem.detail ?? problem.title, { status: problem.status, problem });
}

export function isProblem(value: unknown): value is Problem {
  return (
    typeof value === "object" &&
    value !== null &&
    "code" in value &&
    typeof value.code === "string" &&
    "status" in value &&
    typeof value.status === "number" &&
    "title" in value &&
    typeof value.title === "string"
  );
}

function codeOf(value: unknown): string | undefined {
  return typeof value === "object" && value !== null && "code" in value && typeof value.code === "string" ? value.code : undefined;
}

/** The text of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The `code` of a system error, such as `ENOENT`. */
export function systemCode(thrown: unknown): string | undefined {
  return thrown instanceof Error ? codeOf(thrown) : undefined;
}
