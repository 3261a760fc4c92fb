//! The one HTTP client to the provider: connections, the key, timeouts. Whatever this module asks a provider goes through
//! [`Upstream::send`].
//!
//! The only place that talks to the network and that sees the key. It knows neither APIs nor events, and tries nothing again
//! but a refused key: when else a request is repeated is its sender's decision, by the policy in [`retry`].

mod answer;
mod body;
mod connect;
mod error;
mod leg;
mod proxy;
pub(crate) mod retry;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
    USER_AGENT,
};
use http::uri::Scheme;
use http::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub(crate) use answer::Answer;
pub(crate) use body::UpstreamBody;
pub(crate) use error::UpstreamError;
pub(crate) use proxy::{ProxySettings, is_usable as is_usable_proxy};

use self::body::Outgoing;
use self::connect::Connector;
use self::proxy::Route;
use crate::credential::{Credential, Key};

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
    /// Added to every address; empty for none.
    pub(crate) query: String,
    pub(crate) requires_key: bool,
    pub(crate) key_header: KeyHeader,
    /// Sent with every request.
    pub(crate) headers: HeaderMap,
    pub(crate) proxy: ProxySettings,
    /// Name resolution, connection, proxy and TLS together.
    pub(crate) connect_timeout: Duration,
    /// From the request's last byte to the head of the answer.
    pub(crate) first_byte_timeout: Duration,
    /// Between two parts of an answer.
    pub(crate) stall_timeout: Duration,
}

/// Where the key goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyHeader {
    /// `Authorization: Bearer …`
    Authorization,
    /// A header of its own, without a scheme.
    Bare(HeaderName),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error(
        "no certificate can be read from what `SSL_CERT_FILE` and `SSL_CERT_DIR` name: mend or unset them"
    )]
    NoAuthority,
}

/// A client of one provider. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub(crate) struct Upstream {
    http: Client<Connector, Outgoing>,
    settings: Arc<UpstreamSettings>,
    route: Arc<Route>,
}

impl Upstream {
    /// Reads the environment's proxies, and the authorities that TLS trusts.
    pub(crate) fn new(settings: UpstreamSettings) -> Result<Upstream, SetupError> {
        let variable = |name: &str| std::env::var(name).ok();
        let route = proxy::route(&settings.base_url, &settings.proxy, variable);
        let is_https = |address: &Uri| address.scheme() == Some(&Scheme::HTTPS);
        let tls = match is_https(&settings.base_url) || route.proxy().is_some_and(is_https) {
            true => trust::tls()?,
            false => trust::nobody(),
        };
        let connector = Connector::new(route.clone(), tls, settings.connect_timeout);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_IDLE_PER_HOST_MAX)
            .build(connector);
        Ok(Upstream {
            http,
            settings: Arc::new(settings),
            route: Arc::new(route),
        })
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
        self.authorize(&mut head.headers, &key)?;
        let answer = self.exchange(Request::from_parts(head, body)).await?;
        let Some((mut head, body)) = again else {
            return Ok(answer);
        };
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let key = credential.refreshed().await.map_err(UpstreamError::Key)?;
        self.authorize(&mut head.headers, &key)?;
        self.exchange(Request::from_parts(head, body)).await
    }

    /// Whether requests carry the session's key.
    pub(crate) fn requires_key(&self) -> bool {
        self.settings.requires_key
    }

    fn address(&self, path: &Uri) -> Uri {
        let base = &self.settings.base_url;
        let below = path.path_and_query().map_or("", |path| path.as_str());
        let mut path = format!("{}{below}", base.path().trim_end_matches('/'));
        if !self.settings.query.is_empty() {
            path.push(if below.contains('?') { '&' } else { '?' });
            path.push_str(&self.settings.query);
        }
        let mut parts = base.clone().into_parts();
        parts.path_and_query = Some(
            path.parse()
                .expect("a path behind a path, each of them parsed before, and an encoded query"),
        );
        Uri::from_parts(parts).expect("the base URL has scheme and host")
    }

    fn prepare(&self, headers: &mut HeaderMap) {
        for not_ours in [AUTHORIZATION, PROXY_AUTHORIZATION, HOST, CONNECTION] {
            headers.remove(not_ours);
        }
        if let KeyHeader::Bare(name) = &self.settings.key_header {
            headers.remove(name);
        }
        headers.entry(USER_AGENT).or_insert(AGENT);
        for (name, value) in &self.settings.headers {
            headers.insert(name, value.clone());
        }
        if let Route::Forward {
            authorization: Some(authorization),
            ..
        } = &*self.route
        {
            headers.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
    }

    fn authorize(&self, headers: &mut HeaderMap, key: &Key) -> Result<(), UpstreamError> {
        match &self.settings.key_header {
            KeyHeader::Authorization => {
                headers.insert(AUTHORIZATION, key.bearer().map_err(UpstreamError::Key)?)
            }
            KeyHeader::Bare(name) => headers.insert(name, key.bare().map_err(UpstreamError::Key)?),
        };
        Ok(())
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
            let error = UpstreamError::of(
                &error,
                &self.settings.base_url,
                self.route.proxy(),
                self.settings.connect_timeout,
            );
            tracing::warn!(%error, "the provider was not reached");
            error
        })?;
        Ok(answer.map(|body| Answer::new(body, self.settings.stall_timeout)))
    }
}
