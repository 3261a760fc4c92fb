//! What crosses, read and written: keys in paths and queries, batches and pages in bodies.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use midplane_sdk::storage::wire;
use midplane_store_backend::limits::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, PAGE_ENTRIES_MAX};
use midplane_store_backend::{Batch, Expectation, Page, Scan, Version, Write};
use serde::Deserialize;

use crate::problem::Refusal;

/// Lengths and kinds around an operation's key and value: two lengths of up to three bytes, and a kind.
const OPERATION_OVERHEAD_BYTES: usize = 16;

/// How much of what is no key is shown to a person.
const SHOWN_CHARS: usize = 64;

/// A batch of the largest size, written down.
pub(crate) const COMMIT_BYTES_MAX: usize =
    BATCH_BYTES_MAX + BATCH_OPERATIONS_MAX * OPERATION_OVERHEAD_BYTES;

/// The query of `GET /kv`: keys are in base64url.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ScanQuery {
    prefix: Option<String>,
    from: Option<String>,
    to: Option<String>,
    after: Option<String>,
    limit: usize,
    reverse: bool,
    keys_only: bool,
}

impl Default for ScanQuery {
    fn default() -> ScanQuery {
        ScanQuery {
            prefix: None,
            from: None,
            to: None,
            after: None,
            limit: PAGE_ENTRIES_MAX,
            reverse: false,
            keys_only: false,
        }
    }
}

impl ScanQuery {
    pub(crate) fn scan(self) -> Result<Scan, Refusal> {
        let key = |text: Option<String>| text.as_deref().map(key).transpose();
        let (from, to) = (key(self.from)?, key(self.to)?);
        let range = match key(self.prefix)? {
            Some(_) if from.is_some() || to.is_some() => {
                return Err(Refusal::malformed("give `prefix`, or `from` and `to`"));
            }
            Some(prefix) => Scan::prefix(&prefix),
            None => Scan {
                from: from.unwrap_or_default(),
                to,
                ..Scan::prefix(b"")
            },
        };
        Ok(Scan {
            after: key(self.after)?,
            reverse: self.reverse,
            limit: self.limit,
            keys_only: self.keys_only,
            ..range
        })
    }
}

pub(crate) fn key(text: &str) -> Result<Bytes, Refusal> {
    let key = BASE64_URL_SAFE_NO_PAD.decode(text);
    key.map(Bytes::from).map_err(|error| {
        let shown = text.chars().take(SHOWN_CHARS).collect::<String>();
        Refusal::malformed(format!(
            "{shown:?} is no base64url without padding: {error}"
        ))
    })
}

/// Keys and values are parts of `body`, not copies.
pub(crate) fn batch(body: &Bytes) -> Result<Batch, Refusal> {
    let read = postcard::from_bytes::<wire::Batch<'_>>(body)
        .map_err(|error| Refusal::malformed(format!("the batch cannot be read: {error}")))?;
    let part = |bytes: &serde_bytes::Bytes| body.slice_ref(bytes);
    let expect = read.expect.into_iter().map(|(key, expectation)| {
        let expectation = match expectation {
            wire::Expectation::Absent => Expectation::Absent,
            wire::Expectation::Present => Expectation::Present,
            wire::Expectation::Version(version) => Expectation::Version(Version(version)),
            wire::Expectation::Value(value) => Expectation::Value(part(value)),
        };
        (part(key), expectation)
    });
    let write = read.write.into_iter().map(|write| match write {
        wire::Write::Put(key, value) => Write::Put {
            key: part(key),
            value: part(value),
        },
        wire::Write::Delete(key) => Write::Delete { key: part(key) },
    });
    Ok(Batch {
        expect: expect.collect(),
        write: write.collect(),
    })
}

pub(crate) fn page(page: &Page) -> Vec<u8> {
    let entries = page.entries.iter().map(|entry| wire::Entry {
        key: serde_bytes::Bytes::new(&entry.key),
        version: entry.version.0,
        value: serde_bytes::Bytes::new(&entry.value),
    });
    let page = wire::Page {
        entries: entries.collect(),
        more: page.more,
    };
    postcard::to_stdvec(&page).expect("it is bytes and numbers only")
}
