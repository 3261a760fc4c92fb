//! What is to be done next in a turn.

use crate::protocol::event::Event;
use crate::protocol::id::ItemId;
use crate::protocol::item::Item;
use crate::protocol::thread::{Status, ThreadMetadata};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Send(Event),
    /// Keep this new item; then send that it is done.
    Keep(Item),
    /// Keep this item, in the place of one with its id if there is one; then send that it is done.
    Save(Item),
    /// Keep this item as it is now, and send nothing.
    Store(Item),
    /// Keep this item in the place of the one with its id; then send that it was replaced.
    Replace(Item),
    /// Delete this item; then send that it was removed.
    Remove(ItemId),
    /// Change the thread; then send it.
    EditThread(ThreadEdit),
    /// Let the model go on from what is kept.
    AskModel,
}

/// What somebody else changes of a thread; the rest stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ThreadEdit {
    pub(crate) title: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) allowed_image_domains: Option<Vec<String>>,
    pub(crate) metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Step {
    /// The item that is to be kept, if that is what is to be done.
    pub(super) fn kept(&self) -> Option<&Item> {
        match self {
            Step::Keep(item) | Step::Save(item) | Step::Store(item) | Step::Replace(item) => {
                Some(item)
            }
            Step::Send(_) | Step::Remove(_) | Step::EditThread(_) | Step::AskModel => None,
        }
    }
}

impl ThreadEdit {
    pub(super) fn apply(&self, thread: &mut ThreadMetadata) {
        if let Some(title) = &self.title {
            thread.title = Some(title.clone());
        }
        if let Some(status) = &self.status {
            thread.status = status.clone();
        }
        if let Some(domains) = &self.allowed_image_domains {
            thread.allowed_image_domains = Some(domains.clone());
        }
        if let Some(metadata) = &self.metadata {
            thread.metadata = metadata.clone();
        }
    }
}
