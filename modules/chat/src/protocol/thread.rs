//! Threads: what is stored of one, and how one is answered.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::id::ThreadId;
use super::item::Item;
use super::page::Page;
use super::timestamp::Timestamp;

/// A thread without its items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ThreadMetadata {
    pub(crate) id: ThreadId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    pub(crate) created_at: Timestamp,
    #[serde(default)]
    pub(crate) status: Status,
    /// Where images in this thread may come from; any place when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allowed_image_domains: Option<Vec<String>>,
    /// What integrations note on a thread. Kept, and never sent to a client.
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
            allowed_image_domains: None,
            metadata: Map::new(),
        }
    }
}

/// Whether a client lets its user write in a thread.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Status {
    #[default]
    Active,
    /// For now.
    Locked {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// For good.
    Closed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// A thread with a page of its items, as clients see it: without hidden items and metadata.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Thread {
    #[serde(flatten)]
    metadata: ThreadMetadata,
    items: Page<Item>,
}

impl Thread {
    pub(crate) fn new(mut metadata: ThreadMetadata, items: Page<Item>) -> Thread {
        metadata.metadata.clear();
        Thread {
            metadata,
            items: items.retain(|item| !item.is_hidden()),
        }
    }

    /// As events and lists carry it.
    pub(crate) fn without_items(metadata: ThreadMetadata) -> Thread {
        Thread::new(metadata, Page::empty())
    }
}
