//! The events of a streamed answer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::icon::Icon;
use super::id::ItemId;
use super::item::Item;
use super::thread::Thread;
use super::update::Update;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type")]
pub(crate) enum Event {
    #[serde(rename = "thread.created")]
    ThreadCreated { thread: Thread },
    #[serde(rename = "thread.updated")]
    ThreadUpdated { thread: Thread },
    #[serde(rename = "thread.item.added")]
    ItemAdded { item: Item },
    #[serde(rename = "thread.item.updated")]
    ItemUpdated { item_id: ItemId, update: Update },
    #[serde(rename = "thread.item.done")]
    ItemDone { item: Item },
    #[serde(rename = "thread.item.removed")]
    ItemRemoved { item_id: ItemId },
    #[serde(rename = "thread.item.replaced")]
    ItemReplaced { item: Item },
    #[serde(rename = "stream_options")]
    StreamOptions { stream_options: StreamOptions },
    #[serde(rename = "progress_update")]
    ProgressUpdate(Progress),
    #[serde(rename = "client_effect")]
    ClientEffect(ClientEffect),
    #[serde(rename = "notice")]
    Notice(Notice),
    #[serde(rename = "error")]
    Error(StreamError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamOptions {
    pub(crate) allow_cancel: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) icon: Option<Icon>,
    pub(crate) text: String,
}

/// Something the client's page is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClientEffect {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) data: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notice {
    pub(crate) level: NoticeLevel,
    pub(crate) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NoticeLevel {
    Info,
    Warning,
    Danger,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamError {
    #[serde(default)]
    pub(crate) code: ErrorCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) allow_retry: bool,
}

/// What a client shows of an error: words of its own, in the user's language, for a named code, and the message for a
/// custom one (`chatkit/errors.py`). So a failure has the named code where all that can be done is to try again, and is
/// custom where its message says what to mend. The message is there for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum ErrorCode {
    #[default]
    #[serde(rename = "custom")]
    Custom,
    #[serde(rename = "stream.error")]
    StreamError,
}
