//! Threads: what is stored of one, and how one is answered.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::id::ThreadId;
use super::item::Item;
use super::page::Page;
use super::timestamp::Timestamp;

/// A thread without its items. Stored as it is written here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ThreadMetadata {
    pub(crate) id: ThreadId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    pub(crate) created_at: Timestamp,
    #[serde(default, deserialize_with = "known_status")]
    pub(crate) status: Status,
    /// Integrations may note things on a thread; never answered to a client, so always empty.
    #[serde(default)]
    pub(crate) metadata: Map<String, Value>,
}

impl ThreadMetadata {
    pub(crate) fn new(created_at: Timestamp) -> ThreadMetadata {
        ThreadMetadata {
            id: ThreadId::generate(),
            title: None,
            created_at,
            status: Status::Active,
            metadata: Map::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Status {
    #[default]
    Active,
}

/// One that only a later version knows reads as active, so that its threads can still be read and written.
fn known_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    let status = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(status).unwrap_or_default())
}

/// A thread with a page of its items.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Thread {
    #[serde(flatten)]
    metadata: ThreadMetadata,
    items: Page<Item>,
}

impl Thread {
    pub(crate) fn new(metadata: ThreadMetadata, items: Page<Item>) -> Thread {
        Thread {
            metadata,
            items: items.retain(|item| !item.is_hidden()),
        }
    }

    /// As events and lists carry it.
    pub(crate) fn without_items(metadata: ThreadMetadata) -> Thread {
        Thread {
            metadata,
            items: Page::empty(),
        }
    }
}
