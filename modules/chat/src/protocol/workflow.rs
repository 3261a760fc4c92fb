//! Work that an assistant shows: workflows, and their tasks.

use serde::{Deserialize, Serialize};

use super::icon::Icon;
use super::source::{OnlyFile, OnlyUrl};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Workflow {
    pub(crate) r#type: WorkflowType,
    pub(crate) tasks: Vec<Task>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<Summary>,
    #[serde(default)]
    pub(crate) expanded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkflowType {
    Custom,
    /// What the model thought.
    Reasoning,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Summary {
    Custom {
        title: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        icon: Option<Icon>,
    },
    Duration {
        #[serde(rename = "duration")]
        duration_s: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    #[serde(default)]
    pub(crate) status_indicator: StatusIndicator,
    #[serde(flatten)]
    pub(crate) kind: TaskKind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum TaskKind {
    Custom {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        icon: Option<Icon>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<String>,
    },
    WebSearch {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title_query: Option<String>,
        #[serde(default)]
        queries: Vec<String>,
        #[serde(default)]
        sources: Vec<OnlyUrl>,
    },
    Thought {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        content: String,
    },
    File {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        #[serde(default)]
        sources: Vec<OnlyFile>,
    },
    Image {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
}

impl Task {
    pub(crate) fn thought(content: impl Into<String>) -> Task {
        Task {
            status_indicator: StatusIndicator::None,
            kind: TaskKind::Thought {
                title: None,
                content: content.into(),
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StatusIndicator {
    #[default]
    None,
    Loading,
    Complete,
}
