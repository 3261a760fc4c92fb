//! Calls of tools that the client has, not the server.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClientToolCall {
    #[serde(default)]
    pub(crate) status: CallStatus,
    /// The model's name for this call.
    pub(crate) call_id: String,
    pub(crate) name: String,
    pub(crate) arguments: Map<String, Value>,
    /// What the client answered. `null` is left out, as in the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CallStatus {
    #[default]
    Pending,
    Completed,
}
