//! Durable ordered keys, a namespace for each module: what the module store and its command stand on.
//!
//! [`Backend`] is what a store does, and all that the module's routes know of it: [`sqlite`] keeps the keys in a file that the
//! kernels of several windows share, [`memory`] keeps them nowhere, and one over a network could stand in for either. Nothing
//! here knows HTTP, the kernel or the SDK.

mod batch;
mod error;
pub mod limits;
pub mod memory;
mod scan;
pub mod sqlite;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

pub use batch::{Batch, Expectation, Write};
pub use error::{StoreError, written_key};
pub use memory::Memory;
pub use scan::{Page, Scan};
pub use sqlite::Sqlite;

/// What an operation comes to.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Counts what was committed to one module's keys: it grows with every commit that writes, and an entry has that of the
/// commit that wrote it, so that no two states of a key have the same one, not even with a deletion between them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A key with what is kept under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Bytes,
    pub version: Version,
    /// Empty in an answer to a scan of keys only.
    pub value: Bytes,
}

/// What a module keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub entries: u64,
    /// Of keys and values together.
    pub bytes: u64,
    pub quota_bytes: u64,
    /// Of its last commit.
    pub version: Version,
}

/// A store of ordered keys. No module sees another's.
///
/// Every operation is atomic, and every one sees what was acknowledged before it began, in whichever process. An
/// operation whose future is dropped may be carried out or not.
pub trait Backend: Send + Sync {
    fn get<'a>(&'a self, module: &'a str, key: Bytes) -> Answer<'a, Option<Entry>>;

    /// One page, in the order of the keys' bytes. Each page is of one moment; two pages need not be of the same.
    fn scan<'a>(&'a self, module: &'a str, scan: Scan) -> Answer<'a, Page>;

    /// Carries out the whole batch, or nothing of it when an expectation does not hold. The answer comes when the
    /// outcome lasts, and is the version that what was written has.
    fn commit<'a>(&'a self, module: &'a str, batch: Batch) -> Answer<'a, Version>;

    fn usage<'a>(&'a self, module: &'a str) -> Answer<'a, Usage>;

    /// Waits until the module's version is another than `seen`, whoever committed, and answers it.
    fn changed<'a>(&'a self, module: &'a str, seen: Version) -> Answer<'a, Version>;
}
