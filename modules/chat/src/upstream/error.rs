//! Why a request to the provider came to nothing.
//!
//! No variant holds what the provider, or whoever stands between, wrote: that may repeat the key, or the conversation.

use std::io;
use std::time::Duration;

use http::Uri;

use super::connect::ConnectError;
use crate::credential::CredentialError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the session's API key could not be had: {0}")]
    Key(CredentialError),
    #[error("no connection to {authority} within {}", humantime::format_duration(*.after))]
    ConnectTimeout { authority: String, after: Duration },
    #[error("no connection to {authority}{}", told(.cause))]
    Unreachable {
        authority: String,
        /// The system's, where it is known.
        cause: Option<io::ErrorKind>,
    },
    #[error("the certificate of {authority} is not trusted")]
    Untrusted { authority: String },
    #[error("no connection to the proxy {proxy}{}", told(.cause))]
    ProxyUnreachable {
        proxy: String,
        cause: Option<io::ErrorKind>,
    },
    #[error("the proxy {proxy} did not let the connection through")]
    ProxyRefused { proxy: String },
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
            | UpstreamError::ProxyUnreachable { .. }
            | UpstreamError::BrokenOff => true,
            UpstreamError::Key(_)
            | UpstreamError::Untrusted { .. }
            | UpstreamError::ProxyRefused { .. }
            | UpstreamError::Silent(_) => false,
        }
    }

    /// What the failure of an exchange with `provider` means, which may go through `proxy`.
    pub(super) fn of(
        error: &hyper_util::client::legacy::Error,
        provider: &Uri,
        proxy: Option<&Uri>,
        connect_timeout: Duration,
    ) -> UpstreamError {
        if !error.is_connect() {
            return UpstreamError::BrokenOff;
        }
        let (authority, proxy) = (authority(provider), proxy.map(authority));
        let cause = cause(error);
        let is_untrusted = matches!(
            find::<rustls::Error>(error),
            Some(rustls::Error::InvalidCertificate(_))
        );
        match (find::<ConnectError>(error), proxy) {
            (Some(ConnectError::TimedOut), _) => UpstreamError::ConnectTimeout {
                authority,
                after: connect_timeout,
            },
            (Some(ConnectError::RefusedByProxy), Some(proxy)) => {
                UpstreamError::ProxyRefused { proxy }
            }
            (Some(ConnectError::ToProxy(_)), Some(authority)) if is_untrusted => {
                UpstreamError::Untrusted { authority }
            }
            (Some(ConnectError::ToProxy(_)), Some(proxy)) => {
                UpstreamError::ProxyUnreachable { proxy, cause }
            }
            _ if is_untrusted => UpstreamError::Untrusted { authority },
            _ => UpstreamError::Unreachable { authority, cause },
        }
    }
}

fn authority(uri: &Uri) -> String {
    uri.authority().map(ToString::to_string).unwrap_or_default()
}

/// The first cause of this kind.
fn find<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    causes(error).find_map(|error| error.downcast_ref::<E>())
}

/// An error and what led to it. What an [`io::Error`] was made from is no source of it, but stands in it.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let within = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match within {
            Some(within) => Some(within as _),
            None => error.source(),
        }
    })
}

/// What the network said, where its word helps.
fn cause(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    use io::ErrorKind as Kind;

    let kinds = causes(error).filter_map(|error| Some(error.downcast_ref::<io::Error>()?.kind()));
    kinds.into_iter().find(|kind| {
        matches!(
            kind,
            Kind::ConnectionRefused
                | Kind::ConnectionReset
                | Kind::ConnectionAborted
                | Kind::HostUnreachable
                | Kind::NetworkUnreachable
                | Kind::AddrNotAvailable
                | Kind::PermissionDenied
                | Kind::TimedOut
                | Kind::UnexpectedEof
        )
    })
}

fn told(cause: &Option<io::ErrorKind>) -> String {
    cause.map(|kind| format!(": {kind}")).unwrap_or_default()
}
