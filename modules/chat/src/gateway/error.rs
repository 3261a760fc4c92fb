//! What the gateway itself refuses or cannot do, in the shape of OpenAI's errors, so that its SDKs raise the exception that
//! fits: they go by the status.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::failure::Failure;
use crate::upstream::UpstreamError;

/// Tells OpenAI's SDKs whether to send the request again by themselves.
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// Of what a client wrote, in a message.
const QUOTED_CHARS_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GatewayError {
    #[error(
        "there is no {method} /v1/{path} here: this gateway offers chat/completions, responses, embeddings and models"
    )]
    UnknownUrl { method: Method, path: String },
    #[error("{method} is not offered here: use {allow}")]
    MethodNotSupported { method: Method, allow: &'static str },
    #[error(
        "the gateway is switched off: set `enabled = true` in [modules.chat.config.gateway] to use it"
    )]
    SwitchedOff,
    #[error(
        "no model answers here, only the echo, which offers POST chat/completions, POST responses and the models: give the session an API key, or configure `provider = \"openai\"`"
    )]
    NotByEcho,
    #[error("the body cannot be read as a request: {0}")]
    Malformed(String),
    #[error("`model` is missing: name one of those that GET /v1/models lists")]
    ModelMissing,
    #[error("the model `{0}` is not offered here: name one of those that GET /v1/models lists")]
    ModelNotOffered(String),
    #[error("the request's body could not be read: {0}")]
    Unreadable(String),
    #[error("{0}: {hint}", hint = Failure::of(.0).hint)]
    Upstream(UpstreamError),
    #[error(
        "the provider refused the API key, also after it was asked for again: store a valid key and retry"
    )]
    KeyRefused,
    #[error(
        "the provider refused the API key, and a new one has been had since: send the request again"
    )]
    KeyRenewed,
    #[error(
        "the provider answered with a redirect (status {0}), which is not followed with a key: configure the address it leads to as `base_url`"
    )]
    Redirected(u16),
    #[error(
        "the provider answered in an encoding it was not asked for: turn compression off there"
    )]
    Encoded,
    #[error(
        "the provider's list of models cannot be read: remove `models` from [modules.chat.config.gateway] to pass it on as it is"
    )]
    UnreadableModels,
    #[error("the chat module is being replaced or stopped: send the request again")]
    Drained,
}

impl GatewayError {
    /// What a client wrote, short enough for a message.
    pub(crate) fn quoted(text: &str) -> String {
        text.chars().take(QUOTED_CHARS_MAX).collect()
    }

    fn status(&self) -> StatusCode {
        match self {
            GatewayError::Malformed(_)
            | GatewayError::ModelMissing
            | GatewayError::Unreadable(_) => StatusCode::BAD_REQUEST,
            GatewayError::KeyRefused => StatusCode::UNAUTHORIZED,
            GatewayError::UnknownUrl { .. }
            | GatewayError::SwitchedOff
            | GatewayError::NotByEcho
            | GatewayError::ModelNotOffered(_) => StatusCode::NOT_FOUND,
            GatewayError::MethodNotSupported { .. } => StatusCode::METHOD_NOT_ALLOWED,
            GatewayError::Redirected(_)
            | GatewayError::Encoded
            | GatewayError::UnreadableModels => StatusCode::BAD_GATEWAY,
            GatewayError::KeyRenewed | GatewayError::Drained => StatusCode::SERVICE_UNAVAILABLE,
            GatewayError::Upstream(error) => Failure::of(error).status,
        }
    }

    /// OpenAI's words where it has one for the case.
    fn code(&self) -> &'static str {
        match self {
            GatewayError::UnknownUrl { .. }
            | GatewayError::SwitchedOff
            | GatewayError::NotByEcho => "unknown_url",
            GatewayError::MethodNotSupported { .. } => "method_not_supported",
            GatewayError::Malformed(_) => "invalid_json",
            GatewayError::ModelMissing => "missing_required_parameter",
            GatewayError::ModelNotOffered(_) => "model_not_found",
            GatewayError::Unreadable(_) => "body_unreadable",
            GatewayError::KeyRefused => "invalid_api_key",
            GatewayError::KeyRenewed => "key_renewed",
            GatewayError::Redirected(_)
            | GatewayError::Encoded
            | GatewayError::UnreadableModels => "provider_unusable",
            GatewayError::Drained => "draining",
            GatewayError::Upstream(error) => Failure::of(error).code,
        }
    }

    fn param(&self) -> Option<&'static str> {
        matches!(
            self,
            GatewayError::ModelMissing | GatewayError::ModelNotOffered(_)
        )
        .then_some("model")
    }

    /// Whether the SDKs are to send the request again, where they could not know.
    fn should_retry(&self) -> Option<bool> {
        match self {
            GatewayError::KeyRenewed | GatewayError::Drained => Some(true),
            // Somebody has to mend something first.
            GatewayError::Redirected(_)
            | GatewayError::Encoded
            | GatewayError::UnreadableModels
            | GatewayError::Upstream(
                UpstreamError::Key(_)
                | UpstreamError::Untrusted { .. }
                | UpstreamError::ProxyRefused { .. },
            ) => Some(false),
            _ => None,
        }
    }

    fn members(&self) -> Value {
        let kind = match self.status().is_server_error() {
            true => "server_error",
            false => "invalid_request_error",
        };
        json!({"message": self.to_string(), "type": kind, "param": self.param(), "code": self.code()})
    }

    /// The last event of a stream that could not go on, in one form for both of OpenAI's APIs: its SDKs raise `APIError` at
    /// the member `error`, and whoever reads the events of responses knows the type `error`.
    pub(crate) fn event(&self) -> Bytes {
        let error = self.members();
        let data = json!({
            "type": "error", "code": error["code"], "message": error["message"], "param": error["param"], "error": error,
        });
        Bytes::from(format!("event: error\ndata: {data}\n\n"))
    }
}

impl IntoResponse for GatewayError {
    fn into_response(self) -> Response {
        let body = json!({"error": self.members()}).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let GatewayError::MethodNotSupported { allow, .. } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(retry) = self.should_retry() {
            let retry = HeaderValue::from_static(if retry { "true" } else { "false" });
            headers.insert(X_SHOULD_RETRY, retry);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use midplane_sdk::SecretError;

    use super::*;
    use crate::credential::CredentialError;

    async fn check(error: GatewayError, status: u16, code: &str, retry: Option<&str>) {
        let response = error.clone().into_response();
        assert_eq!(response.status(), status, "{error}");
        let headers = response.headers().clone();
        assert_eq!(headers["content-type"], "application/json");
        let should_retry = headers.get("x-should-retry");
        assert_eq!(
            should_retry.map(|value| value.to_str().unwrap()),
            retry,
            "{error}"
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let members: Vec<&String> = body["error"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["code", "message", "param", "type"]);
        assert_eq!(body["error"]["code"], code, "{error}");
        assert_eq!(body["error"]["message"], error.to_string());
        let kind = if status < 500 {
            "invalid_request_error"
        } else {
            "server_error"
        };
        assert_eq!(body["error"]["type"], kind);
        assert!(error.to_string().contains(": "), "says what to do: {error}");
    }

    #[tokio::test]
    async fn every_error_has_a_status_that_sdks_know_and_a_stable_code() {
        use GatewayError as E;
        let key = |error| E::Upstream(UpstreamError::Key(CredentialError::Secret(error)));
        let unknown = E::UnknownUrl {
            method: Method::GET,
            path: "files".to_owned(),
        };
        check(unknown, 404, "unknown_url", None).await;
        let method = E::MethodNotSupported {
            method: Method::PUT,
            allow: "GET, DELETE",
        };
        assert_eq!(
            method.clone().into_response().headers()["allow"],
            "GET, DELETE"
        );
        check(method, 405, "method_not_supported", None).await;
        check(E::SwitchedOff, 404, "unknown_url", None).await;
        check(E::NotByEcho, 404, "unknown_url", None).await;
        check(E::Malformed("eof".to_owned()), 400, "invalid_json", None).await;
        check(
            E::Unreadable("cut".to_owned()),
            400,
            "body_unreadable",
            None,
        )
        .await;
        check(E::ModelMissing, 400, "missing_required_parameter", None).await;
        check(
            E::ModelNotOffered("m".to_owned()),
            404,
            "model_not_found",
            None,
        )
        .await;
        check(E::KeyRefused, 401, "invalid_api_key", None).await;
        check(E::KeyRenewed, 503, "key_renewed", Some("true")).await;
        check(E::Redirected(307), 502, "provider_unusable", Some("false")).await;
        check(E::Encoded, 502, "provider_unusable", Some("false")).await;
        check(E::UnreadableModels, 502, "provider_unusable", Some("false")).await;
        check(E::Drained, 503, "draining", Some("true")).await;
        check(
            key(SecretError::Absent),
            401,
            "invalid_api_key",
            Some("false"),
        )
        .await;
        check(key(SecretError::Denied), 500, "key_denied", Some("false")).await;
        let failed = key(SecretError::Failed("no host".to_owned()));
        check(failed, 503, "key_unavailable", Some("false")).await;
        let unreachable = E::Upstream(UpstreamError::Unreachable {
            authority: "host:1".to_owned(),
            cause: None,
        });
        check(unreachable, 502, "provider_unreachable", None).await;
        let untrusted = E::Upstream(UpstreamError::Untrusted {
            authority: "host:1".to_owned(),
        });
        check(untrusted, 502, "provider_untrusted", Some("false")).await;
        let proxy = E::Upstream(UpstreamError::ProxyRefused {
            proxy: "proxy:1".to_owned(),
        });
        check(proxy, 502, "proxy_failed", Some("false")).await;
        let silent = E::Upstream(UpstreamError::Silent(Duration::from_secs(9)));
        check(silent, 504, "provider_timeout", None).await;
        let broken = E::Upstream(UpstreamError::BrokenOff);
        check(broken, 502, "provider_broke_off", None).await;
    }

    #[test]
    fn an_event_has_the_error_for_both_apis() {
        let event = GatewayError::Drained.event();
        let event = std::str::from_utf8(&event).unwrap();
        let data = event.strip_prefix("event: error\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap();
        assert_eq!(data["type"], "error");
        assert_eq!(data["code"], "draining");
        assert_eq!(data["error"]["message"], data["message"]);
    }

    #[test]
    fn what_a_client_wrote_is_cut() {
        assert_eq!(
            GatewayError::quoted(&"é".repeat(300)).chars().count(),
            QUOTED_CHARS_MAX
        );
    }
}
