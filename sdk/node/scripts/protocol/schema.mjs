// What a schema of the description is, as far as the kernel's types make such: a name, a union, an object, an array, a constant
// or a plain type. Anything else is an error, so that nothing becomes `any`.

/** @returns the name of the type that a schema refers to, with or without a description of its own. */
export function nameOf(schema) {
  const reference = schema.$ref ?? (schema.allOf?.length === 1 ? schema.allOf[0].$ref : undefined);
  return reference?.split("/").at(-1);
}

/** One of `name`, `union`, `values`, `record`, `object`, `array`, `value`, `any`, `plain`; with what it consists of. */
export function shapeOf(schema) {
  const name = nameOf(schema);
  if (name !== undefined) {
    return { is: "name", name };
  }
  const either = schema.oneOf ?? schema.anyOf;
  if (either !== undefined) {
    return { is: "union", of: either };
  }
  if (schema.const !== undefined) {
    return { is: "value", value: schema.const };
  }
  if (schema.enum !== undefined) {
    return { is: "union", of: schema.enum.map((value) => ({ const: value })) };
  }
  if (Array.isArray(schema.type)) {
    return { is: "union", of: schema.type.map((type) => ({ ...schema, type })) };
  }
  switch (schema.type) {
    case "object":
      return schema.properties === undefined ? { is: "record" } : { is: "object", members: membersOf(schema), open: schema.additionalProperties === true };
    case "array":
      return { is: "array", of: schema.items };
    case "integer":
    case "number":
      return { is: "plain", type: "number" };
    case "string":
    case "boolean":
    case "null":
      return { is: "plain", type: schema.type };
    case undefined:
      if (Object.keys(schema).every((key) => key === "description" || key === "default")) {
        return { is: "any" };
      }
  }
  throw new Error(`no type is known for ${JSON.stringify(schema)}`);
}

export function membersOf(schema) {
  const required = schema.required ?? [];
  return Object.entries(schema.properties ?? {}).map(([name, member]) => ({ name, schema: member, required: required.includes(name) }));
}

/** @returns whether a type is one of some words. */
export function isWords(schema) {
  const shape = shapeOf(schema);
  return shape.is === "union" && shape.of.every((one) => one.const !== undefined);
}
