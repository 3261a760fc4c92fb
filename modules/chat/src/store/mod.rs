//! Where threads, items, feedback and what is known of attachments are kept.
//!
//! Threads are ordered by `created_at` and then by id, as in the reference's stores; the items of a thread by when they
//! were added. Whose thread it is belongs to its key, so that another user's thread is not there at all. Nothing here
//! knows the protocol's requests or a provider.

mod attachment;
#[cfg(test)]
mod contract;
mod durable;
mod error;
mod memory;
mod open;

use futures_util::future::BoxFuture;

use crate::protocol::id::{AttachmentId, ItemId, ThreadId};
use crate::protocol::item::Item;
use crate::protocol::page::{Page, Scan};
use crate::protocol::request::FeedbackKind;
use crate::protocol::thread::ThreadMetadata;

pub(crate) use attachment::{AttachmentKey, StoredAttachment};
use durable::Durable;
pub(crate) use error::StoreError;
pub(crate) use memory::Memory;
pub(crate) use open::open;

/// What an operation of a store comes to.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Changes a thread's metadata in place. Called again when another window was faster, so it must do the same each time.
pub(crate) type ThreadChange<'a> = &'a (dyn Fn(&mut ThreadMetadata) + Send + Sync);

/// A store of conversations. Every operation is atomic, unless it says otherwise; dropping its future leaves open whether
/// it is carried out.
pub(crate) trait Store: Send + Sync {
    /// Adding an id that is there already changes nothing, so that it may be repeated.
    fn add_thread<'a>(&'a self, user: &'a str, thread: ThreadMetadata) -> Answer<'a, ()>;

    fn thread<'a>(&'a self, user: &'a str, thread: &'a ThreadId) -> Answer<'a, ThreadMetadata>;

    fn threads<'a>(
        &'a self,
        user: &'a str,
        scan: Scan<ThreadId>,
    ) -> Answer<'a, Page<ThreadMetadata>>;

    /// Gives back the thread as it is now. Its `id` and `created_at` stay, whatever `change` does with them.
    fn update_thread<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        change: ThreadChange<'a>,
    ) -> Answer<'a, ThreadMetadata>;

    /// Deletes the thread with its items and their feedback. What is known of its attachments stays.
    fn delete_thread<'a>(&'a self, user: &'a str, thread: &'a ThreadId) -> Answer<'a, ()>;

    /// Appends to the item's thread. Adding an id that is there already changes nothing, so that a save may be repeated.
    fn add_item<'a>(&'a self, user: &'a str, item: Item) -> Answer<'a, ()>;

    /// Puts the item in the place of the one that has its id, or appends it if there is none.
    fn save_item<'a>(&'a self, user: &'a str, item: Item) -> Answer<'a, ()>;

    /// Puts `now` in the place of `before`, which has its id; [`StoreError::ItemChanged`] where that is not as it was any more.
    fn replace_item<'a>(&'a self, user: &'a str, before: &'a Item, now: Item) -> Answer<'a, ()>;

    fn item<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, Item>;

    fn items<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        scan: Scan<ItemId>,
    ) -> Answer<'a, Page<Item>>;

    fn delete_item<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, ()>;

    /// Deletes every item behind this one, newest first: if there are hundreds and it breaks off, the oldest of them stay.
    fn delete_items_after<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, ()>;

    /// Notes what the user thinks of these items; all or none.
    fn add_feedback<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        items: &'a [ItemId],
        kind: FeedbackKind,
    ) -> Answer<'a, ()>;

    /// What the user thinks of this item, if that was said: for whoever reads the module store's export, and for tests.
    #[cfg(test)]
    fn feedback<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, Option<FeedbackKind>>;

    /// Adds what is known of an attachment, or replaces it.
    fn save_attachment<'a>(&'a self, user: &'a str, attachment: StoredAttachment)
    -> Answer<'a, ()>;

    fn attachment<'a>(
        &'a self,
        user: &'a str,
        id: &'a AttachmentId,
    ) -> Answer<'a, StoredAttachment>;

    fn delete_attachment<'a>(&'a self, user: &'a str, id: &'a AttachmentId) -> Answer<'a, ()>;

    /// All users' attachments in a fixed order, `limit` at a time, for whoever looks for orphans: those behind `after`.
    fn attachments(
        &self,
        after: Option<AttachmentKey>,
        limit: usize,
    ) -> Answer<'_, Vec<(AttachmentKey, StoredAttachment)>>;

    /// Waits until threads changed since `seen`, whoever changed them; without a mark, answers that of now at once.
    /// Cancel-safe.
    fn changes(&self, seen: Option<Mark>) -> Answer<'_, Changes>;
}

/// Up to where a reader knows the changes of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Of the store's commits.
    version: u64,
    /// Of the record of changes.
    epoch: u64,
}

/// What changed between two marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) mark: Mark,
    /// Each thread once. May tell of a change again that the mark before covered already.
    pub(crate) changed: Vec<Change>,
    /// More changed than is told: any thread may have.
    pub(crate) missed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) user: String,
    pub(crate) thread: ThreadId,
    pub(crate) is_deleted: bool,
}
