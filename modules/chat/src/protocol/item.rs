//! The items of a thread.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::id::{ItemId, ThreadId};
use super::message::{AssistantContent, UserMessage};
use super::structured_input::StructuredInput;
use super::timestamp::Timestamp;
use super::tool_call::ClientToolCall;
use super::widget::Root;
use super::workflow::{Task, Workflow};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: ItemId,
    pub(crate) thread_id: ThreadId,
    pub(crate) created_at: Timestamp,
    #[serde(flatten)]
    pub(crate) kind: ItemKind,
}

impl Item {
    /// Hidden items steer the model and are never sent to a client.
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
}

impl ItemKind {
    pub(crate) fn is_hidden(&self) -> bool {
        matches!(
            self,
            ItemKind::HiddenContext { .. } | ItemKind::SdkHiddenContext { .. }
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GeneratedImage {
    pub(crate) id: String,
    pub(crate) url: String,
}
