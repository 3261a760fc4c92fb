//! Carries one request over to the provider and gives its answer back.
//!
//! The provider's refusals are its own and pass, but for those that say something of the key or of where the provider is:
//! those are the gateway's.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as _;
use midplane_sdk::{Draining, Session};

use super::account::Account;
use super::error::GatewayError;
use super::mask::{Mask, Remembered};
use super::models::Models;
use super::offered::Offered;
use super::relay::Relay;
use super::{Gateway, below, headers};
use crate::credential::Credential;
use crate::drain;
use crate::upstream::{Answer, UpstreamBody, UpstreamError};

/// Up to here a body is read whole before it is sent, which takes a client of the same machine no time, so that it can be sent
/// again with another key. Conversations fit; images are passed on as they come.
const REPEATABLE_BYTES_MAX: u64 = 1 << 20;
/// Of the provider's list of models, where it has to be looked through. The longest known has under a megabyte.
const MODELS_BYTES_MAX: usize = 8 << 20;

pub(super) async fn answer(
    gateway: &Gateway,
    offered: Offered,
    session: Session,
    request: Request<Body>,
) -> Result<Response, GatewayError> {
    let (parts, body) = request.into_parts();
    let body = Outbound::of(&parts, body, offered, &gateway.settings.models).await?;
    let mut account = offered
        .asks_a_model()
        .then(|| Account::new(gateway.meter.clone(), session.clone()));
    let answer = carry(gateway, offered, session, &parts, body, &mut account).await;
    if let (Err(error), Some(account)) = (&answer, &mut account) {
        account.fail(error);
    }
    answer
}

/// Takes the account along with an answer that can be passed on.
async fn carry(
    gateway: &Gateway,
    offered: Offered,
    session: Session,
    parts: &Parts,
    body: Outbound,
    account: &mut Option<Account>,
) -> Result<Response, GatewayError> {
    let (is_repeatable, trouble) = (body.is_repeatable, body.trouble);
    let mut request = Request::new(body.body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = target(&parts.uri)?;
    *request.headers_mut() = match body.keeps_length {
        true => headers::to_provider(&parts.headers),
        false => headers::without_length(headers::to_provider(&parts.headers)),
    };
    let credential = Remembered::new(session);
    let answer =
        gateway
            .upstream
            .send(request, &credential)
            .await
            .map_err(|error| match trouble.get() {
                Some(reason) if error == UpstreamError::BrokenOff => {
                    GatewayError::Unreadable(reason.clone())
                }
                _ => GatewayError::Upstream(error),
            })?;
    let status = answer.status();
    if status == StatusCode::UNAUTHORIZED && credential.gave_a_key() {
        return Err(refused_key(&credential, is_repeatable).await);
    }
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        return Err(GatewayError::Redirected(status.as_u16()));
    }
    if is_encoded(answer.headers()) {
        return Err(GatewayError::Encoded);
    }
    let mask = credential.mask();
    if offered == Offered::ListModels
        && status == StatusCode::OK
        && gateway.settings.models.are_restricted()
    {
        return listed(answer, &mask, &gateway.settings.models).await;
    }
    if let Some(account) = account {
        account.begin(status);
    }
    Ok(passed_on(answer, mask, &gateway.draining, account.take()))
}

/// A body on its way to the provider.
struct Outbound {
    body: UpstreamBody,
    is_repeatable: bool,
    /// Whether the client's `Content-Length` is true of it.
    keeps_length: bool,
    /// Why it could not be read from the client, if that is so.
    trouble: Arc<OnceLock<String>>,
}

impl Outbound {
    async fn of(
        parts: &Parts,
        body: Body,
        offered: Offered,
        models: &Models,
    ) -> Result<Outbound, GatewayError> {
        let trouble = Arc::default();
        if parts.method != Method::POST {
            return Ok(Outbound {
                body: UpstreamBody::empty(),
                is_repeatable: true,
                keeps_length: false,
                trouble,
            });
        }
        let looks_into = offered.asks_a_model() && models.are_restricted();
        let is_short = body
            .size_hint()
            .exact()
            .is_some_and(|len| len <= REPEATABLE_BYTES_MAX);
        if !looks_into && !is_short {
            return Ok(Outbound {
                body: streamed(body, Arc::clone(&trouble)),
                is_repeatable: false,
                keeps_length: true,
                trouble,
            });
        }
        // As long as the kernel allows.
        let bytes = body
            .collect()
            .await
            .map_err(|error| GatewayError::Unreadable(error.to_string()))?
            .to_bytes();
        if looks_into {
            models.check_body(&bytes)?;
        }
        Ok(Outbound {
            body: UpstreamBody::Bytes(bytes),
            is_repeatable: true,
            keeps_length: false,
            trouble,
        })
    }
}

/// Pulled from the client as the provider takes it.
fn streamed(body: Body, trouble: Arc<OnceLock<String>>) -> UpstreamBody {
    UpstreamBody::stream(body.map_err(move |error| {
        let _ = trouble.set(error.to_string());
        error
    }))
}

/// The address below the base URL. Path and query stay as the client wrote them.
fn target(uri: &Uri) -> Result<Uri, GatewayError> {
    let query = uri.query().map(|query| format!("?{query}"));
    format!("/{}{}", below(uri.path()), query.unwrap_or_default())
        .parse()
        .map_err(|_| GatewayError::Malformed("its address is no URL".to_owned()))
}

/// The provider's own words on a key go nowhere: they show parts of it.
async fn refused_key(credential: &impl Credential, was_asked_again: bool) -> GatewayError {
    match was_asked_again || credential.refreshed().await.is_err() {
        true => GatewayError::KeyRefused,
        false => GatewayError::KeyRenewed,
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn passed_on(
    answer: http::Response<Answer>,
    mask: Mask,
    draining: &Draining,
    account: Option<Account>,
) -> Response {
    let (head, body) = answer.into_parts();
    let mut headers = headers::to_client(&head.headers, |bytes| mask.is_in(bytes));
    let relay = match is_event_stream(&headers) {
        true => {
            // Its last event may be one that the provider did not count.
            headers = headers::without_length(headers);
            Relay::event_stream(body, mask, drained(draining))
        }
        false => Relay::plain(body, mask),
    };
    let mut response = Response::new(Body::from_stream(relay.counted(account)));
    *response.status_mut() = head.status;
    *response.headers_mut() = headers;
    response
}

async fn listed(
    answer: http::Response<Answer>,
    mask: &Mask,
    models: &Models,
) -> Result<Response, GatewayError> {
    let (head, body) = answer.into_parts();
    let list = Limited::new(body, MODELS_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| match error.downcast::<UpstreamError>() {
            Ok(error) => GatewayError::Upstream(*error),
            Err(_too_long) => GatewayError::UnreadableModels,
        })?;
    let list = models.filter(&list.to_bytes())?;
    let mut response = Response::new(Body::from(mask.whole(Bytes::from(list))));
    *response.headers_mut() =
        headers::without_length(headers::to_client(&head.headers, |bytes| mask.is_in(bytes)));
    Ok(response)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    const ESSENCE: &[u8] = b"text/event-stream";
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .get(..ESSENCE.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(ESSENCE))
    })
}

fn drained(draining: &Draining) -> BoxFuture<'static, ()> {
    drain::over(draining.clone()).boxed()
}
