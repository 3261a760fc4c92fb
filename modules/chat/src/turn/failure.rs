//! Why a turn ends early, as a client is told.

use crate::protocol::event::{ErrorCode, StreamError};
use crate::provider::ProviderError;
use crate::store::StoreError;

/// In words fit for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    code: ErrorCode,
    message: String,
    allow_retry: bool,
}

impl Failure {
    /// All that can be done is to try again.
    pub(crate) fn passing(message: impl Into<String>) -> Failure {
        Failure {
            code: ErrorCode::StreamError,
            message: message.into(),
            allow_retry: true,
        }
    }

    /// The message says what is to be mended before.
    pub(crate) fn to_mend(message: impl Into<String>, allow_retry: bool) -> Failure {
        Failure {
            code: ErrorCode::Custom,
            message: message.into(),
            allow_retry,
        }
    }

    /// Neither trying again nor anything the user can do helps.
    pub(crate) fn unmendable(message: impl Into<String>) -> Failure {
        Failure {
            code: ErrorCode::StreamError,
            message: message.into(),
            allow_retry: false,
        }
    }

    pub(super) fn drained() -> Failure {
        Failure::passing("The chat module is being replaced or stopped: try again.")
    }

    pub(super) fn not_kept(error: &StoreError) -> Failure {
        Failure::to_mend(format!("The answer could not be kept: {error}."), false)
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Failure {
        let message = error.to_string();
        match error {
            ProviderError::Unavailable(_)
            | ProviderError::Silent(_)
            | ProviderError::BrokenOff
            | ProviderError::Failed
            | ProviderError::ToolCall
            | ProviderError::Empty => Failure::passing(message),
            other => Failure::to_mend(message, other.allow_retry()),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Failure> for StreamError {
    fn from(failure: Failure) -> StreamError {
        StreamError {
            code: failure.code,
            message: Some(failure.message),
            allow_retry: failure.allow_retry,
        }
    }
}

/// An error's message, which begins small and ends without a full stop, as a sentence of its own.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}
