/** Writes TOML 1.0, as far as plain values go: what JSON has, but for null. */

import { MidplaneError } from "./errors.js";
import type { JsonObject, JsonValue } from "./protocol.js";

/** A document: each member that is an object becomes a table. Members that are undefined are left out. */
export function toToml(document: JsonObject): string {
  const lines: string[] = [];
  for (const [name, value] of Object.entries(document)) {
    if (value !== undefined) {
      lines.push(`${text(name)} = ${valueOf(value, name)}`);
    }
  }
  return lines.map((line) => `${line}\n`).join("");
}

function valueOf(value: JsonValue, place: string): string {
  switch (typeof value) {
    case "string":
      return text(value);
    case "boolean":
      return String(value);
    case "number":
      return number(value, place);
    default:
      if (value === null) {
        throw new MidplaneError("invalid_options", `${place} is null, which the configuration has no word for: leave it out`);
      }
      if (isArray(value)) {
        return `[${value.map((item, index) => valueOf(item, `${place}[${index}]`)).join(", ")}]`;
      }
      return `{ ${members(value, place).join(", ")} }`;
  }
}

function members(value: JsonObject, place: string): string[] {
  return Object.entries(value).flatMap(([name, member]) =>
    member === undefined ? [] : [`${text(name)} = ${valueOf(member, `${place}.${name}`)}`],
  );
}

function number(value: number, place: string): string {
  if (!Number.isFinite(value)) {
    throw new MidplaneError("invalid_options", `${place} is ${value}, which JSON has no word for`);
  }
  // -0 is a number in JSON and would be written as 0.
  return Object.is(value, -0) ? "0" : String(value);
}

/** A basic string (TOML 1.0, "String"): JSON's escapes, and DEL, which JSON leaves as it is. */
function text(value: string): string {
  if (!value.isWellFormed()) {
    throw new MidplaneError("invalid_options", "a text is not Unicode: it has half of a surrogate pair");
  }
  return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
}

function isArray(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}
