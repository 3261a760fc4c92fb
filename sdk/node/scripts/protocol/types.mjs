// The types of src/protocol.ts. Types and constants only: nothing there runs.
import { shapeOf } from "./schema.mjs";

const WIDTH = 140;

export function types(description) {
  const { schemas, errors } = description.components;
  const parts = [
    comment(`${description.info.title}.\n\nGenerated of protocol.json by scripts/generate-protocol: change the kernel's types, not this file.\n\n${description.info.description}`),
    `/** The protocol that this package speaks; the kernel's must be the same. */\nexport const PROTOCOL = ${Number(description.info.version)};\n`,
    codes(errors),
    "export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [member: string]: JsonValue | undefined };\nexport type JsonObject = { readonly [member: string]: JsonValue | undefined };\n",
    ...Object.entries(schemas).map(([name, schema]) => declared(name, schema)),
    ...maps(description.methods),
  ];
  return parts.join("\n");
}

function codes(errors) {
  const lines = Object.entries(errors).map(([name, { code, message }]) => `${comment(message, "  ")}  ${name}: ${code},\n`);
  return `/** Errors of JSON-RPC, of LSP and of the bridge, by what they say. */\nexport const ErrorCode = {\n${lines.join("")}} as const;\n`;
}

function declared(name, schema) {
  const about = comment(schema.description);
  const shape = shapeOf(schema);
  if (shape.is === "object") {
    return `${about}export interface ${name} ${object(shape, "")}\n`;
  }
  if (shape.is === "union") {
    const documented = shape.of.some((one) => one.description !== undefined);
    const line = `export type ${name} = ${shape.of.map((one) => type(one, "")).join(" | ")};\n`;
    if (!documented && line.length <= WIDTH) {
      return about + line;
    }
    const lines = shape.of.map((one) => `${comment(one.description, "  ")}  | ${type(one, "  ")}`);
    return `${about}export type ${name} =\n${lines.join("\n")};\n`;
  }
  return `${about}export type ${name} = ${type(schema, "")};\n`;
}

function type(schema, indent) {
  const shape = shapeOf(schema);
  switch (shape.is) {
    case "name":
      return shape.name;
    case "plain":
      return shape.type;
    case "value":
      return JSON.stringify(shape.value);
    case "any":
      return "JsonValue";
    case "record":
      return "JsonObject";
    case "array": {
      const item = type(shape.of, indent);
      return `readonly ${/[ |]/u.test(item) ? `(${item})` : item}[]`;
    }
    case "union":
      return shape.of.map((one) => type(one, indent)).join(" | ");
    case "object":
      return object(shape, indent);
  }
}

function object({ members, open }, indent) {
  const inner = `${indent}  `;
  const lines = members.map(({ name, schema, required }) => {
    const key = /^[A-Za-z_$][\w$]*$/u.test(name) ? name : JSON.stringify(name);
    return `${comment(schema.description, inner)}${inner}readonly ${key}${required ? "" : "?"}: ${type(schema, inner)};\n`;
  });
  if (open) {
    lines.push(`${inner}readonly [member: string]: JsonValue | undefined;\n`);
  }
  return `{\n${lines.join("")}${indent}}`;
}

/** Every method with what it carries, by direction. */
function maps(methods) {
  const to = (direction) => methods.filter((method) => ["both", direction].includes(method["x-direction"]));
  const named = (name, about, chosen) => {
    const lines = chosen.map((method) => {
      const params = method["x-params"] === undefined ? "undefined" : type(method["x-params"], "  ");
      const carried = method.result === undefined ? `{ readonly params: ${params} }` : `{ readonly params: ${params}; readonly result: ${type(method.result.schema, "  ")} }`;
      return `${comment(method.summary, "  ")}  readonly ${JSON.stringify(method.name)}: ${carried};\n`;
    });
    return `/** ${about} */\nexport interface ${name} {\n${lines.join("")}}\n`;
  };
  const isRequest = (method) => method.result !== undefined;
  const notified = (method) => method["x-kind"].includes("notification");
  return [
    named("RequestsToKernel", "What a host asks.", to("host-to-kernel").filter(isRequest)),
    named("NotificationsToKernel", "What a host says.", to("host-to-kernel").filter(notified).map(({ result, ...method }) => method)),
    named("RequestsToHost", "What the kernel asks.", to("kernel-to-host").filter(isRequest)),
    named("NotificationsToHost", "What the kernel says.", to("kernel-to-host").filter(notified)),
  ];
}

function comment(text, indent = "") {
  if (text === undefined) {
    return "";
  }
  const safe = text.replaceAll("*/", "*\\/");
  const line = `${indent}/** ${safe} */`;
  if (!safe.includes("\n") && line.length <= WIDTH) {
    return `${line}\n`;
  }
  const lines = safe.split("\n").flatMap((paragraph) => wrapped(paragraph, WIDTH - indent.length - 3));
  return `${indent}/**\n${lines.map((one) => `${indent} *${one === "" ? "" : ` ${one}`}\n`).join("")}${indent} */\n`;
}

function wrapped(paragraph, width) {
  const lines = [""];
  for (const word of paragraph.split(" ")) {
    const line = lines.at(-1);
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(word);
    } else {
      lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
    }
  }
  return lines;
}
