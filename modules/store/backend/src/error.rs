//! What an operation of a store fails with: each kind by itself where the caller or the operator can do something about it.

use std::path::PathBuf;

use bytes::Bytes;

use crate::Version;
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, BUSY_WAIT, KEY_BYTES_MAX, PAGE_ENTRIES_MAX,
    VALUE_BYTES_MAX,
};

/// How much of a key is shown to a person.
const SHOWN_KEY_BYTES: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes, and this one has {len}")]
    KeyLength { len: usize },
    #[error(
        "the value for {} has {len} bytes, and {VALUE_BYTES_MAX} are allowed: split it over several keys",
        written_key(.key)
    )]
    ValueTooLarge { key: Bytes, len: usize },
    #[error(
        "the batch has {operations} operations, and {BATCH_OPERATIONS_MAX} are allowed: commit it in parts"
    )]
    BatchTooLong { operations: usize },
    #[error("the batch has {bytes} bytes, and {BATCH_BYTES_MAX} are allowed: commit it in parts")]
    BatchTooLarge { bytes: usize },
    #[error("the batch writes {} twice: keep the last of the two", written_key(.key))]
    WrittenTwice { key: Bytes },
    #[error("a page has 1 to {PAGE_ENTRIES_MAX} entries, and {limit} were asked for")]
    PageLimit { limit: usize },
    /// Nothing of the batch was carried out.
    #[error(
        "{} is not as expected ({}): read it again, and commit what follows from that",
        written_key(.key),
        as_found(*.found)
    )]
    Conflict { key: Bytes, found: Option<Version> },
    #[error(
        "the module {module} would keep {wanted_bytes} bytes, and its quota is {quota_bytes}: delete what is not needed, or raise `quota` in [modules.store.config]"
    )]
    Quota {
        module: String,
        wanted_bytes: u64,
        quota_bytes: u64,
    },
    #[error("the disk that {} is on is full: make room there", path.display())]
    DiskFull { path: PathBuf },
    #[error(
        "the user's disk quota where {} is, is used up: make room there, or have it raised",
        path.display()
    )]
    DiskQuota { path: PathBuf },
    #[error(
        "another process has been writing to {} for {} s: try again; `midplane store stats` says who has it open",
        path.display(),
        BUSY_WAIT.as_secs()
    )]
    Busy { path: PathBuf },
    #[error("too much waits to be carried out: try again in a moment")]
    Overloaded,
    #[error("the store is being reloaded or shut down: try again in a moment")]
    Closing,
    #[error(
        "{} is damaged ({detail}): see what `midplane store check` says, and put back a backup",
        path.display()
    )]
    Damaged { path: PathBuf, detail: String },
    #[error("cannot {doing} {}: {detail}", path.display())]
    Database {
        doing: &'static str,
        path: PathBuf,
        detail: String,
    },
}

/// A key as a person reads it: what is not printable is escaped, and what is long is cut.
pub fn written_key(key: &[u8]) -> String {
    let shown = &key[..key.len().min(SHOWN_KEY_BYTES)];
    let cut = if shown.len() < key.len() { "…" } else { "" };
    format!("\"{}{cut}\"", shown.escape_ascii())
}

fn as_found(version: Option<Version>) -> String {
    match version {
        Some(Version(version)) => format!("it is there, with version {version}"),
        None => "it is not there".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_sentence_that_says_what_to_do() {
        for (error, expect) in [
            (
                StoreError::KeyLength { len: 0 },
                "a key has 1 to 1024 bytes, and this one has 0",
            ),
            (
                StoreError::Conflict {
                    key: Bytes::from_static(b"a\"\n\xff"),
                    found: Some(Version(7)),
                },
                r#""a\"\n\xff" is not as expected (it is there, with version 7): read it again, and commit what follows from that"#,
            ),
            (
                StoreError::WrittenTwice {
                    key: Bytes::from(vec![b'k'; 65]),
                },
                &format!(
                    "the batch writes \"{}…\" twice: keep the last of the two",
                    "k".repeat(64)
                ),
            ),
            (
                StoreError::Busy { path: "/s".into() },
                "another process has been writing to /s for 5 s: try again; `midplane store stats` says who has it open",
            ),
        ] {
            assert_eq!(error.to_string(), expect);
        }
    }
}
