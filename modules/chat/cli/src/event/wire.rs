//! The ChatKit stream's shapes (`chatkit/types.py`, `ThreadStreamEvent`), as far as a terminal can show them. New kinds of
//! events, updates and items may come, and are `Other`.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Event {
    #[serde(rename = "thread.created")]
    ThreadCreated { thread: Thread },
    #[serde(rename = "thread.updated")]
    ThreadUpdated { thread: Thread },
    #[serde(rename = "thread.item.added")]
    ItemAdded { item: Item },
    #[serde(rename = "thread.item.updated")]
    ItemUpdated { item_id: String, update: Update },
    #[serde(rename = "thread.item.done")]
    ItemDone { item: Item },
    #[serde(rename = "thread.item.replaced")]
    ItemReplaced { item: Item },
    #[serde(rename = "thread.item.removed")]
    ItemRemoved { item_id: String },
    #[serde(rename = "progress_update")]
    Progress { text: String },
    #[serde(rename = "notice")]
    Notice {
        title: Option<String>,
        message: String,
    },
    #[serde(rename = "error")]
    Error {
        #[serde(default = "custom")]
        code: String,
        message: Option<String>,
        #[serde(default)]
        allow_retry: bool,
    },
    #[serde(other)]
    Other,
}

/// The protocol's default for an error's `code`.
fn custom() -> String {
    "custom".to_owned()
}

#[derive(Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Update {
    #[serde(rename = "assistant_message.content_part.added")]
    ContentAdded {
        content_index: usize,
        content: Content,
    },
    #[serde(rename = "assistant_message.content_part.text_delta")]
    TextDelta { content_index: usize, delta: String },
    #[serde(rename = "assistant_message.content_part.done")]
    ContentDone {
        content_index: usize,
        content: Content,
    },
    #[serde(rename = "workflow.task.added")]
    TaskAdded { task: Task },
    #[serde(rename = "workflow.task.updated")]
    TaskUpdated { task: Task },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub(crate) struct Thread {
    pub(crate) id: String,
    pub(crate) title: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Item {
    pub(crate) id: String,
    #[serde(flatten)]
    pub(crate) kind: ItemKind,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ItemKind {
    UserMessage,
    AssistantMessage {
        content: Vec<Content>,
    },
    Workflow {
        workflow: Workflow,
    },
    Task {
        task: Task,
    },
    ClientToolCall {
        #[serde(default)]
        status: CallStatus,
        name: String,
        #[serde(default)]
        arguments: Value,
    },
    Widget {
        copy_text: Option<String>,
    },
    GeneratedImage {
        image: Option<Image>,
    },
    StructuredInput,
    #[serde(other)]
    Other,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallStatus {
    #[default]
    Pending,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub(crate) struct Content {
    pub(crate) text: String,
}

#[derive(Deserialize)]
pub(crate) struct Workflow {
    pub(crate) tasks: Vec<Task>,
    pub(crate) summary: Option<Summary>,
}

/// `CustomSummary` or `DurationSummary`.
#[derive(Deserialize)]
pub(crate) struct Summary {
    pub(crate) title: Option<String>,
    #[serde(rename = "duration")]
    pub(crate) duration_s: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct Task {
    pub(crate) title: Option<String>,
    pub(crate) content: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Image {
    pub(crate) url: String,
}
