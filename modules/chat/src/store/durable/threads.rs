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
        let mut page = Page::of_scan(found, scan.limit, |_| String::new()).map(|entry| {
            let thread = record::read_thread(&entry.value);
            // One that cannot be read must not hide all the others.
            thread
                .inspect_err(
                    |error| tracing::warn!(%error, "a thread is left out of its user's list"),
                )
                .ok()
        });
        // The cursor is the last thread of the page that can be read.
        let last = page.data.iter().rev().flatten().next();
        page.after = last
            .filter(|_| page.has_more)
            .map(|last| last.id.to_string());
        Ok(Page {
            data: page.data.into_iter().flatten().collect(),
            has_more: page.has_more,
            after: page.after,
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
            let entry = self.thread_entry(&keys).await?;
            let before = record::read_thread(&entry.value)?;
            let mut after = before.clone();
            change(&mut after);
            (after.id, after.created_at) = (before.id.clone(), before.created_at);
            if after == before {
                return Ok(after);
            }
            let json = record::rewrite_thread(&entry.value, &before, &after)?;
            let batch = Batch::new()
                .expect_version(keys.metadata(), entry.version)
                .put(keys.metadata(), json.clone())
                .put(keys::listed(user, before.created_at, thread), json);
            match self.commit_noted(batch, user, thread, false).await {
                Ok(()) => return Ok(after),
                Err(error) => tries.again(error.into()).await?,
            }
        }
    }
}
