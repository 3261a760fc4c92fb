//! Sends one request for an answer to the provider, again where that may help, and hands back its event stream.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, BodyStream, Limited};
use tokio::time::timeout;

use futures_util::StreamExt;

use super::error::{Code, ErrorBody, ProviderError};
use super::event_stream::EventStream;
use crate::credential::Credential;
use crate::upstream::{Answer, Upstream, UpstreamBody, UpstreamError, retry};

/// Of an error's body, of which only a code is read.
const ERROR_BODY_BYTES_MAX: usize = 16 * 1024;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

#[derive(Clone)]
pub(super) struct Client {
    pub(super) upstream: Upstream,
    /// Below the base URL.
    pub(super) path: &'static str,
    pub(super) retries: u32,
}

impl Client {
    /// Posts `body`. "Not now" and failed connections are tried again, after a pause. No answer has begun before this returns,
    /// so nothing is ever said twice.
    pub(super) async fn open(
        &self,
        body: Bytes,
        credential: &dyn Credential,
    ) -> Result<EventStream, ProviderError> {
        let mut tried = 0;
        loop {
            let (failure, asked_for) = match self.send(body.clone(), credential).await {
                Ok(answer) if answer.status() == StatusCode::OK => return events(answer),
                Ok(answer) if self.is_key_wanted(answer.status()) => {
                    return Err(ProviderError::KeyWanted);
                }
                Ok(answer) => refusal(answer).await?,
                Err(failure) if failure.is_transient() => (failure.into(), None),
                Err(failure) => return Err(failure.into()),
            };
            let Some(pause) = retry::pause(tried, self.retries, asked_for) else {
                return Err(failure);
            };
            tracing::info!(failure = %failure, tried, pause_ms = pause.as_millis() as u64, "asking the provider again");
            tokio::time::sleep(pause).await;
            tried += 1;
        }
    }

    fn is_key_wanted(&self, status: StatusCode) -> bool {
        status == StatusCode::UNAUTHORIZED && !self.upstream.requires_key()
    }

    async fn send(
        &self,
        body: Bytes,
        credential: &dyn Credential,
    ) -> Result<Response<Answer>, UpstreamError> {
        let request = Request::post(self.path)
            .header(CONTENT_TYPE, JSON)
            .header(ACCEPT, EVENT_STREAM)
            .body(UpstreamBody::Bytes(body))
            .expect("the paths of both APIs are valid");
        self.upstream.send(request, credential).await
    }
}

fn events(answer: Response<Answer>) -> Result<EventStream, ProviderError> {
    let content_type = answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type
        .and_then(|text| text.split(';').next())
        .unwrap_or_default()
        .trim();
    if !essence.eq_ignore_ascii_case("text/event-stream") {
        return Err(ProviderError::NotAStream);
    }
    let chunks = BodyStream::new(answer.into_body()).filter_map(|frame| async {
        match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(error)),
        }
    });
    Ok(EventStream::new(chunks))
}

/// What a refusal means, and how long it asks to wait: an error at once when trying again is of no use.
async fn refusal(
    answer: Response<Answer>,
) -> Result<(ProviderError, Option<Duration>), ProviderError> {
    let status = answer.status().as_u16();
    let asked_for = retry::retry_after(answer.headers(), SystemTime::now());
    let is_transient = retry::is_transient(answer.status(), answer.headers());
    let code = error_code(answer.into_body()).await;
    tracing::warn!(status, code = ?code, "the provider refused the request");
    let refusal = match status {
        ..400 => ProviderError::NotAStream,
        _ => ProviderError::of_status(status, code, asked_for),
    };
    if is_transient && refusal != ProviderError::QuotaExhausted {
        return Ok((refusal, asked_for));
    }
    Err(refusal)
}

/// Reads a refusal's body for its code only; the rest goes nowhere.
async fn error_code(body: Answer) -> Option<Code> {
    let body = Limited::new(body, ERROR_BODY_BYTES_MAX).collect();
    let bytes = timeout(ERROR_BODY_TIMEOUT, body)
        .await
        .ok()?
        .ok()?
        .to_bytes();
    serde_json::from_slice::<ErrorBody>(&bytes).ok()?.code()
}
