//! What an operation of a store fails with, each in a sentence that says what to do.

use http::StatusCode;
use midplane_sdk::Problem;
use midplane_sdk::storage::StorageError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("no such thread: it was deleted, or belongs to another user")]
    ThreadNotFound,
    #[error("no such item in this thread")]
    ItemNotFound,
    /// Another window was faster.
    #[error("this item was changed meanwhile: look at it anew")]
    ItemChanged,
    #[error("no such attachment: it was deleted, or belongs to another user")]
    AttachmentNotFound,
    #[error("`after` names nothing in this list: start again without it")]
    UnknownCursor,
    /// Of a store in memory.
    #[error("the store holds {max} {what} already: delete threads that are not needed")]
    Full { what: &'static str, max: usize },
    /// Of a store on disk.
    #[error("nothing more can be kept: {0}; what is kept stays, and threads can be deleted")]
    NoRoom(String),
    #[error("this is too large to be kept: {0}")]
    TooLarge(String),
    #[error("too many windows write into this thread at once: try again")]
    Contended,
    /// For now.
    #[error("the module store cannot answer now: {0}; try again")]
    Unavailable(String),
    /// Until the operator does something.
    #[error(
        "the module store cannot be reached: {0}; load it, and grant `call:store` to this module"
    )]
    Unreachable(String),
    /// By a version that wrote it in another form.
    #[error(
        "this record has schema {schema}, and this version of the module reads up to {known}: load a newer one"
    )]
    Newer { schema: u32, known: u32 },
    #[error("the module store failed: {0}")]
    Failed(String),
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> StoreError {
        match error {
            StorageError::Conflict { .. } => StoreError::Contended,
            StorageError::Quota(detail) | StorageError::Full(detail) => StoreError::NoRoom(detail),
            StorageError::Invalid(detail) => StoreError::TooLarge(detail),
            StorageError::Unavailable(detail) => StoreError::Unavailable(detail),
            StorageError::Unreachable(detail) => StoreError::Unreachable(detail),
            other => StoreError::Failed(other.to_string()),
        }
    }
}

impl StoreError {
    /// As a client is told.
    pub(crate) fn problem(&self) -> Problem {
        let (status, code) = match self {
            StoreError::ThreadNotFound => (StatusCode::NOT_FOUND, "thread_not_found"),
            StoreError::ItemNotFound => (StatusCode::NOT_FOUND, "item_not_found"),
            StoreError::AttachmentNotFound => (StatusCode::NOT_FOUND, "attachment_not_found"),
            StoreError::ItemChanged => (StatusCode::CONFLICT, "conflict"),
            StoreError::UnknownCursor => (StatusCode::BAD_REQUEST, "invalid_request"),
            StoreError::Full { .. } | StoreError::NoRoom(_) => {
                (StatusCode::INSUFFICIENT_STORAGE, "store_full")
            }
            StoreError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            StoreError::Contended | StoreError::Unavailable(_) | StoreError::Unreachable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
            }
            StoreError::Newer { .. } | StoreError::Failed(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "store_failed")
            }
        };
        Problem::new(status, code, self.to_string())
    }
}
