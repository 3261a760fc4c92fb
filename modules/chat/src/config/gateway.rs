//! The OpenAI-compatible gateway: whether it is offered, and which models through it.

use serde::Deserialize;

use super::ConfigError;
use crate::gateway::Models;

/// `[modules.chat.config.gateway]`, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GatewayTable {
    enabled: bool,
    /// Left out: whatever the provider serves to the key. `models` beside `model` is ChatKit's picker, and says nothing here.
    models: Option<Vec<String>>,
}

impl Default for GatewayTable {
    fn default() -> GatewayTable {
        GatewayTable {
            enabled: true,
            models: None,
        }
    }
}

/// The same, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewaySettings {
    pub(crate) enabled: bool,
    pub(crate) models: Models,
}

impl GatewayTable {
    pub(super) fn check(&self) -> Result<GatewaySettings, ConfigError> {
        let models = match self.models.as_deref() {
            None => Models::default(),
            // Who offers no model switches the gateway off.
            Some([]) => return Err(ConfigError::Empty("gateway.models")),
            Some(names) if names.iter().any(|name| name.trim().is_empty()) => {
                return Err(ConfigError::Empty("gateway.models[]"));
            }
            Some(names) => Models::only(names),
        };
        Ok(GatewaySettings {
            enabled: self.enabled,
            models,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(table: Value) -> Result<GatewaySettings, String> {
        let table: GatewayTable =
            serde_json::from_value(table).map_err(|error| error.to_string())?;
        table.check().map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_on_and_open_unless_the_operator_says_otherwise() {
        let open = GatewaySettings {
            enabled: true,
            models: Models::default(),
        };
        assert_eq!(check(json!({})).unwrap(), open);
        assert_eq!(GatewayTable::default().check().unwrap(), open);
        assert!(!check(json!({"enabled": false})).unwrap().enabled);
        let some = check(json!({"models": ["tiny"]})).unwrap();
        assert_eq!(some.models, Models::only(&["tiny".to_owned()]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let refused = |table: Value, expect: &str| {
            let error = check(table.clone()).expect_err(&table.to_string());
            assert!(error.contains(expect), "{table}: {error}");
        };
        refused(json!({"models": []}), "`gateway.models` is empty");
        refused(
            json!({"models": ["tiny", " "]}),
            "`gateway.models[]` is empty",
        );
        refused(json!({"model": "tiny"}), "unknown field `model`");
    }
}
