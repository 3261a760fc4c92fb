//! Sends one request to the provider, again where that may help, and hands back its event stream.
//!
//! The only place that talks to the network and that sees the key. Dropping a request, or the stream that came of it,
//! closes its connection.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, BodyStream, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use futures_util::StreamExt;

use super::error::{Code, ErrorBody, ProviderError};
use super::event_stream::EventStream;
use super::retry;
use crate::credential::Credential;

/// A provider that does not accept a connection in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the 60 s after which load balancers close idle connections.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// One person's chats; more connections are opened when needed, but not kept.
const POOL_IDLE_PER_HOST_MAX: usize = 4;
/// Of an error's body, of which only a code is read.
const ERROR_BODY_BYTES_MAX: usize = 16 * 1024;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("midplane-chat/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

#[derive(Clone)]
pub(super) struct Client {
    http: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Uri,
    requires_key: bool,
    silence_max: Duration,
    retries: u32,
}

impl Client {
    pub(super) fn new(
        endpoint: Uri,
        requires_key: bool,
        silence_max: Duration,
        retries: u32,
    ) -> Client {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_IDLE_PER_HOST_MAX)
            .build(connector);
        Client {
            http,
            endpoint,
            requires_key,
            silence_max,
            retries,
        }
    }

    /// Posts `body`. A refused key is asked for again, once; "not now" and failed connections are tried again, after a
    /// pause. No answer has begun before this returns, so nothing is ever said twice.
    pub(super) async fn open(
        &self,
        body: Bytes,
        credential: &dyn Credential,
    ) -> Result<EventStream, ProviderError> {
        let mut authorization = match self.requires_key {
            true => Some(
                credential
                    .current()
                    .await
                    .map_err(|error| ProviderError::NoKey(error.to_string()))?,
            ),
            false => None,
        };
        let mut refreshed = false;
        let mut tried = 0;
        loop {
            let (failure, asked_for) = match self.send(body.clone(), authorization.clone()).await {
                Ok(response) if response.status() == StatusCode::OK => {
                    return self.events(response);
                }
                Ok(response)
                    if response.status() == StatusCode::UNAUTHORIZED
                        && self.requires_key
                        && !refreshed =>
                {
                    refreshed = true;
                    let key = credential
                        .refreshed()
                        .await
                        .map_err(|error| ProviderError::NoKey(error.to_string()))?;
                    authorization = Some(key);
                    continue;
                }
                Ok(response) => self.refusal(response).await?,
                Err(failure) => (failure, None),
            };
            let Some(pause) = retry::pause(tried, self.retries, asked_for) else {
                return Err(failure);
            };
            tracing::info!(failure = %failure, tried, pause_ms = pause.as_millis() as u64, "asking the provider again");
            tokio::time::sleep(pause).await;
            tried += 1;
        }
    }

    async fn send(
        &self,
        body: Bytes,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Incoming>, ProviderError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(ACCEPT, EVENT_STREAM);
        headers.insert(USER_AGENT, AGENT);
        if let Some(key) = authorization {
            headers.insert(AUTHORIZATION, key);
        }
        let response = timeout(self.silence_max, self.http.request(request))
            .await
            .map_err(|_| ProviderError::Silent(self.silence_max))?;
        response.map_err(|error| {
            tracing::warn!(error = ?error, "the provider cannot be reached");
            ProviderError::Unreachable(
                self.endpoint
                    .authority()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            )
        })
    }

    fn events(&self, response: Response<Incoming>) -> Result<EventStream, ProviderError> {
        let content_type = response
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
        let chunks = BodyStream::new(response.into_body()).filter_map(|frame| async {
            match frame {
                Ok(frame) => frame.into_data().ok().map(Ok),
                Err(error) => Some(Err(error)),
            }
        });
        Ok(EventStream::new(chunks, self.silence_max))
    }

    /// What a refusal means, and how long it asks to wait: an error at once when trying again is of no use.
    async fn refusal(
        &self,
        response: Response<Incoming>,
    ) -> Result<(ProviderError, Option<Duration>), ProviderError> {
        let status = response.status().as_u16();
        let asked_for = retry::retry_after(response.headers(), SystemTime::now());
        let code = error_code(response.into_body()).await;
        tracing::warn!(status, code = ?code, "the provider refused the request");
        let refusal = match status {
            ..400 => ProviderError::NotAStream,
            _ => ProviderError::of_status(status, code, asked_for),
        };
        if retry::is_transient(status) && refusal != ProviderError::QuotaExhausted {
            return Ok((refusal, asked_for));
        }
        Err(refusal)
    }
}

/// Reads a refusal's body for its code only; the rest goes nowhere.
async fn error_code(body: Incoming) -> Option<Code> {
    let body = Limited::new(body, ERROR_BODY_BYTES_MAX).collect();
    let bytes = timeout(ERROR_BODY_TIMEOUT, body)
        .await
        .ok()?
        .ok()?
        .to_bytes();
    serde_json::from_slice::<ErrorBody>(&bytes).ok()?.code()
}
