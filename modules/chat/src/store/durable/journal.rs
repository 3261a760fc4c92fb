//! Which threads changed lately, for whoever listens, in whichever kernel.
//!
//! The module store tells that something was committed, and an entry of it which commit wrote it. So each change of a thread
//! also writes `c/EPOCH/USER/THREAD`, in the same commit, and a listener that knows all up to one version reads those entries
//! that are younger. For that to be a short range, changes are noted in epochs: every change expects the epoch (`c`) to be
//! the one that it is noted in, so that whoever reads that the epoch is over knows that nothing will be noted in it any more.
//! A new one begins after [`CHANGES_PER_EPOCH`]; the one before it stays for listeners that are behind, and all others go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use midplane_sdk::storage::{Batch, Scan as Range, Storage, StorageError, Version};

use super::keys;
use super::record::{self, EpochRecord, ThreadName};
use crate::protocol::id::ThreadId;
use crate::store::{Change, Changes, Mark, StoreError};

/// By one writer. A listener reads an epoch's threads each time, so not too many; and all who write at the moment when an
/// epoch ends do so again, so not too few.
const CHANGES_PER_EPOCH: u32 = if cfg!(test) { 8 } else { 500 };
/// Below the 1,000 operations of a batch of the module store's.
const TRIMMED_AT_ONCE: usize = 900;

#[derive(Default)]
pub(super) struct Journal {
    /// What this generation knows; another kernel may have begun the next. `None`: look.
    current: Mutex<Option<Epoch>>,
    /// By this generation since it last began an epoch.
    noted: AtomicU32,
}

#[derive(Debug, Clone, Copy)]
struct Epoch {
    number: u64,
    /// Of the entry; `None` as long as the first one lasts, of which there is none.
    version: Option<Version>,
}

/// A batch that notes what it changes.
pub(super) struct Noted {
    pub(super) batch: Batch,
    /// The epoch that it begins.
    pub(super) advance: Option<u64>,
}

impl Journal {
    pub(super) async fn note(
        &self,
        storage: &Storage,
        batch: Batch,
        user: &str,
        thread: &ThreadId,
        is_deleted: bool,
    ) -> Result<Noted, StorageError> {
        let known = *self.current();
        let epoch = match known {
            Some(epoch) => epoch,
            None => {
                let epoch = look(storage).await?;
                *self.current() = Some(epoch);
                epoch
            }
        };
        let change = ThreadName {
            v: record::SCHEMA,
            user: user.to_owned(),
            thread: thread.clone(),
            deleted: is_deleted,
        };
        let batch = match epoch.version {
            Some(version) => batch.expect_version(keys::EPOCH, version),
            None => batch.expect_absent(keys::EPOCH),
        };
        let batch = batch.put(
            keys::change(epoch.number, user, thread),
            record::write(&change),
        );
        if self.noted.fetch_add(1, Ordering::Relaxed) < CHANGES_PER_EPOCH {
            let advance = None;
            return Ok(Noted { batch, advance });
        }
        self.noted.store(0, Ordering::Relaxed);
        let (v, number) = (record::SCHEMA, epoch.number + 1);
        Ok(Noted {
            batch: batch.put(keys::EPOCH, record::write(&EpochRecord { v, number })),
            advance: Some(number),
        })
    }

    /// Another writer has begun an epoch.
    pub(super) fn forget(&self) {
        *self.current() = None;
    }

    /// A commit has begun the epoch `number`.
    pub(super) async fn advanced(&self, storage: &Storage, number: u64, version: Version) {
        *self.current() = Some(Epoch {
            number,
            version: Some(version),
        });
        if let Err(error) = trim(storage, number - 1).await {
            tracing::info!(%error, "old notes of changes stay until the next epoch");
        }
    }

    /// See [`Store::changes`](crate::store::Store::changes).
    pub(super) async fn changes(
        &self,
        storage: &Storage,
        seen: Option<Mark>,
    ) -> Result<Changes, StoreError> {
        let Some(seen) = seen else {
            // In this order: what is committed behind that version is noted in this epoch or a later one.
            let epoch = look(storage).await?.number;
            let Version(version) = storage.usage().await?.version;
            let mark = Mark { version, epoch };
            return Ok(Changes {
                mark,
                changed: Vec::new(),
                missed: false,
            });
        };
        let Version(version) = storage.watch(Version(seen.version)).await?;
        // In this order: all up to that version is noted in this epoch or an earlier one, and none of the earlier ones gets more.
        let epoch = look(storage).await?.number;
        let mark = Mark { version, epoch };
        // It is another file, as after a backup was put back.
        let is_older = epoch < seen.epoch || version < seen.version;
        let mut changed = Vec::new();
        if !is_older && is_kept(seen.epoch, epoch) {
            changed = noted_since(storage, seen, epoch).await?;
        }
        // Epochs may have gone while they were read.
        let missed = is_older || !is_kept(seen.epoch, look(storage).await?.number);
        Ok(Changes {
            mark,
            changed,
            missed,
        })
    }

    fn current(&self) -> MutexGuard<'_, Option<Epoch>> {
        self.current.lock().expect("no code panics under this lock")
    }
}

/// Whether what was noted in `epoch` is there while `current` lasts.
fn is_kept(epoch: u64, current: u64) -> bool {
    current <= epoch + 1
}

async fn look(storage: &Storage) -> Result<Epoch, StorageError> {
    let Some(entry) = storage.get(keys::EPOCH).await? else {
        return Ok(Epoch {
            number: 0,
            version: None,
        });
    };
    let record: EpochRecord = record::read(&entry.value)
        .map_err(|error| StorageError::Failed(format!("the epoch of changes: {error}")))?;
    Ok(Epoch {
        number: record.number,
        version: Some(entry.version),
    })
}

async fn noted_since(storage: &Storage, seen: Mark, epoch: u64) -> Result<Vec<Change>, StoreError> {
    let mut range = Range::range(keys::epoch(seen.epoch), keys::epoch(epoch + 1));
    // Of a thread that stands in two epochs, the younger entry counts.
    let mut found: HashMap<(String, ThreadId), (Version, bool)> = HashMap::new();
    loop {
        let page = storage.scan(range.clone()).await?;
        for entry in &page.entries {
            if entry.version <= Version(seen.version) {
                continue;
            }
            let ThreadName {
                user,
                thread,
                deleted,
                ..
            } = record::read(&entry.value)?;
            let known = found.entry((user, thread)).or_default();
            *known = (*known).max((entry.version, deleted));
        }
        match page.entries.last() {
            Some(last) if page.more => range = range.after(&last.key),
            _ => break,
        }
    }
    let changed = found
        .into_iter()
        .map(|((user, thread), (_, is_deleted))| Change {
            user,
            thread,
            is_deleted,
        });
    Ok(changed.collect())
}

/// Deletes what was noted before the epoch `first_kept`.
async fn trim(storage: &Storage, first_kept: u64) -> Result<(), StorageError> {
    let range = Range::range(keys::epoch(0), keys::epoch(first_kept))
        .keys_only()
        .limit(TRIMMED_AT_ONCE);
    loop {
        let page = storage.scan(range.clone()).await?;
        if page.entries.is_empty() {
            return Ok(());
        }
        let batch = page
            .entries
            .iter()
            .fold(Batch::new(), |batch, entry| batch.delete(&entry.key));
        storage.commit(batch).await?;
        if !page.more {
            return Ok(());
        }
    }
}
