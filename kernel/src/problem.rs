//! Every error of a parsed request, as `application/problem+json` (RFC 9457).
//!
//! The public half of an error: a stable code, and a detail that tells the caller what to do. What happened inside goes to
//! the log under the same request id, never in here.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
    SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use serde::Serialize;

/// Declares the codes once, so that the type, the URN, the status and the OpenAPI list cannot drift apart.
macro_rules! codes {
    ($($variant:ident = $status:literal $code:literal $title:literal;)+) => {
        /// The stable name of an error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Code { $($variant),+ }

        impl Code {
            /// All of them, in the order of their status.
            pub(crate) const ALL: &[Code] = &[$(Code::$variant),+];

            pub(crate) const fn status(self) -> u16 {
                match self { $(Code::$variant => $status),+ }
            }
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code),+ }
            }
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title),+ }
            }
        }
    };
}

codes! {
    InvalidRequest = 400 "invalid_request" "The request is not valid";
    InvalidPath = 400 "invalid_path" "The path is not valid";
    InvalidHandshake = 400 "invalid_handshake" "The WebSocket handshake is not valid";
    SeveralCredentials = 400 "several_credentials" "More than one credential";
    CredentialRequired = 401 "credential_required" "A credential is required";
    InvalidToken = 401 "invalid_token" "The credential is not valid";
    InsufficientScope = 403 "insufficient_scope" "The credential does not allow this";
    OriginNotAllowed = 403 "origin_not_allowed" "Requests from web pages are refused";
    SecretDenied = 403 "secret_denied" "The host refused the secret";
    SecretNotFound = 403 "secret_not_found" "The host has no such secret";
    SecretRejected = 403 "secret_rejected" "The secret was rejected";
    ModulePathForbidden = 403 "module_path_forbidden" "Modules may not be loaded from there";
    GrantForbidden = 403 "grant_forbidden" "More than the configuration grants";
    NotFound = 404 "not_found" "No such route";
    SessionNotFound = 404 "session_not_found" "No such session";
    ModuleNotFound = 404 "module_not_found" "No such module";
    MethodNotAllowed = 405 "method_not_allowed" "The route has no such method";
    RequestTimeout = 408 "request_timeout" "The body came too slowly";
    SessionEnded = 409 "session_ended" "The session has ended";
    ModuleBusy = 409 "module_busy" "The module is being loaded or unloaded";
    ModuleInUse = 409 "module_in_use" "Other modules may call the module";
    BodyTooLarge = 413 "body_too_large" "The body is too large";
    UnsupportedMediaType = 415 "unsupported_media_type" "The body has the wrong type";
    HostNotAllowed = 421 "host_not_allowed" "This host name is not served here";
    ModuleNotLoaded = 422 "module_not_loaded" "The module is not loaded";
    ModuleRefused = 422 "module_refused" "The module cannot be loaded";
    UpgradeRequired = 426 "upgrade_required" "Another version of the protocol is required";
    TooManyRequests = 429 "too_many_requests" "Too many requests are under way";
    RateLimited = 429 "rate_limited" "Too many requests of this session";
    Internal = 500 "internal" "Internal error";
    ModuleFailed = 500 "module_failed" "The module failed";
    ModuleCrashed = 502 "module_crashed" "The module's process ended";
    Starting = 503 "starting" "Starting";
    Draining = 503 "draining" "Shutting down";
    SessionLimit = 503 "session_limit" "Too many sessions";
    HostLimit = 503 "host_limit" "Too many hosts";
    HostUnavailable = 503 "host_unavailable" "No host can answer for the secret";
    ModuleUnavailable = 503 "module_unavailable" "The module takes no requests now";
    ModuleRestarting = 503 "module_restarting" "The module is being started again";
    ModuleOverloaded = 503 "module_overloaded" "Too many requests of this module are under way";
    ConnectionLimit = 503 "connection_limit" "Too many connections";
    HostTimeout = 504 "host_timeout" "The host did not answer in time";
    StorageFull = 507 "storage_full" "No space is left to stage the module";
}

/// An error on its way to the caller.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    /// What the caller should do, in a sentence.
    pub(crate) detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    upgrade: Option<&'static str>,
}

/// The document (RFC 9457).
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Problem"))]
pub(crate) struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    /// What to do, in a sentence.
    detail: &'a str,
    /// Stable.
    code: &'static str,
    /// The id of the request, under which the log says more.
    instance: &'a str,
}

impl Problem {
    pub(crate) const CONTENT_TYPE: HeaderValue =
        HeaderValue::from_static("application/problem+json");

    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            code,
            detail: detail.into(),
            retry_after: None,
            allow: None,
            upgrade: None,
        }
    }

    /// Adds `Retry-After`, in whole seconds, rounded up (RFC 9110 section 10.2.3).
    pub(crate) fn retry_after(mut self, wait: Duration) -> Problem {
        self.retry_after = Some(wait);
        self
    }

    /// Adds `Allow` (RFC 9110 section 10.2.1), which a 405 owes.
    pub(crate) fn allow(mut self, methods: &'static str) -> Problem {
        self.allow = Some(methods);
        self
    }

    /// Adds `Upgrade` (RFC 9110 section 15.5.22), which a 426 owes.
    pub(crate) fn upgrade(mut self, protocol: &'static str) -> Problem {
        self.upgrade = Some(protocol);
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).expect("every code has a valid status")
    }

    /// The response; `request_id` becomes `instance`.
    pub(crate) fn response(&self, request_id: &str) -> Response<Bytes> {
        let body = Body {
            r#type: format!(
                "urn:midplane:error:{}",
                self.code.as_str().replace('_', "-")
            ),
            title: self.code.title(),
            status: self.code.status(),
            detail: &self.detail,
            code: self.code.as_str(),
            instance: request_id,
        };
        let json = serde_json::to_vec(&body).expect("a problem is plain strings and numbers");
        let mut response = Response::new(Bytes::from(json));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, Problem::CONTENT_TYPE);
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(protocol) = self.upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static(protocol));
            if protocol == "websocket" {
                // RFC 6455 section 4.4.
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if matches!(self.code.status(), 401 | 403) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        response
    }

    /// `WWW-Authenticate` (RFC 6750 section 3).
    fn challenge(&self) -> Option<&'static str> {
        match self.code {
            Code::CredentialRequired => Some(r#"Bearer realm="midplane""#),
            Code::InvalidToken => Some(r#"Bearer realm="midplane", error="invalid_token""#),
            Code::InsufficientScope => {
                Some(r#"Bearer realm="midplane", error="insufficient_scope""#)
            }
            _ => None,
        }
    }
}
