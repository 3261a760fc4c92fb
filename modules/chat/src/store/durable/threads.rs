//! Threads: their metadata stands by itself and in the list, and both are written at once.

use midplane_sdk::storage::{Batch, Entry, StorageError};

use super::Durable;
use super::keys::{self, ThreadKeys};
use super::record::{self, CounterRecord};
use super::tries::Tries;
use crate::protocol::id::ThreadId;
use crate::protocol::page::{Page, Scan};
use crate::protocol::thread::ThreadMetadata;
use crate::store::{StoreError, ThreadChange};

impl Durable {
    pub(super) async fn add_thread(
        &self,
        user: &str,
        thread: ThreadMetadata,
    ) -> Result<(), StoreError> {
        let keys = ThreadKeys::new(user, &thread.id);
        let mut tries = Tries::new();
        loop {
            let counter = CounterRecord {
                v: record::SCHEMA,
                next: 0,
            };
            let batch = Batch::new()
                .expect_absent(keys.metadata())
                .expect_absent(keys.tombstone())
                .put(keys.metadata(), record::write_thread(&thread))
                .put(
                    keys::listed(user, thread.created_at, &thread.id),
                    record::write_thread(&thread),
                )
                .put(keys.counter(), record::write(&counter));
            let error = match self.commit_noted(batch, user, &thread.id, false).await {
                Ok(()) => return Ok(()),
                Err(StorageError::Conflict { key, .. }) if key == keys.metadata() => return Ok(()),
                Err(StorageError::Conflict { key, .. }) if key == keys.tombstone() => {
                    // One of this name was deleted, and its items are not all gone: they must not become this one's.
                    self.sweep(&keys)
                        .await
                        .err()
                        .unwrap_or(StoreError::Contended)
                }
                Err(error) => error.into(),
            };
            tries.again(error).await?;
        }
    }

    pub(super) async fn thread(
        &self,
        user: &str,
        thread: &ThreadId,
    ) -> Result<ThreadMetadata, StoreError> {
        let entry = self.thread_entry(&ThreadKeys::new(user, thread)).await?;
        record::read_thread(&entry.value)
    }

    pub(super) async fn thread_entry(&self, keys: &ThreadKeys) -> Result<Entry, StoreError> {
        let entry = self.storage.get(keys.metadata()).await?;
        entry.ok_or(StoreError::ThreadNotFound)
    }

    pub(super) async fn threads(
        &self,
        user: &str,
        scan: Scan<ThreadId>,
    ) -> Result<Page<ThreadMetadata>, StoreError> {
        let after = match &scan.after {
            None => None,
            Some(id) => match self.thread(user, id).await {
                Ok(thread) => Some(keys::listed(user, thread.created_at, id)),
                Err(StoreError::ThreadNotFound) => return Err(StoreError::UnknownCursor),
                Err(error) => return Err(error),
            },
        };
        let found = self
            .range(&keys::listed_by(user), scan.order, after, scan.limit + 1)
            .await?;
        let has_more = found.len() > scan.limit;
        let of_page = found.iter().take(scan.limit);
        let readable = of_page.filter_map(|entry| {
            // One that cannot be read must not hide all the others.
            record::read_thread(&entry.value)
                .inspect_err(
                    |error| tracing::warn!(%error, "a thread is left out of its user's list"),
                )
                .ok()
        });
        let data: Vec<ThreadMetadata> = readable.collect();
        let after = data
            .last()
            .filter(|_| has_more)
            .map(|last| last.id.to_string());
        Ok(Page {
            data,
            has_more: after.is_some(),
            after,
        })
    }

    pub(super) async fn update_thread(
        &self,
        user: &str,
        thread: &ThreadId,
        change: ThreadChange<'_>,
    ) -> Result<ThreadMetadata, StoreError> {
        let keys = ThreadKeys::new(user, thread);
        let mut tries = Tries::new();
        loop {
            match self.try_update(user, &keys, change).await {
                Ok(after) => return Ok(after),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    async fn try_update(
        &self,
        user: &str,
        keys: &ThreadKeys,
        change: ThreadChange<'_>,
    ) -> Result<ThreadMetadata, StoreError> {
        let entry = self.thread_entry(keys).await?;
        let before = record::read_thread(&entry.value)?;
        let mut after = before.clone();
        change(&mut after);
        (after.id, after.created_at) = (before.id.clone(), before.created_at);
        if after == before {
            return Ok(after);
        }
        let json = record::rewrite_thread(&entry.value, &before, &after)?;
        let listed = keys::listed(user, after.created_at, &after.id);
        let batch = Batch::new()
            .expect_version(keys.metadata(), entry.version)
            .put(keys.metadata(), json.clone())
            .put(listed, json);
        self.commit_noted(batch, user, &after.id, false).await?;
        Ok(after)
    }
}
