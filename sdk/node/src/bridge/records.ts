/** Checks what the kernel tells without being asked, before anyone hears of it. */

import type { JsonObject, JsonValue, KernelEvent, LogLevel } from "../protocol.js";

/** A line of the kernel's log: `log` of the bridge, with all that it is about among its fields. */
export interface LogRecord {
  readonly level: LogLevel;
  readonly target: string;
  readonly message: string;
  readonly fields: JsonObject;
  /** Unix seconds, with fractions. */
  readonly at: number;
}

const LEVELS: readonly string[] = ["error", "warn", "info", "debug", "trace"];

/** Undefined for what is no event. */
export function eventOf(params: unknown): KernelEvent | undefined {
  return isObject(params) && typeof params["type"] === "string" ? (params as KernelEvent) : undefined;
}

/**
 * A line as the kernel's own JSON log has it, `timestamp` in RFC 3339 and what it is about (`request_id`, `session`, `module`) beside its fields,
 * becomes one record. Undefined for what is no line.
 */
export function logRecordOf(params: unknown): LogRecord | undefined {
  if (!isObject(params)) {
    return undefined;
  }
  const { level, target, message, fields, timestamp, at, ...about } = params;
  const name = typeof level === "string" ? level.toLowerCase() : "";
  if (!isLevel(name) || typeof message !== "string") {
    return undefined;
  }
  return {
    level: name,
    target: typeof target === "string" ? target : "",
    message,
    fields: { ...about, ...(isObject(fields) ? fields : {}) },
    at: typeof at === "number" ? at : secondsOf(timestamp),
  };
}

function secondsOf(timestamp: JsonValue | undefined): number {
  const ms = typeof timestamp === "string" ? Date.parse(timestamp) : Number.NaN;
  return (Number.isNaN(ms) ? Date.now() : ms) / 1000;
}

function isLevel(name: string): name is LogLevel {
  return LEVELS.includes(name);
}

/** What came out of JSON is JSON. */
function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
