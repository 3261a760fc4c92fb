//! Storage that is kept in memory, for unit tests: with the limits, errors and versions that the module store has.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::watch;

use super::operations::Expectation;
use super::{Batch, Entry, Page, Scan, StorageError, Usage, Version};

const KEY_BYTES_MAX: usize = 1024;
const VALUE_BYTES_MAX: usize = 1 << 20;
const BATCH_OPERATIONS_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 4 << 20;
const PAGE_ENTRIES_MAX: usize = 1_000;
const PAGE_BYTES_MAX: usize = 1 << 20;

pub(super) struct Memory {
    quota_bytes: u64,
    kept: Mutex<Kept>,
    version: watch::Sender<Version>,
}

#[derive(Default)]
struct Kept {
    entries: BTreeMap<Bytes, (Version, Bytes)>,
    bytes: u64,
    version: Version,
}

impl Memory {
    pub(super) fn new(quota_bytes: u64) -> Memory {
        Memory {
            quota_bytes,
            kept: Mutex::default(),
            version: watch::Sender::new(Version(0)),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Entry>, StorageError> {
        check_key(key)?;
        let kept = self.kept();
        Ok(kept
            .entries
            .get_key_value(key)
            .map(|(key, (version, value))| Entry {
                key: key.clone(),
                version: *version,
                value: value.clone(),
            }))
    }

    pub(super) fn scan(&self, scan: &Scan) -> Result<Page, StorageError> {
        if scan.limit == 0 || scan.limit > PAGE_ENTRIES_MAX {
            return Err(invalid(format!(
                "a page has 1 to {PAGE_ENTRIES_MAX} entries, and {} were asked for",
                scan.limit
            )));
        }
        let mut from = Bound::Included(scan.from.clone());
        let mut to = scan.to.clone().map_or(Bound::Unbounded, Bound::Excluded);
        if let Some(after) = &scan.after {
            check_key(after)?;
            if scan.reverse && scan.to.as_ref().is_none_or(|to| after < to) {
                to = Bound::Excluded(after.clone());
            } else if !scan.reverse && *after >= scan.from {
                from = Bound::Excluded(after.clone());
            }
        }
        if let (Bound::Included(low) | Bound::Excluded(low), Bound::Excluded(high)) = (&from, &to)
            && low >= high
        {
            return Ok(Page::default());
        }
        let kept = self.kept();
        let range = kept.entries.range((from, to));
        Ok(if scan.reverse {
            page(range.rev(), scan)
        } else {
            page(range, scan)
        })
    }

    pub(super) fn commit(&self, batch: Batch) -> Result<Version, StorageError> {
        check(&batch)?;
        let mut kept = self.kept();
        let version = kept.commit(batch, self.quota_bytes)?;
        // Under the lock, so that versions are told in order.
        self.version.send_replace(version);
        Ok(version)
    }

    pub(super) async fn watch(&self, seen: Version) -> Result<Version, StorageError> {
        let mut told = self.version.subscribe();
        let version = told.wait_for(|version| *version != seen).await;
        Ok(*version.expect("the sender is in self"))
    }

    pub(super) fn usage(&self) -> Usage {
        let kept = self.kept();
        Usage {
            entries: kept.entries.len() as u64,
            bytes: kept.bytes,
            quota_bytes: self.quota_bytes,
            version: kept.version,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no code panics under this lock")
    }
}

impl Kept {
    fn commit(&mut self, batch: Batch, quota_bytes: u64) -> Result<Version, StorageError> {
        for (key, expectation) in batch.expect {
            let found = self.entries.get(&key);
            let holds = match (&expectation, found) {
                (Expectation::Absent, found) => found.is_none(),
                (_, None) => false,
                (Expectation::Present, Some(_)) => true,
                (Expectation::Version(expected), Some((version, _))) => expected == version,
                (Expectation::Value(expected), Some((_, value))) => expected == value,
            };
            if !holds {
                let found = found.map(|(version, _)| *version);
                return Err(StorageError::Conflict { key, found });
            }
        }
        if batch.write.is_empty() {
            return Ok(self.version);
        }
        let mut bytes = self.bytes;
        for (key, value) in &batch.write {
            if let Some((_, value)) = self.entries.get(key) {
                bytes -= (key.len() + value.len()) as u64;
            }
            if let Some(value) = value {
                bytes += (key.len() + value.len()) as u64;
            }
        }
        if bytes > quota_bytes && bytes > self.bytes {
            return Err(StorageError::Quota(format!(
                "the module would keep {bytes} bytes, and its quota is {quota_bytes}: delete what is not needed"
            )));
        }
        self.bytes = bytes;
        self.version.0 += 1;
        for (key, value) in batch.write {
            match value {
                Some(value) => self.entries.insert(key, (self.version, value)),
                None => self.entries.remove(&key),
            };
        }
        Ok(self.version)
    }
}

fn page<'a>(range: impl Iterator<Item = (&'a Bytes, &'a (Version, Bytes))>, scan: &Scan) -> Page {
    let (mut page, mut bytes) = (Page::default(), 0);
    for (key, (version, value)) in range {
        let value = if scan.keys_only {
            Bytes::new()
        } else {
            value.clone()
        };
        bytes += key.len() + value.len();
        let full = page.entries.len() == scan.limit || bytes > PAGE_BYTES_MAX;
        if full && !page.entries.is_empty() {
            page.more = true;
            break;
        }
        page.entries.push(Entry {
            key: key.clone(),
            version: *version,
            value,
        });
    }
    page
}

fn check(batch: &Batch) -> Result<(), StorageError> {
    if batch.len() > BATCH_OPERATIONS_MAX {
        return Err(invalid(format!(
            "the batch has {} operations, and {BATCH_OPERATIONS_MAX} are allowed: commit it in parts",
            batch.len()
        )));
    }
    let expected = batch
        .expect
        .iter()
        .map(|(key, expectation)| match expectation {
            Expectation::Value(value) => (key, value.len()),
            _ => (key, 0),
        });
    let written = batch.write.iter();
    let written = written.map(|(key, value)| (key, value.as_ref().map_or(0, Bytes::len)));
    let mut bytes = 0;
    for (key, value_len) in expected.chain(written) {
        check_key(key)?;
        if value_len > VALUE_BYTES_MAX {
            return Err(invalid(format!(
                "a value has {value_len} bytes, and {VALUE_BYTES_MAX} are allowed: split it over several keys"
            )));
        }
        bytes += key.len() + value_len;
    }
    if bytes > BATCH_BYTES_MAX {
        return Err(invalid(format!(
            "the batch has {bytes} bytes, and {BATCH_BYTES_MAX} are allowed: commit it in parts"
        )));
    }
    let mut keys = HashSet::new();
    if let Some((twice, _)) = batch.write.iter().find(|(key, _)| !keys.insert(key)) {
        return Err(invalid(format!(
            "the batch writes \"{}\" twice: keep the last of the two",
            twice.escape_ascii()
        )));
    }
    Ok(())
}

fn check_key(key: &[u8]) -> Result<(), StorageError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(invalid(format!(
            "a key has 1 to {KEY_BYTES_MAX} bytes, and this one has {}",
            key.len()
        )));
    }
    Ok(())
}

fn invalid(detail: String) -> StorageError {
    StorageError::Invalid(detail)
}
