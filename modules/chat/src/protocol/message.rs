//! Messages of the user and of the assistant.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::attachment::Attachment;
use super::source::Annotation;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UserMessage {
    pub(crate) content: Vec<UserContent>,
    #[serde(default)]
    pub(crate) attachments: Vec<Attachment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quoted_text: Option<String>,
    pub(crate) inference_options: InferenceOptions,
}

impl UserMessage {
    /// What the user wrote, without what is quoted or attached.
    pub(crate) fn text(&self) -> String {
        self.content.iter().map(|part| part.text()).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum UserContent {
    InputText { text: String },
    InputTag(Tag),
}

/// Something the user named with an `@`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tag {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) data: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    #[serde(default)]
    pub(crate) interactive: bool,
}

impl UserContent {
    pub(crate) fn text(&self) -> &str {
        match self {
            UserContent::InputText { text } | UserContent::InputTag(Tag { text, .. }) => text,
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
    #[serde(default)]
    pub(crate) annotations: Vec<Annotation>,
    pub(crate) text: String,
    #[serde(default)]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutputText {
    #[default]
    OutputText,
}
