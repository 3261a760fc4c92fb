//! Durable ordered keys of a module's own, kept by the module store.
//!
//! Every generation of a module, and the same module in several kernels of one user, sees the same keys, so that a reload has
//! nothing to hand over. Keys are ordered by their bytes. A commit is carried out whole or not at all, and once it is
//! acknowledged it lasts.
//!
//! ```
//! use midplane_sdk::storage::{Batch, Scan, Storage, StorageError};
//!
//! /// Adds an item behind the thread's last, whoever else does so at the same time.
//! async fn append(storage: &Storage, thread: &str, item: &str) -> Result<(), StorageError> {
//!     let count_key = format!("thread/{thread}/count");
//!     loop {
//!         let count = storage.get(&count_key).await?;
//!         let (batch, number) = match &count {
//!             None => (Batch::new().expect_absent(&count_key), 0),
//!             Some(entry) => {
//!                 let number: u64 = String::from_utf8_lossy(&entry.value).parse().unwrap_or(0);
//!                 (Batch::new().expect_version(&count_key, entry.version), number)
//!             }
//!         };
//!         let batch = batch
//!             .put(&count_key, (number + 1).to_string())
//!             .put(format!("thread/{thread}/item/{number:010}"), item.to_owned());
//!         match storage.commit(batch).await {
//!             // Somebody was faster: look again.
//!             Err(StorageError::Conflict { .. }) => continue,
//!             outcome => return outcome.map(drop),
//!         }
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let storage = midplane_sdk::testing::storage(1 << 20);
//! append(&storage, "a", "hello").await?;
//! append(&storage, "a", "you").await?;
//! let latest = Scan::prefix("thread/a/item/").reverse().limit(1);
//! let page = storage.scan(latest).await?;
//! assert_eq!(page.entries[0].value, "you");
//! assert!(page.more);
//! # Ok::<(), StorageError>(())
//! # })?;
//! # Ok::<(), midplane_sdk::Error>(())
//! ```
//!
//! | limit | |
//! |---|---|
//! | key | 1 to 1,024 bytes |
//! | value | 1 MiB |
//! | batch | 1,000 operations, 4 MiB |
//! | page | 1,000 entries, 1 MiB |
//! | all of a module's keys and values | the operator's `quota` |
//! | operations of a module under way | 512, of which 64 are [`Storage::watch`] |
//!
//! What is beyond the first four is [`StorageError::Invalid`], and mended by asking for less at once; beyond the quota it is
//! [`StorageError::Quota`], and beyond the last [`StorageError::Unavailable`].

mod called;
mod error;
mod memory;
mod operations;
#[doc(hidden)]
pub mod wire;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;

use crate::calls::{CallError, Calls};

pub use error::StorageError;
use memory::Memory;
pub use operations::{Batch, Entry, Page, Scan, Usage, Version};

/// A module's durable keys; cheap to clone.
#[derive(Clone)]
pub struct Storage(Kept);

#[derive(Clone)]
enum Kept {
    Called(Arc<dyn Transport>),
    Here(Arc<Memory>),
}

/// How requests reach the module store.
pub trait Transport: Send + Sync {
    /// Sends a request to the store, on behalf of this module.
    fn call(&self, request: http::Request<Body>) -> Answering<'_>;
}

/// The answer of the store, to come.
pub type Answering<'a> =
    Pin<Box<dyn Future<Output = Result<http::Response<Body>, StorageError>> + Send + 'a>>;

/// The name under which the store is loaded.
const STORE: &str = "store";

impl Transport for Calls {
    fn call(&self, request: http::Request<Body>) -> Answering<'_> {
        Box::pin(async move { Ok(Calls::call(self, STORE, request).await?) })
    }
}

impl From<CallError> for StorageError {
    fn from(error: CallError) -> StorageError {
        let text = error.to_string();
        match error {
            CallError::NotGranted { .. } | CallError::NotLoaded { .. } | CallError::Unsupported => {
                StorageError::Unreachable(text)
            }
            CallError::TooMany | CallError::Over => StorageError::Unavailable(text),
            _ => StorageError::Failed(text),
        }
    }
}

impl Storage {
    /// Kept by the store that `transport` reaches.
    pub fn over(transport: impl Transport + 'static) -> Storage {
        Storage(Kept::Called(Arc::new(transport)))
    }

    pub(crate) fn in_memory(quota_bytes: u64) -> Storage {
        Storage(Kept::Here(Arc::new(Memory::new(quota_bytes))))
    }

    /// What is kept under `key`.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, StorageError> {
        match &self.0 {
            Kept::Called(transport) => called::get(&**transport, key.as_ref()).await,
            Kept::Here(memory) => memory.get(key.as_ref()),
        }
    }

    /// Keeps `value` under `key`, whatever was there.
    pub async fn put(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
    ) -> Result<Version, StorageError> {
        self.commit(Batch::new().put(key, value)).await
    }

    /// Deletes `key`, which need not be there.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Version, StorageError> {
        self.commit(Batch::new().delete(key)).await
    }

    /// One page of entries in the order of their keys. A page is of one moment; two of them need not be of the same.
    pub async fn scan(&self, scan: Scan) -> Result<Page, StorageError> {
        match &self.0 {
            Kept::Called(transport) => called::scan(&**transport, &scan).await,
            Kept::Here(memory) => memory.scan(&scan),
        }
    }

    /// Carries out the batch, or nothing of it if an expectation does not hold. Dropping the future leaves open whether it is
    /// carried out.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] when an expectation does not hold.
    pub async fn commit(&self, batch: Batch) -> Result<Version, StorageError> {
        match &self.0 {
            Kept::Called(transport) => called::commit(&**transport, &batch).await,
            Kept::Here(memory) => memory.commit(batch),
        }
    }

    /// Waits until something was committed since `seen`, in whichever generation or kernel, and answers the version that
    /// there is now. Cancel-safe.
    ///
    /// To follow keys: take the version from [`Storage::usage`], read, wait, and read again.
    pub async fn watch(&self, seen: Version) -> Result<Version, StorageError> {
        match &self.0 {
            Kept::Called(transport) => called::watch(&**transport, seen).await,
            Kept::Here(memory) => memory.watch(seen).await,
        }
    }

    /// How much the module keeps, and how much it may.
    pub async fn usage(&self) -> Result<Usage, StorageError> {
        match &self.0 {
            Kept::Called(transport) => called::usage(&**transport).await,
            Kept::Here(memory) => Ok(memory.usage()),
        }
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kept = match self.0 {
            Kept::Called(_) => "module store",
            Kept::Here(_) => "memory",
        };
        f.debug_tuple("Storage").field(&kept).finish()
    }
}
