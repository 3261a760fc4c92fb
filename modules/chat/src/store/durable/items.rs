//! The items of a thread, numbered in the order in which they were added, by a counter of the thread's.
//!
//! The counter is there as long as the thread is, so that whatever writes into a thread expects it: nothing can be written
//! into one that another window has deleted.

use bytes::Bytes;
use midplane_sdk::storage::{Batch, Entry, StorageError};

use super::Durable;
use super::keys::ThreadKeys;
use super::record::{self, CounterRecord, FeedbackRecord, PositionRecord};
use super::tries::Tries;
use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::Item;
use crate::protocol::page::{Order, Page, Scan};
use crate::protocol::request::FeedbackKind;
use crate::store::StoreError;

/// Each is expected and written, in a batch of the module store's, of 1,000 operations.
const FEEDBACK_ITEMS_MAX: usize = 400;
/// Three deletes each, in such a batch.
const DELETED_AT_ONCE: usize = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Present {
    Stays,
    IsReplaced,
}

impl Durable {
    pub(super) async fn add_item(&self, user: &str, item: Item) -> Result<(), StoreError> {
        self.write_item(user, item, Present::Stays).await
    }

    pub(super) async fn save_item(&self, user: &str, item: Item) -> Result<(), StoreError> {
        self.write_item(user, item, Present::IsReplaced).await
    }

    async fn write_item(&self, user: &str, item: Item, present: Present) -> Result<(), StoreError> {
        let keys = ThreadKeys::new(user, &item.thread_id);
        let json = record::write_item(&item);
        let mut tries = Tries::new();
        loop {
            match self.try_write(user, &keys, &item, &json, present).await {
                Ok(()) => return Ok(()),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    async fn try_write(
        &self,
        user: &str,
        keys: &ThreadKeys,
        item: &Item,
        json: &Bytes,
        present: Present,
    ) -> Result<(), StoreError> {
        let place = keys.position(&item.id);
        let (counter, position) =
            futures_util::try_join!(self.counter(keys), self.read::<PositionRecord>(&place))?;
        let batch = match position {
            Some(_) if present == Present::Stays => return Ok(()),
            Some((position, entry)) => Batch::new()
                .expect_present(keys.counter())
                .expect_version(&place, entry.version)
                .put(keys.item_at(position.at), json.clone()),
            None => {
                let (CounterRecord { next, .. }, entry) = counter;
                let (v, counter) = (record::SCHEMA, keys.counter());
                Batch::new()
                    .expect_version(&counter, entry.version)
                    .expect_absent(&place)
                    .put(
                        &counter,
                        record::write(&CounterRecord { v, next: next + 1 }),
                    )
                    .put(&place, record::write(&PositionRecord { v, at: next }))
                    .put(keys.item_at(next), json.clone())
            }
        };
        Ok(self
            .commit_noted(batch, user, &item.thread_id, false)
            .await?)
    }

    pub(super) async fn replace_item(
        &self,
        user: &str,
        before: &Item,
        now: Item,
    ) -> Result<(), StoreError> {
        let mut tries = Tries::new();
        loop {
            match self.try_replace(user, before, &now, tries.in_doubt()).await {
                Ok(()) => return Ok(()),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    async fn try_replace(
        &self,
        user: &str,
        before: &Item,
        now: &Item,
        in_doubt: bool,
    ) -> Result<(), StoreError> {
        let keys = ThreadKeys::new(user, &before.thread_id);
        let place = keys.position(&before.id);
        let (_, position) =
            futures_util::try_join!(self.counter(&keys), self.read::<PositionRecord>(&place))?;
        let (position, _) = position.ok_or(StoreError::ItemNotFound)?;
        let key = keys.item_at(position.at);
        let entry = self.storage.get(&key).await?;
        let entry = entry.ok_or(StoreError::ItemNotFound)?;
        let there = record::read_item(&entry.value)?;
        if in_doubt && there == *now {
            return Ok(());
        }
        if there != *before {
            return Err(StoreError::ItemChanged);
        }
        let batch = Batch::new()
            .expect_present(keys.counter())
            .expect_version(&key, entry.version)
            .put(&key, record::write_item(now));
        Ok(self
            .commit_noted(batch, user, &before.thread_id, false)
            .await?)
    }

    pub(super) async fn item(
        &self,
        user: &str,
        thread: &ThreadId,
        item: &ItemId,
    ) -> Result<Item, StoreError> {
        let keys = ThreadKeys::new(user, thread);
        let place = keys.position(item);
        let (_, position) =
            futures_util::try_join!(self.counter(&keys), self.read::<PositionRecord>(&place))?;
        let (position, _) = position.ok_or(StoreError::ItemNotFound)?;
        let entry = self.storage.get(keys.item_at(position.at)).await?;
        record::read_item(&entry.ok_or(StoreError::ItemNotFound)?.value)
    }

    pub(super) async fn items(
        &self,
        user: &str,
        thread: &ThreadId,
        scan: Scan<ItemId>,
    ) -> Result<Page<Item>, StoreError> {
        let keys = ThreadKeys::new(user, thread);
        let after = match &scan.after {
            None => None,
            Some(id) => {
                let place = keys.position(id);
                let (_, position) = futures_util::try_join!(
                    self.counter(&keys),
                    self.read::<PositionRecord>(&place)
                )?;
                let (position, _) = position.ok_or(StoreError::UnknownCursor)?;
                Some(keys.item_at(position.at))
            }
        };
        let prefix = keys.items();
        let (_, found) = futures_util::try_join!(
            self.counter(&keys),
            self.range(&prefix, scan.order, after, scan.limit + 1)
        )?;
        let found = found.iter().map(|entry| record::read_item(&entry.value));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of_scan(found, scan.limit, |item| item.id.to_string()))
    }

    pub(super) async fn delete_item(
        &self,
        user: &str,
        thread: &ThreadId,
        item: &ItemId,
    ) -> Result<(), StoreError> {
        let keys = ThreadKeys::new(user, thread);
        let mut tries = Tries::new();
        loop {
            match self.try_delete(user, thread, &keys, item).await {
                Ok(()) => return Ok(()),
                Err(StoreError::ItemNotFound) if tries.in_doubt() => return Ok(()),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    async fn try_delete(
        &self,
        user: &str,
        thread: &ThreadId,
        keys: &ThreadKeys,
        item: &ItemId,
    ) -> Result<(), StoreError> {
        let place = keys.position(item);
        let (_, position) =
            futures_util::try_join!(self.counter(keys), self.read::<PositionRecord>(&place))?;
        let (position, entry) = position.ok_or(StoreError::ItemNotFound)?;
        let batch = Batch::new()
            .expect_present(keys.counter())
            .expect_version(&place, entry.version);
        let batch = delete(batch, keys, keys.item_at(position.at), item);
        Ok(self.commit_noted(batch, user, thread, false).await?)
    }

    pub(super) async fn delete_items_after(
        &self,
        user: &str,
        thread: &ThreadId,
        item: &ItemId,
    ) -> Result<(), StoreError> {
        let keys = ThreadKeys::new(user, thread);
        let mut tries = Tries::new();
        loop {
            match self.try_delete_after(user, thread, &keys, item).await {
                Ok(deleted) if deleted < DELETED_AT_ONCE => return Ok(()),
                Ok(_) => {}
                Err(error) => tries.again(error).await?,
            }
        }
    }

    /// The newest of them, and how many they were.
    async fn try_delete_after(
        &self,
        user: &str,
        thread: &ThreadId,
        keys: &ThreadKeys,
        item: &ItemId,
    ) -> Result<usize, StoreError> {
        let place = keys.position(item);
        let ((_, counter), position) =
            futures_util::try_join!(self.counter(keys), self.read::<PositionRecord>(&place))?;
        let (position, anchor) = position.ok_or(StoreError::ItemNotFound)?;
        let last_kept = keys.item_at(position.at);
        let newest = self
            .range(&keys.items(), Order::Desc, None, DELETED_AT_ONCE)
            .await?;
        let behind = newest.iter().take_while(|entry| entry.key > last_kept);
        // With the counter as it was, nothing was added since it was read.
        let mut batch = Batch::new()
            .expect_version(keys.counter(), counter.version)
            .expect_version(&place, anchor.version);
        let mut deleted = 0;
        for entry in behind {
            let item = record::read_item(&entry.value)?;
            batch = delete(batch, keys, &entry.key, &item.id);
            deleted += 1;
        }
        if deleted > 0 {
            self.commit_noted(batch, user, thread, false).await?;
        }
        Ok(deleted)
    }

    pub(super) async fn add_feedback(
        &self,
        user: &str,
        thread: &ThreadId,
        items: &[ItemId],
        kind: FeedbackKind,
    ) -> Result<(), StoreError> {
        let keys = ThreadKeys::new(user, thread);
        let mut items: Vec<_> = items.iter().collect();
        items.sort_unstable();
        items.dedup();
        if items.len() > FEEDBACK_ITEMS_MAX {
            return Err(StoreError::TooLarge(format!(
                "feedback on {} items, and {FEEDBACK_ITEMS_MAX} are allowed at once",
                items.len()
            )));
        }
        let v = record::SCHEMA;
        let json = record::write(&FeedbackRecord { v, kind });
        let mut tries = Tries::new();
        loop {
            // The thread first, so that a thread that is gone is not taken for an item that is.
            let mut batch = Batch::new().expect_present(keys.counter());
            for item in &items {
                batch = batch
                    .expect_present(keys.position(item))
                    .put(keys.feedback(item), json.clone());
            }
            match self.storage.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(StorageError::Conflict { key, .. }) if key == keys.counter() => {
                    return Err(StoreError::ThreadNotFound);
                }
                Err(StorageError::Conflict { .. }) => return Err(StoreError::ItemNotFound),
                Err(error) => tries.again(error.into()).await?,
            }
        }
    }

    #[cfg(test)]
    pub(super) async fn feedback(
        &self,
        user: &str,
        thread: &ThreadId,
        item: &ItemId,
    ) -> Result<Option<FeedbackKind>, StoreError> {
        let keys = ThreadKeys::new(user, thread);
        let (place, feedback) = (keys.position(item), keys.feedback(item));
        let (_, position, feedback) = futures_util::try_join!(
            self.counter(&keys),
            self.read::<PositionRecord>(&place),
            self.read::<FeedbackRecord>(&feedback)
        )?;
        position.ok_or(StoreError::ItemNotFound)?;
        Ok(feedback.map(|(feedback, _)| feedback.kind))
    }

    async fn counter(&self, keys: &ThreadKeys) -> Result<(CounterRecord, Entry), StoreError> {
        let counter = self.read(&keys.counter()).await?;
        counter.ok_or(StoreError::ThreadNotFound)
    }
}

fn delete(batch: Batch, keys: &ThreadKeys, place: impl AsRef<[u8]>, item: &ItemId) -> Batch {
    batch
        .delete(place)
        .delete(keys.position(item))
        .delete(keys.feedback(item))
}
