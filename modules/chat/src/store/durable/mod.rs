//! Conversations in the module store: they outlive this generation, and the kernel.
//!
//! Every window of a user has a kernel of its own, and all of them write here. So nothing is remembered between two
//! operations that another kernel could change; what an operation reads, its commit expects to be as it was, and what
//! loses against another is done anew. A commit is whole or not at all; the two operations that may need several are
//! `delete_thread`, which leaves a tombstone until the last, and `delete_items_after` of hundreds, newest first.

mod delete;
mod items;
mod journal;
mod keys;
mod record;
mod threads;
mod tries;

use bytes::Bytes;
use futures_util::future::FutureExt;
use midplane_sdk::storage::{Batch, Entry, Scan as Range, Storage, StorageError};
use serde::de::DeserializeOwned;

use super::{
    Answer, AttachmentKey, Changes, Mark, Store, StoreError, StoredAttachment, ThreadChange,
};
use crate::protocol::id::{AttachmentId, ItemId, ThreadId};
use crate::protocol::item::Item;
use crate::protocol::page::{Order, Page, Scan};
use crate::protocol::request::FeedbackKind;
use crate::protocol::thread::ThreadMetadata;
use journal::{Journal, Noted};
use record::AttachmentRecord;
use tries::Tries;

/// The most entries that one page of the module store has.
const PAGE_ENTRIES_MAX: usize = 1_000;

pub(crate) struct Durable {
    storage: Storage,
    journal: Journal,
}

impl Durable {
    pub(crate) fn new(storage: Storage) -> Durable {
        Durable {
            storage,
            journal: Journal::default(),
        }
    }

    /// Whether the store can be reached.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        self.storage.usage().await?;
        Ok(())
    }

    async fn read<R: DeserializeOwned>(&self, key: &str) -> Result<Option<(R, Entry)>, StoreError> {
        let Some(entry) = self.storage.get(key).await? else {
            return Ok(None);
        };
        Ok(Some((record::read(&entry.value)?, entry)))
    }

    /// The first `wanted` entries that begin with `prefix`, behind `after`: one range scan, unless they take more than the
    /// mebibyte that a page of the module store has.
    async fn range(
        &self,
        prefix: &str,
        order: Order,
        after: Option<String>,
        wanted: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut range = Range::prefix(prefix);
        if order == Order::Desc {
            range = range.reverse();
        }
        let mut after: Option<Bytes> = after.map(Bytes::from);
        let mut found = Vec::new();
        loop {
            let limit = (wanted - found.len()).min(PAGE_ENTRIES_MAX);
            let mut range = range.clone().limit(limit);
            if let Some(after) = &after {
                range = range.after(after);
            }
            let page = self.storage.scan(range).await?;
            after = page.entries.last().map(|entry| entry.key.clone());
            found.extend(page.entries);
            if !page.more || found.len() >= wanted {
                return Ok(found);
            }
        }
    }

    /// Carries out what changes this thread, and notes that it did.
    async fn commit_noted(
        &self,
        batch: Batch,
        user: &str,
        thread: &ThreadId,
        is_deleted: bool,
    ) -> Result<(), StorageError> {
        let Noted { batch, advance } = self
            .journal
            .note(&self.storage, batch, user, thread, is_deleted)
            .await?;
        match self.storage.commit(batch).await {
            Ok(version) => {
                if let Some(to) = advance {
                    self.journal.advanced(&self.storage, to, version).await;
                }
                Ok(())
            }
            Err(StorageError::Conflict { key, found }) => {
                if key == keys::EPOCH {
                    self.journal.forget();
                }
                Err(StorageError::Conflict { key, found })
            }
            Err(error) => Err(error),
        }
    }

    async fn save_attachment(
        &self,
        user: &str,
        stored: StoredAttachment,
    ) -> Result<(), StoreError> {
        let key = keys::attachment(user, &stored.attachment.id);
        let user = user.into();
        let record = AttachmentRecord {
            v: record::SCHEMA,
            user,
            stored,
        };
        let mut tries = Tries::new();
        while let Err(error) = self.storage.put(&key, record::write(&record)).await {
            tries.again(error.into()).await?;
        }
        Ok(())
    }

    async fn attachment(
        &self,
        user: &str,
        id: &AttachmentId,
    ) -> Result<StoredAttachment, StoreError> {
        let found = self.read(&keys::attachment(user, id)).await?;
        let (AttachmentRecord { stored, .. }, _) = found.ok_or(StoreError::AttachmentNotFound)?;
        Ok(stored)
    }

    async fn delete_attachment(&self, user: &str, id: &AttachmentId) -> Result<(), StoreError> {
        let key = keys::attachment(user, id);
        let batch = Batch::new().expect_present(&key).delete(&key);
        match self.storage.commit(batch).await {
            Err(StorageError::Conflict { .. }) => Err(StoreError::AttachmentNotFound),
            outcome => Ok(outcome.map(drop)?),
        }
    }

    async fn attachments(
        &self,
        after: Option<AttachmentKey>,
        limit: usize,
    ) -> Result<Vec<(AttachmentKey, StoredAttachment)>, StoreError> {
        let after = after.map(|key| keys::attachment(&key.user, &key.id));
        let found = self
            .range(keys::ATTACHMENTS, Order::Asc, after, limit)
            .await?;
        let records = found.iter().map(|entry| {
            let AttachmentRecord { user, stored, .. } = record::read(&entry.value)?;
            let id = stored.attachment.id.clone();
            Ok((AttachmentKey { user, id }, stored))
        });
        records.collect()
    }
}

impl Store for Durable {
    fn add_thread<'a>(&'a self, user: &'a str, thread: ThreadMetadata) -> Answer<'a, ()> {
        Durable::add_thread(self, user, thread).boxed()
    }

    fn thread<'a>(&'a self, user: &'a str, thread: &'a ThreadId) -> Answer<'a, ThreadMetadata> {
        patiently(move || Durable::thread(self, user, thread)).boxed()
    }

    fn threads<'a>(
        &'a self,
        user: &'a str,
        scan: Scan<ThreadId>,
    ) -> Answer<'a, Page<ThreadMetadata>> {
        patiently(move || Durable::threads(self, user, scan.clone())).boxed()
    }

    fn update_thread<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        change: ThreadChange<'a>,
    ) -> Answer<'a, ThreadMetadata> {
        Durable::update_thread(self, user, thread, change).boxed()
    }

    fn delete_thread<'a>(&'a self, user: &'a str, thread: &'a ThreadId) -> Answer<'a, ()> {
        Durable::delete_thread(self, user, thread).boxed()
    }

    fn add_item<'a>(&'a self, user: &'a str, item: Item) -> Answer<'a, ()> {
        Durable::add_item(self, user, item).boxed()
    }

    fn save_item<'a>(&'a self, user: &'a str, item: Item) -> Answer<'a, ()> {
        Durable::save_item(self, user, item).boxed()
    }

    fn replace_item<'a>(&'a self, user: &'a str, before: &'a Item, now: Item) -> Answer<'a, ()> {
        Durable::replace_item(self, user, before, now).boxed()
    }

    fn item<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, Item> {
        patiently(move || Durable::item(self, user, thread, item)).boxed()
    }

    fn items<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        scan: Scan<ItemId>,
    ) -> Answer<'a, Page<Item>> {
        patiently(move || Durable::items(self, user, thread, scan.clone())).boxed()
    }

    fn delete_item<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, ()> {
        Durable::delete_item(self, user, thread, item).boxed()
    }

    fn delete_items_after<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, ()> {
        Durable::delete_items_after(self, user, thread, item).boxed()
    }

    fn add_feedback<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        items: &'a [ItemId],
        kind: FeedbackKind,
    ) -> Answer<'a, ()> {
        Durable::add_feedback(self, user, thread, items, kind).boxed()
    }

    #[cfg(test)]
    fn feedback<'a>(
        &'a self,
        user: &'a str,
        thread: &'a ThreadId,
        item: &'a ItemId,
    ) -> Answer<'a, Option<FeedbackKind>> {
        Durable::feedback(self, user, thread, item).boxed()
    }

    fn save_attachment<'a>(
        &'a self,
        user: &'a str,
        attachment: StoredAttachment,
    ) -> Answer<'a, ()> {
        Durable::save_attachment(self, user, attachment).boxed()
    }

    fn attachment<'a>(
        &'a self,
        user: &'a str,
        id: &'a AttachmentId,
    ) -> Answer<'a, StoredAttachment> {
        patiently(move || Durable::attachment(self, user, id)).boxed()
    }

    fn delete_attachment<'a>(&'a self, user: &'a str, id: &'a AttachmentId) -> Answer<'a, ()> {
        Durable::delete_attachment(self, user, id).boxed()
    }

    fn attachments(
        &self,
        after: Option<AttachmentKey>,
        limit: usize,
    ) -> Answer<'_, Vec<(AttachmentKey, StoredAttachment)>> {
        Durable::attachments(self, after, limit).boxed()
    }

    fn changes(&self, seen: Option<Mark>) -> Answer<'_, Changes> {
        self.journal.changes(&self.storage, seen).boxed()
    }
}

/// Reads again where that may help; whatever writes does so by itself.
async fn patiently<T, Reading>(read: impl Fn() -> Reading) -> Result<T, StoreError>
where
    Reading: Future<Output = Result<T, StoreError>>,
{
    let mut tries = Tries::new();
    loop {
        match read().await {
            Err(error) => tries.again(error).await?,
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests;
