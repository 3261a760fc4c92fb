//! The client's tools that a model may call.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Config, ConfigError};
use crate::provider::Tool;

/// As many as OpenAI's APIs take.
const TOOLS_MAX: usize = 128;
/// OpenAI's bound on a function's name.
const NAME_LEN_MAX: usize = 64;

/// One of `[[modules.chat.config.tools]]`, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolConfig {
    name: String,
    /// What the model is told of it: what it does, and when to call it.
    description: String,
    /// A JSON schema of an object; left out: no arguments.
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error("`tools` has {0} entries: keep {TOOLS_MAX} at most")]
    TooMany(usize),
    #[error("the tool `{0}`: take a name of 1 to 64 letters, digits, `_` and `-`")]
    Name(String),
    #[error("the tool `{0}` is there twice: keep one")]
    Twice(String),
    #[error("the tool `{0}` has no description: say what it does, for the model")]
    Description(String),
    #[error(
        "the tool `{0}`: `parameters` is the JSON schema of an object, with `type = \"object\"`"
    )]
    Parameters(String),
}

impl Config {
    pub(super) fn tools(&self) -> Result<Vec<Tool>, ConfigError> {
        if self.tools.len() > TOOLS_MAX {
            return Err(ToolError::TooMany(self.tools.len()).into());
        }
        let mut names = BTreeSet::new();
        let tools = self.tools.iter().map(|tool| {
            if !names.insert(&tool.name) {
                return Err(ToolError::Twice(tool.name.clone()));
            }
            tool.check()
        });
        Ok(tools.collect::<Result<_, _>>()?)
    }
}

impl ToolConfig {
    fn check(&self) -> Result<Tool, ToolError> {
        let is_name = (1..=NAME_LEN_MAX).contains(&self.name.len())
            && self
                .name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if !is_name {
            return Err(ToolError::Name(
                self.name.chars().take(NAME_LEN_MAX).collect(),
            ));
        }
        if self.description.trim().is_empty() {
            return Err(ToolError::Description(self.name.clone()));
        }
        let parameters = match &self.parameters {
            None => json!({"type": "object", "properties": {}}),
            Some(schema) if schema.get("type") == Some(&json!("object")) => {
                Value::Object(schema.clone())
            }
            Some(_) => return Err(ToolError::Parameters(self.name.clone())),
        };
        Ok(Tool {
            name: self.name.clone(),
            description: self.description.clone(),
            parameters,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(tools: Value) -> Result<Vec<Tool>, String> {
        let config: Config = serde_json::from_value(json!({"provider": "echo", "tools": tools}))
            .map_err(|error| error.to_string())?;
        config.tools().map_err(|error| error.to_string())
    }

    #[test]
    fn a_tool_is_offered_as_it_is_written() {
        let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]});
        let offered = tools(json!([
            {"name": "open_file", "description": "Opens it.", "parameters": schema},
            {"name": "selection", "description": "What is selected."},
        ]))
        .unwrap();
        assert_eq!(offered[0].parameters, schema);
        assert_eq!(
            offered[1].parameters,
            json!({"type": "object", "properties": {}})
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let tool = |name: &str| json!({"name": name, "description": "d"});
        for (wrong, expect) in [
            (json!([{"name": "a"}]), "missing field `description`"),
            (
                json!([{"name": "a", "description": "d", "x": 1}]),
                "unknown field `x`",
            ),
            (json!([tool("a b")]), "take a name of"),
            (json!([tool("")]), "take a name of"),
            (json!([tool(&"a".repeat(65))]), "take a name of"),
            (json!([tool("a"), tool("a")]), "is there twice"),
            (
                json!([{"name": "a", "description": " "}]),
                "has no description",
            ),
            (
                json!([{"name": "a", "description": "d", "parameters": {"type": "string"}}]),
                "schema of an object",
            ),
            (
                Value::Array((0..129).map(|n| tool(&format!("t{n}"))).collect()),
                "keep 128 at most",
            ),
        ] {
            let error = tools(wrong.clone()).unwrap_err();
            assert!(error.contains(expect), "{wrong}: {error}");
        }
    }
}
