//! Why a request to the provider came to nothing.
//!
//! No variant holds what the provider, or whoever stands between, wrote: that may repeat the key, or the conversation.

use std::time::Duration;

use super::UpstreamSettings;
use super::connect::TimedOut;
use crate::credential::CredentialError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the session's API key could not be had: {0}")]
    Key(CredentialError),
    #[error("no connection to {authority} within {}", humantime::format_duration(*.after))]
    ConnectTimeout { authority: String, after: Duration },
    #[error("no connection to {authority}{}", reason(.cause))]
    Unreachable {
        authority: String,
        /// The system's, where it is known.
        cause: Option<std::io::ErrorKind>,
    },
    /// Before the head of an answer, or between two parts of it.
    #[error("the provider sent nothing for {}", humantime::format_duration(*.0))]
    Silent(Duration),
    #[error("the connection to the provider broke off")]
    BrokenOff,
}

impl UpstreamError {
    /// Whether the same request may be sent once more by itself: nothing of it was answered, and the provider is not known to
    /// be at work on it.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            UpstreamError::ConnectTimeout { .. }
            | UpstreamError::Unreachable { .. }
            | UpstreamError::BrokenOff => true,
            UpstreamError::Key(_) | UpstreamError::Silent(_) => false,
        }
    }

    pub(super) fn of(
        error: &hyper_util::client::legacy::Error,
        settings: &UpstreamSettings,
    ) -> UpstreamError {
        if !error.is_connect() {
            return UpstreamError::BrokenOff;
        }
        let authority = settings
            .base_url
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        if find::<TimedOut>(error).is_some() {
            let after = settings.connect_timeout;
            return UpstreamError::ConnectTimeout { authority, after };
        }
        let cause = find::<std::io::Error>(error).map(std::io::Error::kind);
        let cause = cause.filter(|kind| *kind != std::io::ErrorKind::Other);
        UpstreamError::Unreachable { authority, cause }
    }
}

/// The first cause of this kind.
fn find<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<E>())
}

fn reason(cause: &Option<std::io::ErrorKind>) -> String {
    cause.map(|kind| format!(": {kind}")).unwrap_or_default()
}
