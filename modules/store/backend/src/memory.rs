//! Keys in memory: for tests, and for whoever wants nothing kept.
//!
//! The same rules as in the file, told as simply as can be; the other backends are tested against it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::watch;

use crate::batch::check_key;
use crate::limits::PAGE_BYTES_MAX;
use crate::{Answer, Backend, Batch, Entry, Page, Scan, StoreError, Usage, Version, Write};

pub struct Memory {
    quota_bytes: u64,
    modules: Mutex<HashMap<String, Arc<Namespace>>>,
}

struct Namespace {
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
    pub fn new(quota_bytes: u64) -> Memory {
        Memory {
            quota_bytes,
            modules: Mutex::default(),
        }
    }

    fn namespace(&self, module: &str) -> Arc<Namespace> {
        let mut modules = self.modules.lock().expect("no code panics under this lock");
        if let Some(namespace) = modules.get(module) {
            return Arc::clone(namespace);
        }
        let namespace = Arc::new(Namespace {
            kept: Mutex::default(),
            version: watch::Sender::new(Version(0)),
        });
        modules.insert(module.to_owned(), Arc::clone(&namespace));
        namespace
    }
}

impl Namespace {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no code panics under this lock")
    }
}

impl Backend for Memory {
    fn get<'a>(&'a self, module: &'a str, key: Bytes) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            check_key(&key)?;
            let namespace = self.namespace(module);
            let kept = namespace.kept();
            Ok(kept.entries.get(&key).map(|(version, value)| Entry {
                key,
                version: *version,
                value: value.clone(),
            }))
        })
    }

    fn scan<'a>(&'a self, module: &'a str, scan: Scan) -> Answer<'a, Page> {
        Box::pin(async move {
            scan.check()?;
            Ok(self.namespace(module).kept().scan(&scan))
        })
    }

    fn commit<'a>(&'a self, module: &'a str, batch: Batch) -> Answer<'a, Version> {
        Box::pin(async move {
            batch.check()?;
            let namespace = self.namespace(module);
            let version = namespace.kept().commit(module, batch, self.quota_bytes)?;
            namespace.version.send_if_modified(|latest| {
                let newer = version > *latest;
                *latest = version.max(*latest);
                newer
            });
            Ok(version)
        })
    }

    fn usage<'a>(&'a self, module: &'a str) -> Answer<'a, Usage> {
        Box::pin(async move {
            let namespace = self.namespace(module);
            let kept = namespace.kept();
            Ok(Usage {
                entries: kept.entries.len() as u64,
                bytes: kept.bytes,
                quota_bytes: self.quota_bytes,
                version: kept.version,
            })
        })
    }

    fn changed<'a>(&'a self, module: &'a str, seen: Version) -> Answer<'a, Version> {
        Box::pin(async move {
            let mut version = self.namespace(module).version.subscribe();
            let changed = version.wait_for(|version| *version != seen).await;
            changed
                .map(|version| *version)
                .map_err(|_| StoreError::Closing)
        })
    }
}

impl Kept {
    fn scan(&self, scan: &Scan) -> Page {
        let (from, to) = scan.bounds();
        if to.as_ref().is_some_and(|to| *to <= from) {
            return Page::default();
        }
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.entries.range((Bound::Included(from), to));
        if scan.reverse {
            page(range.rev(), scan)
        } else {
            page(range, scan)
        }
    }

    fn commit(&mut self, module: &str, batch: Batch, quota: u64) -> Result<Version, StoreError> {
        for (key, expectation) in &batch.expect {
            let found = self.entries.get(key);
            if !expectation.holds(found.map(|(version, value)| (*version, &**value))) {
                return Err(StoreError::Conflict {
                    key: key.clone(),
                    found: found.map(|(version, _)| *version),
                });
            }
        }
        if batch.write.is_empty() {
            return Ok(self.version);
        }
        let mut bytes = self.bytes;
        for write in &batch.write {
            let key = write.key();
            if let Some((_, value)) = self.entries.get(key) {
                bytes -= (key.len() + value.len()) as u64;
            }
            if let Write::Put { value, .. } = write {
                bytes += (key.len() + value.len()) as u64;
            }
        }
        if bytes > quota && bytes > self.bytes {
            return Err(StoreError::Quota {
                module: module.to_owned(),
                wanted_bytes: bytes,
                quota_bytes: quota,
            });
        }
        self.bytes = bytes;
        self.version.0 += 1;
        for write in batch.write {
            match write {
                Write::Put { key, value } => self.entries.insert(key, (self.version, value)),
                Write::Delete { key } => self.entries.remove(&key),
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
