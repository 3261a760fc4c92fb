//! The items of a thread.
//!
//! Items are stored as they are written here, and read by the version before and the one after: see `store/durable`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::id::{ItemId, ThreadId};
use super::timestamp::Timestamp;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: ItemId,
    pub(crate) thread_id: ThreadId,
    pub(crate) created_at: Timestamp,
    #[serde(flatten)]
    pub(crate) kind: ItemKind,
}

impl Item {
    /// Hidden items steer the model, or are of a kind that this version does not know; they are never sent to a client.
    pub(crate) fn is_hidden(&self) -> bool {
        matches!(
            self.kind,
            ItemKind::SdkHiddenContext { .. } | ItemKind::Unknown(_)
        )
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ItemKind {
    UserMessage(UserMessage),
    AssistantMessage {
        content: Vec<AssistantContent>,
    },
    Workflow {
        workflow: Workflow,
    },
    SdkHiddenContext {
        content: String,
    },
    /// What another version stored, as it stands: of a type, or with a member's value, that this one does not know. It is
    /// kept, and shown to nobody. The last variant, since it takes whatever the others do not.
    #[serde(untagged)]
    Unknown(Map<String, Value>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UserMessage {
    pub(crate) content: Vec<UserContent>,
    /// Always empty: attachments are not offered yet.
    pub(crate) attachments: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quoted_text: Option<String>,
    pub(crate) inference_options: InferenceOptions,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum UserContent {
    InputText {
        text: String,
    },
    InputTag {
        id: String,
        text: String,
        data: Map<String, Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        #[serde(default)]
        interactive: bool,
    },
}

impl UserContent {
    pub(crate) fn text(&self) -> &str {
        match self {
            UserContent::InputText { text } | UserContent::InputTag { text, .. } => text,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct InferenceOptions {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tool_choice: Option<ToolChoice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ToolChoice {
    pub(crate) id: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AssistantContent {
    /// Always empty: no provider here gives sources.
    pub(crate) annotations: Vec<Value>,
    pub(crate) text: String,
    pub(crate) r#type: OutputText,
}

impl AssistantContent {
    pub(crate) fn new(text: impl Into<String>) -> AssistantContent {
        AssistantContent {
            annotations: Vec::new(),
            text: text.into(),
            r#type: OutputText::OutputText,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutputText {
    OutputText,
}

/// What the model thought, in summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Workflow {
    pub(crate) r#type: WorkflowType,
    pub(crate) tasks: Vec<Task>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<DurationSummary>,
    pub(crate) expanded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkflowType {
    Reasoning,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Task {
    Thought {
        status_indicator: StatusIndicator,
        content: String,
    },
}

impl Task {
    pub(crate) fn thought(content: impl Into<String>) -> Task {
        Task::Thought {
            status_indicator: StatusIndicator::None,
            content: content.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StatusIndicator {
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DurationSummary {
    #[serde(rename = "duration")]
    pub(crate) duration_s: u64,
}
