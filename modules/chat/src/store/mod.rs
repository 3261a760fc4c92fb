//! Where threads, items and feedback are kept.
//!
//! Keys are ordered by the time of writing, so that every page is one range scan; whose thread it is belongs to the key,
//! so that another user's thread is not there at all. Nothing here knows the protocol's requests or a provider.

mod memory;

use futures_util::future::BoxFuture;

use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::Item;
use crate::protocol::page::{Page, Scan};
use crate::protocol::request::FeedbackKind;
use crate::protocol::thread::ThreadMetadata;

pub(crate) use memory::Memory;

/// What an operation of a store comes to.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("no such thread: it was deleted, or belongs to another user")]
    ThreadNotFound,
    #[error("no such item in this thread")]
    ItemNotFound,
    #[error("`after` names nothing in this list: start again without it")]
    UnknownCursor,
    #[error("the store holds {max} {what} already: delete threads that are not needed")]
    Full { what: &'static str, max: usize },
}

/// A store of conversations. Every operation is atomic.
pub(crate) trait Store: Send + Sync {
    fn add_thread<'a>(&'a self, user: &'a str, thread: ThreadMetadata) -> Answer<'a, ()>;

    fn thread<'a>(&'a self, user: &'a str, thread: &'a ThreadId) -> Answer<'a, ThreadMetadata>;

    fn threads<'a>(
        &'a self,
        user: &'a str,
        scan: Scan<ThreadId>,
    ) -> Answer<'a, Page<ThreadMetadata>>;

    /// Gives back the thread as it is now.
    fn set_title<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        title: String,
    ) -> Answer<'a, ThreadMetadata>;

    /// Deletes the thread with its items and their feedback.
    fn delete_thread<'a>(&'a self, user: &'a str, thread: &'a ThreadId) -> Answer<'a, ()>;

    /// Appends to the item's thread. Adding an id that is there already changes nothing, so that a save may be repeated.
    fn add_item<'a>(&'a self, user: &'a str, item: Item) -> Answer<'a, ()>;

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

    /// Deletes every item behind this one.
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
}
