//! Hosted ChatKit: `POST /chatkit/sessions` has OpenAI make a session of a workflow that it hosts, and gives the page the
//! session's own client secret, which the web component's `getClientSecret` returns; `…/{id}/cancel` ends it.
//!
//! The page never chooses the user: it is the kernel's session's. What OpenAI answers passes as it is; what it refuses
//! becomes a problem like those of every other route here, since the caller is the page's own code and no SDK of OpenAI's.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use midplane_sdk::{Problem, Session};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::{Choice, Settings};
use crate::gateway::{Failure, Mask, Remembered, X_UPSTREAM_REQUEST_ID};
use crate::upstream::{Answer, Upstream, UpstreamBody, UpstreamError};

const OPENAI_BETA: HeaderName = HeaderName::from_static("openai-beta");
const CHATKIT_BETA: HeaderValue = HeaderValue::from_static("chatkit_beta=v1");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// A session's object has about two kilobytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Of the provider's words on what it refuses.
const REASON_CHARS_MAX: usize = 300;
/// OpenAI's are `cksess_` and about 70 characters.
const ID_LEN_MAX: usize = 256;

pub(crate) struct Hosted {
    choice: Choice,
    upstream: Upstream,
}

pub(crate) fn router(hosted: Hosted) -> Router {
    Router::new()
        .route("/chatkit/sessions", post(create))
        .route("/chatkit/sessions/{id}/cancel", post(cancel))
        .with_state(Arc::new(hosted))
}

#[derive(Debug, thiserror::Error)]
enum HostedError {
    #[error(
        "only OpenAI hosts workflows, and here the echo answers: give the session an API key, or configure `provider = \"openai\"`"
    )]
    NoProvider,
    #[error("the body cannot be read as the members of a ChatKit session: {0}")]
    Malformed(String),
    #[error(
        "`{0}` is no id of a ChatKit session: give the `id` that POST /chatkit/sessions answered"
    )]
    Id(String),
    #[error("{0}: {hint}", hint = Failure::of(.0).hint)]
    Upstream(UpstreamError),
    #[error(
        "the provider refused the API key, also after it was asked for again: store a valid key and retry"
    )]
    KeyRefused,
    #[error("the provider refused this (status {status}): {reason}")]
    Refused {
        status: StatusCode,
        reason: String,
        retry_after: Option<HeaderValue>,
    },
    #[error("the provider's answer is no ChatKit session: check `base_url` of the chat module")]
    Unreadable,
}

async fn create(
    State(hosted): State<Arc<Hosted>>,
    session: Session,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, HostedError> {
    let body = body.map_err(|rejection| HostedError::Malformed(rejection.body_text()))?;
    let mut members: Map<String, Value> =
        serde_json::from_slice(&body).map_err(|error| HostedError::Malformed(error.to_string()))?;
    members.insert("user".to_owned(), session.user().into());
    let body = Value::Object(members).to_string().into_bytes();
    hosted.ask("/chatkit/sessions", body, session).await
}

async fn cancel(
    State(hosted): State<Arc<Hosted>>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Response, HostedError> {
    let characters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if id.len() > ID_LEN_MAX || !id.bytes().all(characters) {
        return Err(HostedError::Id(id.chars().take(REASON_CHARS_MAX).collect()));
    }
    let path = format!("/chatkit/sessions/{id}/cancel");
    hosted.ask(&path, Vec::new(), session).await
}

impl Hosted {
    pub(crate) fn new(settings: &Settings, upstream: Upstream) -> Hosted {
        Hosted {
            choice: settings.choice,
            upstream,
        }
    }

    async fn ask(
        &self,
        path: &str,
        body: Vec<u8>,
        session: Session,
    ) -> Result<Response, HostedError> {
        let has_provider = match self.choice {
            Choice::OpenAi => true,
            Choice::BySecret => session.has_secret(),
            Choice::Echo => false,
        };
        if !has_provider {
            return Err(HostedError::NoProvider);
        }
        let mut request = Request::new(UpstreamBody::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().expect("a path of letters, digits and slashes");
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(OPENAI_BETA, CHATKIT_BETA);
        let credential = Remembered::new(session);
        let answer = self
            .upstream
            .send(request, &credential)
            .await
            .map_err(HostedError::Upstream)?;
        let mask = credential.mask();
        let (head, body) = answer.into_parts();
        let body = mask.whole(whole(body).await?);
        match head.status {
            StatusCode::OK | StatusCode::CREATED => {}
            StatusCode::UNAUTHORIZED => return Err(HostedError::KeyRefused),
            status => return Err(refused(status, &head.headers, &body, &mask)),
        }
        // A session is an object, and what a proxy or another kind of server says is none.
        if serde_json::from_slice::<Map<String, Value>>(&body).is_err() {
            return Err(HostedError::Unreadable);
        }
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = head.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(id) = head.headers.get("x-request-id")
            && !mask.is_in(id.as_bytes())
        {
            headers.insert(X_UPSTREAM_REQUEST_ID, id.clone());
        }
        Ok(response)
    }
}

async fn whole(body: Answer) -> Result<Bytes, HostedError> {
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(match error.downcast::<UpstreamError>() {
            Ok(error) => HostedError::Upstream(*error),
            Err(_too_long) => HostedError::Unreadable,
        }),
    }
}

/// With the provider's reason, which whoever wrote the workflow needs.
fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8], mask: &Mask) -> HostedError {
    #[derive(Deserialize)]
    struct ErrorBody {
        error: Members,
    }
    #[derive(Deserialize)]
    struct Members {
        message: String,
    }
    let said = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error.message);
    let reason = match said {
        // Once more, since JSON can write every character in another way.
        Ok(said) => String::from_utf8_lossy(&mask.whole(Bytes::from(said)))
            .chars()
            .filter(|c| !c.is_control())
            .take(REASON_CHARS_MAX)
            .collect(),
        Err(_) => "it does not say why".to_owned(),
    };
    HostedError::Refused {
        status,
        reason,
        retry_after: headers.get(RETRY_AFTER).cloned(),
    }
}

impl HostedError {
    /// Never 401: that is the kernel's, and means the client secret.
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            HostedError::NoProvider => (StatusCode::NOT_IMPLEMENTED, "not_offered"),
            HostedError::Malformed(_) | HostedError::Id(_) => {
                (StatusCode::BAD_REQUEST, "invalid_request")
            }
            HostedError::Upstream(error) => match Failure::of(error) {
                Failure { status, code, .. } if status == StatusCode::UNAUTHORIZED => {
                    (StatusCode::BAD_GATEWAY, code)
                }
                Failure { status, code, .. } => (status, code),
            },
            HostedError::KeyRefused => (StatusCode::BAD_GATEWAY, "invalid_api_key"),
            HostedError::Refused { status, .. } if status.is_client_error() => {
                (*status, "provider_refused")
            }
            HostedError::Refused { .. } | HostedError::Unreadable => {
                (StatusCode::BAD_GATEWAY, "provider_failed")
            }
        }
    }
}

impl IntoResponse for HostedError {
    fn into_response(self) -> Response {
        tracing::info!(error = %self, "no hosted ChatKit session");
        let (status, code) = self.status_and_code();
        let mut response = Problem::new(status, code, self.to_string()).into_response();
        if let HostedError::Refused {
            retry_after: Some(wait),
            ..
        } = self
        {
            response.headers_mut().insert(RETRY_AFTER, wait);
        }
        response
    }
}
