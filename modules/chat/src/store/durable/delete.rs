//! Deletes a thread: at once for whoever looks, and then what it leaves, which may be more than one commit takes.
//!
//! The first commit takes the thread away and puts a tombstone in its place. From then on nothing can be written into it
//! (see `items`), so that what is left only gets less. If it breaks off, the tombstone says what is left to do.

use midplane_sdk::storage::{Batch, Scan as Range, StorageError};

use super::Durable;
use super::keys::{self, ThreadKeys};
use super::record::{self, ThreadName};
use super::tries::Tries;
use crate::protocol::id::ThreadId;
use crate::protocol::page::Order;
use crate::store::StoreError;

/// With the tombstone, below the 1,000 operations of a batch of the module store's.
const SWEPT_AT_ONCE: usize = 900;
/// Of those that are looked up at once.
const TOMBSTONES_AT_ONCE: usize = 100;

impl Durable {
    pub(super) async fn delete_thread(
        &self,
        user: &str,
        thread: &ThreadId,
    ) -> Result<(), StoreError> {
        let keys = ThreadKeys::new(user, thread);
        let mut tries = Tries::new();
        loop {
            match self.try_take_away(user, thread, &keys).await {
                Ok(()) => break,
                Err(StoreError::ThreadNotFound) if tries.in_doubt() => break,
                Err(error) => tries.again(error).await?,
            }
        }
        if let Err(error) = self.sweep(&keys).await {
            tracing::info!(%error, "a deleted thread's items are deleted when the module starts again");
        }
        Ok(())
    }

    async fn try_take_away(
        &self,
        user: &str,
        thread: &ThreadId,
        keys: &ThreadKeys,
    ) -> Result<(), StoreError> {
        let entry = self.thread_entry(keys).await?;
        let metadata = record::read_thread(&entry.value)?;
        let tombstone = ThreadName {
            v: record::SCHEMA,
            user: user.to_owned(),
            thread: thread.clone(),
            deleted: false,
        };
        let batch = Batch::new()
            .expect_present(keys.metadata())
            .delete(keys.metadata())
            .delete(keys::listed(user, metadata.created_at, thread))
            .delete(keys.counter())
            .put(keys.tombstone(), record::write(&tombstone));
        Ok(self.commit_noted(batch, user, thread, true).await?)
    }

    /// Goes on with what was broken off. Another kernel may be at it, too.
    pub(crate) async fn resume_deletes(&self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let found = self
                .range(keys::TOMBSTONES, Order::Asc, after, TOMBSTONES_AT_ONCE)
                .await?;
            for entry in &found {
                let ThreadName { user, thread, .. } = record::read(&entry.value)?;
                self.sweep(&ThreadKeys::new(&user, &thread)).await?;
            }
            let Some(last) = found.last().filter(|_| found.len() == TOMBSTONES_AT_ONCE) else {
                return Ok(());
            };
            after = Some(String::from_utf8_lossy(&last.key).into_owned());
        }
    }

    /// Deletes what a thread left, and its tombstone with the last of it.
    pub(super) async fn sweep(&self, keys: &ThreadKeys) -> Result<(), StoreError> {
        let mut tries = Tries::new();
        loop {
            match self.sweep_some(keys).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // Somebody else has swept the last of it, and a new thread may have the name.
                Err(StorageError::Conflict { .. }) => return Ok(()),
                Err(error) => tries.again(error.into()).await?,
            }
        }
    }

    /// Whether that was all.
    async fn sweep_some(&self, keys: &ThreadKeys) -> Result<bool, StorageError> {
        let mut batch = Batch::new().expect_present(keys.tombstone());
        let mut room = SWEPT_AT_ONCE;
        let mut is_all = true;
        for prefix in [keys.items(), keys.positions(), keys.all_feedback()] {
            if room == 0 {
                is_all = false;
                break;
            }
            let range = Range::prefix(prefix).keys_only().limit(room);
            let page = self.storage.scan(range).await?;
            room -= page.entries.len();
            is_all &= !page.more;
            batch = page
                .entries
                .iter()
                .fold(batch, |batch, entry| batch.delete(&entry.key));
        }
        if is_all {
            batch = batch.delete(keys.tombstone());
        }
        self.storage.commit(batch).await?;
        Ok(is_all)
    }
}
