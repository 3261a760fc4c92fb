//! The items of a thread.
//!
//! Items are stored as they are written here, and read by the version before and the one after: `store/durable/record.rs` has the rules.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::id::{ItemId, ThreadId};
use super::message::{AssistantContent, UserMessage};
use super::structured_input::StructuredInput;
use super::timestamp::Timestamp;
use super::tool_call::ClientToolCall;
use super::widget::Root;
use super::workflow::{Task, Workflow};
use crate::usage::Cost;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: ItemId,
    pub(crate) thread_id: ThreadId,
    pub(crate) created_at: Timestamp,
    /// What it cost to say. The protocol's items have no room for it: it is in no answer of the protocol's, and stands beside
    /// the item in its record.
    #[serde(skip)]
    pub(crate) cost: Option<Cost>,
    #[serde(flatten)]
    pub(crate) kind: ItemKind,
}

impl Item {
    /// Hidden items steer the model, or are of a kind that this version does not know; they are never sent to a client.
    pub(crate) fn is_hidden(&self) -> bool {
        self.kind.is_hidden()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ItemKind {
    UserMessage(UserMessage),
    AssistantMessage {
        content: Vec<AssistantContent>,
    },
    ClientToolCall(ClientToolCall),
    Widget {
        widget: Root,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copy_text: Option<String>,
    },
    GeneratedImage {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<GeneratedImage>,
    },
    StructuredInput(StructuredInput),
    Workflow {
        workflow: Workflow,
    },
    Task {
        task: Task,
    },
    /// Only a hint for the client: the assistant is done.
    EndOfTurn,
    /// Written by integrations.
    #[serde(rename = "hidden_context_item")]
    HiddenContext {
        #[serde(default, skip_serializing_if = "Value::is_null")]
        content: Value,
    },
    /// Written by the server itself.
    SdkHiddenContext {
        content: String,
    },
    /// What another version stored, as it stands: of a type, or with a member's value, that this one does not know. It is
    /// kept, and shown to nobody. Only the store makes it, of what it reads.
    #[serde(untagged, skip_deserializing)]
    Unknown(Map<String, Value>),
}

impl ItemKind {
    pub(crate) fn is_hidden(&self) -> bool {
        matches!(
            self,
            ItemKind::HiddenContext { .. }
                | ItemKind::SdkHiddenContext { .. }
                | ItemKind::Unknown(_)
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GeneratedImage {
    pub(crate) id: String,
    pub(crate) url: String,
}
