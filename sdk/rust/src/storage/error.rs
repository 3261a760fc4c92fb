//! What an operation on a module's storage fails with.

use bytes::Bytes;

use super::Version;

/// The text in each is a sentence for a person, and says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageError {
    /// An expectation of the batch does not hold, and nothing of it was carried out: read `key` again, and commit what follows
    /// from that.
    Conflict {
        key: Bytes,
        /// The version that the key has; nothing if it is not there.
        found: Option<Version>,
    },
    /// The module would keep more than its quota.
    Quota(String),
    /// The disk is full, or the user's quota on it used up.
    Full(String),
    /// A limit of one operation is exceeded, by what this module asks for.
    Invalid(String),
    /// For now: the store is being reloaded or started again, is overloaded, or waits for another process. Trying again helps;
    /// if its process ended with a commit in it, that may have been carried out, and expectations tell.
    Unavailable(String),
    /// The store cannot be reached: it is not loaded, or the operator has not granted it.
    Unreachable(String),
    /// The store failed, or what it keeps is damaged.
    Failed(String),
}

impl std::fmt::Display for StorageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StorageError::Conflict { key, found } => {
                let key = key.escape_ascii();
                match found {
                    Some(Version(version)) => {
                        write!(f, "\"{key}\" is not as expected: it has version {version}")
                    }
                    None => write!(f, "\"{key}\" is not as expected: it is not there"),
                }
            }
            StorageError::Quota(detail)
            | StorageError::Full(detail)
            | StorageError::Invalid(detail)
            | StorageError::Unavailable(detail)
            | StorageError::Unreachable(detail)
            | StorageError::Failed(detail) => f.write_str(detail),
        }
    }
}

impl std::error::Error for StorageError {}

impl StorageError {
    /// Of the code that the store's problem has.
    pub(super) fn of_problem(code: &str, detail: String) -> StorageError {
        match code {
            "quota_exceeded" => StorageError::Quota(detail),
            "disk_full" | "disk_quota_exceeded" => StorageError::Full(detail),
            "key_length" | "value_too_large" | "batch_too_long" | "batch_too_large"
            | "written_twice" | "page_limit" | "malformed" => StorageError::Invalid(detail),
            "store_busy" | "store_overloaded" | "store_closing" | "module_overloaded"
            | "module_unavailable" | "module_restarting" | "module_crashed" | "draining"
            | "starting" | "request_timeout" => StorageError::Unavailable(detail),
            // The kernel's word, for what is more than the store reads.
            "body_too_large" => StorageError::Invalid(
                "the batch is larger than any that the store takes: commit it in parts".into(),
            ),
            "module_not_loaded" | "not_granted" | "modules_only" => {
                StorageError::Unreachable(detail)
            }
            _ => StorageError::Failed(detail),
        }
    }
}
