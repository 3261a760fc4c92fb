// PROTOCOL.md: the bridge for people.
import { isWords, membersOf, nameOf, shapeOf } from "./schema.mjs";

const DIRECTIONS = {
  "kernel-to-host": "kernel → host",
  "host-to-kernel": "host → kernel",
  both: "either way",
};

export function reference(description) {
  const { schemas, errors } = description.components;
  const shown = mentioned(description.methods);
  const rest = Object.keys(schemas).filter((name) => !shown.has(name) && !name.endsWith("Event"));
  return [
    `<!-- Generated of protocol.json by scripts/generate-protocol: change the kernel's types, not this file. -->\n# ${description.info.title}\n`,
    `Protocol ${description.info.version}. \`protocol.json\` beside this says the same to programs (OpenRPC), and the types of this package are made of it.\n`,
    `${description.info.description}\n`,
    "## Methods\n",
    table(
      ["method", "", ""],
      description.methods.map((method) => [link(method.name), DIRECTIONS[method["x-direction"]], `${method["x-kind"]}. ${method.summary}`]),
    ),
    ...description.methods.map((method) => described(method, schemas)),
    "## Events\n",
    "What `event` carries. Members may be added, and so may events.\n",
    table(
      ["`type`", "members besides `at`", ""],
      schemas.KernelEvent.oneOf.map((one) => {
        const event = schemas[nameOf(one)];
        const members = membersOf(event).filter(({ name }) => name !== "type" && name !== "at");
        return [`\`${event.properties.type.const}\``, members.map(({ name, schema }) => `\`${name}\`: ${type(schema)}`).join("<br>"), event.description ?? ""];
      }),
    ),
    "## Types\n",
    ...rest.map((name) => `${heading(name)}\n${about(schemas[name])}${body(schemas[name])}`),
    "## Errors\n",
    table(
      ["code", "name", ""],
      Object.entries(errors).map(([name, { code, message, data }]) => [`\`${code}\``, name, data === undefined ? message : `${message} \`data\`: ${type(data)}.`]),
    ),
    "## Limits\n",
    table(
      ["of", "", ""],
      description["x-limits"].map(({ name, value, unit, description: means }) => [name, `${value.toLocaleString("en-GB")} ${unit}`, means]),
    ),
  ].join("\n");
}

function described(method, schemas) {
  const { name, errors } = method;
  const params = method["x-params"] && schemas[nameOf(method["x-params"])];
  const result = method.result?.schema;
  return [
    heading(name),
    `${method.summary}\n`,
    params === undefined ? "No parameters.\n" : name === "event" ? "One of the [events](#events).\n" : body(params),
    ...(result === undefined ? [] : [nameOf(result) === undefined ? "Result: `null`.\n" : `Result: \`${nameOf(result)}\`.\n\n${resultBody(result, schemas)}`]),
    ...(errors === undefined ? [] : [`Errors: ${errors.map((error) => nameOf(error)).join(", ")}.\n`]),
  ].join("\n");
}

/** What several methods answer has a section of its own. */
function resultBody(result, schemas) {
  const name = nameOf(result);
  return SHARED.has(name) ? `See [${name}](#${anchor(name)}).\n` : body(schemas[name]);
}

const SHARED = new Set(["Receipt", "SessionResult"]);

/** Types that have been shown with a method. */
function mentioned(methods) {
  const names = methods.flatMap((method) => [method["x-params"], method.result?.schema]).filter((schema) => schema !== undefined);
  return new Set(names.map(nameOf).filter((name) => name !== undefined && !SHARED.has(name)));
}

function about(schema) {
  return schema.description === undefined ? "" : `${schema.description}\n\n`;
}

function body(schema) {
  const shape = shapeOf(schema);
  if (shape.is === "object") {
    return table(
      ["member", "type", ""],
      shape.members.map(({ name, schema: member, required }) => [`\`${name}\`${required ? "" : "?"}`, type(member), member.description ?? ""]),
    );
  }
  if (isWords(schema) && shape.of.some((one) => one.description !== undefined)) {
    return table(["", ""], shape.of.map((one) => [`\`"${one.const}"\``, one.description ?? ""]));
  }
  return `${type(schema)}\n`;
}

function type(schema) {
  const shape = shapeOf(schema);
  switch (shape.is) {
    case "name":
      return `[${shape.name}](#${anchor(shape.name)})`;
    case "plain":
      return schema.type === "integer" ? "integer" : shape.type;
    case "value":
      return `\`${JSON.stringify(shape.value)}\``;
    case "any":
      return "any JSON";
    case "record":
      return "object";
    case "array":
      return `array of ${type(shape.of)}`;
    case "union":
      return shape.of.map(type).join(" or ");
    case "object":
      return `object with ${shape.members.map(({ name, schema: member }) => `\`${name}\`: ${type(member)}`).join(", ")}`;
  }
}

function heading(name) {
  return `### ${name}\n`;
}

function link(name) {
  return `[\`${name}\`](#${anchor(name)})`;
}

/** As the usual renderers make it of a heading. */
function anchor(name) {
  return name.toLowerCase().replaceAll(/[^\w -]/gu, "").replaceAll(" ", "-");
}

function table(header, rows) {
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |\n`;
  return line(header) + `|${" --- |".repeat(header.length)}\n` + rows.map(line).join("");
}
