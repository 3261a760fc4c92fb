//! What it means for whoever has to answer a client that the provider was not reached: a status, a code, and what to do.

use http::StatusCode;
use midplane_sdk::SecretError;

use crate::credential::CredentialError;
use crate::upstream::UpstreamError;

pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    /// What to do.
    pub(crate) hint: &'static str,
}

impl Failure {
    pub(crate) fn of(error: &UpstreamError) -> Failure {
        let (status, code, hint) = match error {
            UpstreamError::Key(CredentialError::Secret(SecretError::Absent)) => (
                StatusCode::UNAUTHORIZED,
                "invalid_api_key",
                "create the session with a `secret_key_id`",
            ),
            UpstreamError::Key(CredentialError::Unusable) => (
                StatusCode::UNAUTHORIZED,
                "invalid_api_key",
                "store a valid key",
            ),
            UpstreamError::Key(CredentialError::Secret(SecretError::Denied)) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "key_denied",
                "give it in `grants` of [modules.chat]",
            ),
            UpstreamError::Key(CredentialError::Secret(SecretError::Failed(_))) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "key_unavailable",
                "mend its source and try again",
            ),
            UpstreamError::ConnectTimeout { .. } => (
                StatusCode::GATEWAY_TIMEOUT,
                "provider_timeout",
                "check `base_url` of the chat module and the network",
            ),
            UpstreamError::Silent(_) => {
                (StatusCode::GATEWAY_TIMEOUT, "provider_timeout", "try again")
            }
            UpstreamError::Unreachable { .. } => (
                StatusCode::BAD_GATEWAY,
                "provider_unreachable",
                "check `base_url` of the chat module and the network",
            ),
            UpstreamError::Untrusted { .. } => (
                StatusCode::BAD_GATEWAY,
                "provider_untrusted",
                "check `base_url` of the chat module and the certificates that the system trusts",
            ),
            UpstreamError::ProxyUnreachable { .. } | UpstreamError::ProxyRefused { .. } => (
                StatusCode::BAD_GATEWAY,
                "proxy_failed",
                "check `proxy` of the chat module, or the environment's proxies",
            ),
            UpstreamError::BrokenOff => {
                (StatusCode::BAD_GATEWAY, "provider_broke_off", "try again")
            }
        };
        Failure { status, code, hint }
    }
}
