//! What goes wrong between this module and a provider, in words fit for the user.
//!
//! No variant holds what the provider wrote: a provider may repeat the key, or the conversation, in its errors.

use std::time::Duration;

use serde::Deserialize;

use crate::upstream::UpstreamError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProviderError {
    #[error("The session's API key could not be had: {0}.")]
    NoKey(String),
    #[error(
        "The provider refused the API key (status 401), also after it was asked for again: store a valid key and retry."
    )]
    KeyRefused,
    #[error(
        "The provider does not allow this with the API key at hand (status 403): check the key's permissions."
    )]
    Forbidden,
    #[error("The provider's quota for this API key is used up: check its plan and billing.")]
    QuotaExhausted,
    #[error("The provider takes no more requests now (status 429){}.", wait(.0))]
    RateLimited(Option<Duration>),
    #[error(
        "The provider has no such model or address (status 404): check `model` and `base_url` of the chat module."
    )]
    NotFound,
    #[error("The conversation is too long for the model: start a new thread.")]
    ConversationTooLong,
    #[error("The provider's filter refuses this conversation: say it in other words.")]
    Withheld,
    #[error(
        "The provider wants an API key (status 401): set `requires_key = true` for the chat module."
    )]
    KeyWanted,
    #[error(
        "The provider rejected the request (status {0}): check `api` and `model` of the chat module."
    )]
    Rejected(u16),
    #[error("The provider failed (status {0}): try again.")]
    Unavailable(u16),
    #[error(
        "The provider at {0} cannot be reached: check `base_url` of the chat module and the network."
    )]
    Unreachable(String),
    #[error(
        "The certificate of {0} is not trusted: add its authority to the system's, or name its file in SSL_CERT_FILE."
    )]
    Untrusted(String),
    #[error(
        "The proxy {0} cannot be reached: check `proxy` of the chat module, or HTTPS_PROXY, HTTP_PROXY and ALL_PROXY."
    )]
    ProxyUnreachable(String),
    #[error(
        "The proxy {0} does not let the request through: check `proxy` of the chat module, or HTTPS_PROXY, with its user and password."
    )]
    ProxyRefused(String),
    #[error("The provider sent nothing for {}: try again.", humantime::format_duration(*.0))]
    Silent(Duration),
    #[error("The provider's answer broke off: try again.")]
    BrokenOff,
    #[error("The provider reported a failure while it answered: try again.")]
    Failed,
    #[error(
        "The provider's answer is no event stream: check `base_url` and `api` of the chat module."
    )]
    NotAStream,
    #[error("The provider's event stream cannot be read: check `api` of the chat module.")]
    Malformed,
    #[error("The model called a tool in a way that cannot be understood: try again.")]
    ToolCall,
    #[error("The provider said nothing: try again.")]
    Empty,
}

impl ProviderError {
    /// Whether the same request may succeed, at once or after the user mended something.
    pub(crate) fn allow_retry(&self) -> bool {
        !matches!(
            self,
            ProviderError::Rejected(_)
                | ProviderError::ConversationTooLong
                | ProviderError::Withheld
        )
    }

    /// One word for each, for counting.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            ProviderError::NoKey(_) => "no_key",
            ProviderError::KeyRefused | ProviderError::KeyWanted | ProviderError::Forbidden => {
                "key_refused"
            }
            ProviderError::QuotaExhausted => "quota_exhausted",
            ProviderError::RateLimited(_) => "rate_limited",
            ProviderError::NotFound
            | ProviderError::ConversationTooLong
            | ProviderError::Withheld
            | ProviderError::Rejected(_) => "rejected",
            ProviderError::Unavailable(_) | ProviderError::Failed => "failed",
            ProviderError::Unreachable(_)
            | ProviderError::Untrusted(_)
            | ProviderError::ProxyUnreachable(_)
            | ProviderError::ProxyRefused(_) => "unreachable",
            ProviderError::Silent(_) => "silent",
            ProviderError::BrokenOff => "broken_off",
            ProviderError::NotAStream | ProviderError::Malformed | ProviderError::ToolCall => {
                "malformed"
            }
            ProviderError::Empty => "empty",
        }
    }

    /// What a status of 400 and above means; `code` is what the provider's body names.
    pub(crate) fn of_status(
        status: u16,
        code: Option<Code>,
        retry_after: Option<Duration>,
    ) -> ProviderError {
        match (status, code) {
            (_, Some(Code::InsufficientQuota)) => ProviderError::QuotaExhausted,
            (400 | 413 | 422, Some(Code::ContextLengthExceeded)) => {
                ProviderError::ConversationTooLong
            }
            (400, Some(Code::ContentFilter)) => ProviderError::Withheld,
            (401, _) => ProviderError::KeyRefused,
            (403, _) => ProviderError::Forbidden,
            (404, _) => ProviderError::NotFound,
            (429, _) => ProviderError::RateLimited(retry_after),
            (500.., _) => ProviderError::Unavailable(status),
            _ => ProviderError::Rejected(status),
        }
    }

    /// What a failure told inside an event stream means.
    pub(crate) fn of_event(code: Option<Code>) -> ProviderError {
        match code {
            Some(Code::InsufficientQuota) => ProviderError::QuotaExhausted,
            Some(Code::ContextLengthExceeded) => ProviderError::ConversationTooLong,
            Some(Code::RateLimitExceeded) => ProviderError::RateLimited(None),
            Some(Code::ContentFilter) => ProviderError::Withheld,
            Some(Code::Other) | None => ProviderError::Failed,
        }
    }
}

impl From<UpstreamError> for ProviderError {
    fn from(error: UpstreamError) -> ProviderError {
        match error {
            UpstreamError::Key(error) => ProviderError::NoKey(error.to_string()),
            UpstreamError::ConnectTimeout { authority, .. }
            | UpstreamError::Unreachable { authority, .. } => ProviderError::Unreachable(authority),
            UpstreamError::Untrusted { authority } => ProviderError::Untrusted(authority),
            UpstreamError::ProxyUnreachable { proxy, .. } => ProviderError::ProxyUnreachable(proxy),
            UpstreamError::ProxyRefused { proxy } => ProviderError::ProxyRefused(proxy),
            UpstreamError::Silent(limit) => ProviderError::Silent(limit),
            UpstreamError::BrokenOff => ProviderError::BrokenOff,
        }
    }
}

/// The codes of a provider's error that change what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    InsufficientQuota,
    /// The second is llama.cpp's.
    #[serde(alias = "exceed_context_size_error")]
    ContextLengthExceeded,
    RateLimitExceeded,
    /// Azure's.
    ContentFilter,
    #[serde(other)]
    Other,
}

/// An error as OpenAI's API writes it, in a body or in an event.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorBody {
    error: ErrorMembers,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ErrorMembers {
    #[serde(default)]
    code: serde_json::Value,
    /// Where llama.cpp, whose codes are numbers, tells what happened.
    #[serde(default)]
    r#type: serde_json::Value,
}

impl ErrorBody {
    pub(crate) fn code(&self) -> Option<Code> {
        self.error.code()
    }
}

impl ErrorMembers {
    pub(crate) fn code(&self) -> Option<Code> {
        let mut told = [&self.code, &self.r#type].map(|told| Code::deserialize(told).ok());
        told.sort_by_key(|code| !matches!(code, Some(code) if *code != Code::Other));
        told[0]
    }
}

fn wait(retry_after: &Option<Duration>) -> String {
    match retry_after {
        Some(wait) => format!(
            ": try again in {}",
            humantime::format_duration(Duration::from_secs(wait.as_secs().max(1)))
        ),
        None => ": try again later".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> Option<Code> {
        serde_json::from_str::<ErrorBody>(body).ok()?.code()
    }

    #[test]
    fn a_status_says_what_to_do() {
        let check = |status, body: &str, expect: &str, retry| {
            let error = ProviderError::of_status(status, code(body), Some(Duration::from_secs(90)));
            assert!(
                error.to_string().contains(expect),
                "{status} {body}: {error}"
            );
            assert_eq!(error.allow_retry(), retry, "{status} {body}");
        };
        check(
            401,
            r#"{"error":{"code":"invalid_api_key","message":"sk-secret"}}"#,
            "store a valid key",
            true,
        );
        check(403, "", "permissions", true);
        check(
            404,
            r#"{"error":{"code":"model_not_found"}}"#,
            "`model`",
            true,
        );
        check(
            429,
            r#"{"error":{"code":"insufficient_quota"}}"#,
            "billing",
            true,
        );
        check(429, r#"{"error":{"code":429}}"#, "1m 30s", true);
        check(
            400,
            r#"{"error":{"code":"context_length_exceeded"}}"#,
            "new thread",
            false,
        );
        check(
            400,
            r#"{"error":{"code":400,"type":"exceed_context_size_error"}}"#,
            "new thread",
            false,
        );
        check(
            400,
            r#"{"error":{"code":"other","type":"insufficient_quota"}}"#,
            "billing",
            true,
        );
        check(
            400,
            r#"{"error":{"code":"content_filter","param":"prompt"}}"#,
            "in other words",
            false,
        );
        check(400, r#"{"error":"text"}"#, "status 400", false);
        check(503, "<html>", "status 503", true);
    }

    #[test]
    fn no_error_repeats_what_the_provider_wrote() {
        let body = r#"{"error":{"code":"sk-secret","message":"sk-secret","type":"sk-secret"}}"#;
        for status in [400, 401, 403, 404, 409, 418, 429, 500, 503] {
            let error = ProviderError::of_status(status, code(body), None);
            assert!(
                !format!("{error} {error:?}").contains("sk-secret"),
                "{status}: {error:?}"
            );
        }
    }
}
