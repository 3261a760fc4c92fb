//! The description of the bridge: an OpenRPC document (spec.open-rpc.org, 1.3) of the types that the kernel reads and writes.
//! `@midplane/host` has its types from it, and people their reference.
//!
//! Compiled with the feature `schema` only; the program does not carry it. Nothing of it is written by hand that a type says.

mod methods;
#[expect(dead_code, reason = "types for their shape, of which nobody makes one")]
mod params;

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::kernel::PROTOCOL;
use methods::{Direction, Method};

/// The version of OpenRPC, whose schemas are those of JSON Schema, draft 7.
const OPENRPC: &str = "1.3.2";
const SCHEMAS: &str = "#/components/schemas/";

/// The whole document.
///
/// # Panics
///
/// A type has another shape when it is read than when it is written, or an event is no tagged object.
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let methods: Vec<Method> = methods::all(&mut schemas);
    // Not on the bridge, but for whoever is on it: `GET /health`, and `data` of an error.
    schemas.said::<crate::routes::health::Health>();
    schemas.said::<crate::problem::Body<'static>>();
    let schemas = schemas.finish();
    json!({
        "openrpc": OPENRPC,
        "info": {
            "title": "The bridge between a Midplane kernel and its hosts",
            "version": PROTOCOL.to_string(),
            "description": methods::INTRODUCTION,
        },
        "methods": methods.iter().map(|method| described(method, &schemas)).collect::<Vec<_>>(),
        "x-limits": methods::limits(),
        "components": { "schemas": schemas, "errors": methods::errors() },
    })
}

fn described(method: &Method, schemas: &Map<String, Value>) -> Value {
    let mut described = json!({
        "name": method.name,
        "summary": method.summary,
        "x-direction": match method.direction {
            Direction::ToHost => "kernel-to-host",
            Direction::ToKernel => "host-to-kernel",
            Direction::Both => "both",
        },
        "x-kind": method.kind,
        "paramStructure": "by-name",
        "params": method.params.as_ref().map_or_else(Vec::new, |params| descriptors(params, schemas)),
    });
    let members = described.as_object_mut().expect("it is written as one");
    if let Some(params) = &method.params {
        members.insert("x-params".to_owned(), params.clone());
    }
    if let Some(result) = &method.result {
        let result = json!({ "name": "result", "schema": result });
        members.insert("result".to_owned(), result);
    }
    if !method.errors.is_empty() {
        let refs = method.errors.iter();
        let refs = refs.map(|name| json!({ "$ref": format!("#/components/errors/{name}") }));
        members.insert("errors".to_owned(), refs.collect());
    }
    described
}

/// The members of the parameters, one each; of what has no fixed members, such as an event, none.
fn descriptors(params: &Value, schemas: &Map<String, Value>) -> Vec<Value> {
    let name = params["$ref"]
        .as_str()
        .and_then(|at| at.strip_prefix(SCHEMAS));
    let schema = &schemas[name.expect("parameters are types with a name")];
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let properties = schema["properties"].as_object();
    properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            let is_required = required.iter().any(|required| *required == name);
            json!({ "name": name, "required": is_required, "schema": schema })
        })
        .collect()
}

/// Collects types as they are mentioned. What the kernel reads may be left out where what it writes is always there.
struct Schemas {
    read: SchemaGenerator,
    said: SchemaGenerator,
}

impl Schemas {
    fn new() -> Schemas {
        let settings = || {
            SchemaSettings::draft07().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Schemas {
            read: settings().for_deserialize().into_generator(),
            said: settings().for_serialize().into_generator(),
        }
    }

    /// A reference to a type that the kernel reads.
    fn read<T: JsonSchema>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    /// A reference to a type that the kernel writes.
    fn said<T: JsonSchema>(&mut self) -> Value {
        self.said.subschema_for::<T>().to_value()
    }

    /// All types by name.
    fn finish(mut self) -> Map<String, Value> {
        let mut all = self.said.take_definitions(true);
        for (name, schema) in self.read.take_definitions(true) {
            let other = all.insert(name.clone(), schema.clone());
            assert!(
                other.is_none_or(|other| other == schema),
                "{name} is not the same in both directions: give one of them another name"
            );
        }
        all.values_mut().for_each(in_words_of_json);
        split_events(&mut all);
        all.sort_keys();
        all
    }
}

/// Rust's word for it stands in the comments of the types.
fn in_words_of_json(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "description" => {
                        let text_of_json = text.replace("`None`", "`null`");
                        // Where the comment's line ended; a paragraph's end stays.
                        let paragraphs = text_of_json.split("\n\n");
                        let paragraphs = paragraphs.map(|one| one.replace('\n', " "));
                        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
                    }
                    value => in_words_of_json(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(in_words_of_json),
        _ => {}
    }
}

/// One type for each event, with what all have, and open: members may be added.
fn split_events(schemas: &mut Map<String, Value>) {
    const ALL: &str = "KernelEvent";
    let event = schemas.get_mut(ALL).expect("events are sent");
    let common = event["properties"].as_object().expect("`at`").clone();
    let Some(Value::Array(variants)) = event
        .as_object_mut()
        .and_then(|event| event.remove("oneOf"))
    else {
        panic!("an event is one of several");
    };
    let mut refs = Vec::new();
    let mut named = Vec::new();
    for mut variant in variants {
        let kind = variant["properties"]["type"]["const"]
            .as_str()
            .expect("tagged");
        let words = kind.split(['.', '_']).map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        });
        let name = words.collect::<String>() + "Event";
        for (member, schema) in &common {
            variant["properties"][member] = schema.clone();
            let required = variant["required"].as_array_mut().expect("`type` is");
            required.push(member.clone().into());
        }
        variant["additionalProperties"] = true.into();
        refs.push(json!({ "$ref": format!("{SCHEMAS}{name}") }));
        named.push((name, variant));
    }
    *event = json!({ "description": event["description"], "oneOf": refs });
    schemas.extend(named);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scripts/generate-protocol` writes it.
    #[test]
    fn the_document_in_the_repository_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/node/protocol.json");
        let written = std::fs::read_to_string(path).unwrap();
        assert!(
            written == format!("{:#}\n", document()),
            "sdk/node/protocol.json is stale: run scripts/generate-protocol"
        );
    }

    #[test]
    fn every_reference_leads_to_something() {
        fn check(document: &Value, value: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(at)) = members.get("$ref") {
                        let found = document.pointer(at.strip_prefix('#').unwrap());
                        assert!(found.is_some(), "{at}");
                    }
                    members.values().for_each(|value| check(document, value));
                }
                Value::Array(items) => items.iter().for_each(|value| check(document, value)),
                _ => {}
            }
        }
        let document = document();
        check(&document, &document);
    }

    /// A method that is a route: what of its members stands in the path and in the query is described like the others.
    #[test]
    fn every_route_on_the_bridge_is_described_with_its_members() {
        let document = document();
        for (method, members) in crate::bridge::routed() {
            let methods = document["methods"].as_array().unwrap();
            let described = methods.iter().find(|described| described["name"] == method);
            let described = described.unwrap_or_else(|| panic!("{method} is not described"));
            for member in members {
                let params = described["params"].as_array().unwrap();
                assert!(
                    params.iter().any(|param| param["name"] == member),
                    "{method} has no {member}"
                );
            }
        }
    }
}
