//! The one HTTP client to the provider: connections, the key, timeouts. Whatever this module asks a provider goes through
//! [`Upstream::send`].
//!
//! The only place that talks to the network and that sees the key. It knows neither APIs nor events, and tries nothing again
//! but a refused key: when else a request is repeated is its sender's decision, by the policy in [`retry`].

mod answer;
mod body;
mod connect;
mod error;
pub(crate) mod retry;

use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT,
};
use http::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub(crate) use answer::Answer;
pub(crate) use body::UpstreamBody;
pub(crate) use error::UpstreamError;

use self::body::Outgoing;
use self::connect::Connector;
use crate::credential::Credential;

/// Below the 60 s after which load balancers close idle connections.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// One person's chats; more connections are opened when needed, but not kept.
const POOL_IDLE_PER_HOST_MAX: usize = 4;

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("midplane-chat/", env!("CARGO_PKG_VERSION")));

/// How the provider is reached, checked.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamSettings {
    /// Up to and with the API's version, without a slash at its end.
    pub(crate) base_url: Uri,
    pub(crate) requires_key: bool,
    /// Name resolution, connection, proxy and TLS together.
    pub(crate) connect_timeout: Duration,
    /// From the request's last byte to the head of the answer.
    pub(crate) first_byte_timeout: Duration,
    /// Between two parts of an answer.
    pub(crate) stall_timeout: Duration,
}

/// A client of one provider. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub(crate) struct Upstream {
    http: Client<Connector, Outgoing>,
    settings: UpstreamSettings,
}

impl Upstream {
    pub(crate) fn new(settings: UpstreamSettings) -> Upstream {
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_IDLE_PER_HOST_MAX)
            .build(Connector::new(settings.connect_timeout));
        Upstream { http, settings }
    }

    /// Sends one request to its path below the base URL: `/chat/completions`, `/models/tiny?view=full`. Whatever scheme and
    /// host the request names are not looked at, and whatever credential it carries is replaced by the session's key.
    ///
    /// A key that the provider refuses is asked for again, once, if the body can be sent again. Any other status is an answer
    /// like 200. Dropping the future or the answer's body closes the connection at once.
    pub(crate) async fn send(
        &self,
        request: Request<UpstreamBody>,
        credential: &dyn Credential,
    ) -> Result<Response<Answer>, UpstreamError> {
        let (mut head, body) = request.into_parts();
        head.uri = self.address(&head.uri);
        self.prepare(&mut head.headers);
        if !self.settings.requires_key {
            return self.exchange(Request::from_parts(head, body)).await;
        }
        let again = body.again().map(|body| (head.clone(), body));
        let key = credential.current().await.map_err(UpstreamError::Key)?;
        head.headers.insert(AUTHORIZATION, key);
        let answer = self.exchange(Request::from_parts(head, body)).await?;
        let Some((mut head, body)) = again else {
            return Ok(answer);
        };
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let key = credential.refreshed().await.map_err(UpstreamError::Key)?;
        head.headers.insert(AUTHORIZATION, key);
        self.exchange(Request::from_parts(head, body)).await
    }

    fn address(&self, path: &Uri) -> Uri {
        let base = &self.settings.base_url;
        let below = path.path_and_query().map_or("", |path| path.as_str());
        let path = format!("{}{below}", base.path().trim_end_matches('/'));
        let mut parts = base.clone().into_parts();
        parts.path_and_query = Some(
            path.parse()
                .expect("a path behind a path, each of them parsed before"),
        );
        Uri::from_parts(parts).expect("the base URL has scheme and host")
    }

    fn prepare(&self, headers: &mut HeaderMap) {
        for not_ours in [AUTHORIZATION, PROXY_AUTHORIZATION, HOST, CONNECTION] {
            headers.remove(not_ours);
        }
        headers.entry(USER_AGENT).or_insert(AGENT);
    }

    async fn exchange(
        &self,
        request: Request<UpstreamBody>,
    ) -> Result<Response<Answer>, UpstreamError> {
        let limit = self.settings.first_byte_timeout;
        let (head, body) = request.into_parts();
        let (body, progress) = Outgoing::new(body);
        let answer = tokio::select! {
            biased; // an answer that is there is taken, however late
            answer = self.http.request(Request::from_parts(head, body)) => answer,
            // Cancel-safe: it only watches.
            () = body::overdue(progress, limit) => return Err(UpstreamError::Silent(limit)),
        };
        let answer = answer.map_err(|error| {
            let error = UpstreamError::of(&error, &self.settings);
            tracing::warn!(%error, "the provider was not reached");
            error
        })?;
        Ok(answer.map(|body| Answer::new(body, self.settings.stall_timeout)))
    }
}
