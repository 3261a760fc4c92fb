//! Opens connections to the provider, straight or through a proxy, in clear or in TLS, within one limit of time.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use rustls::ClientConfig;
use tower::Service;

use super::leg::Leg;
use super::proxy::Route;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Connects to the provider.
#[derive(Clone)]
pub(super) struct Connector {
    provider: HttpsConnector<Way>,
    limit: Duration,
}

/// Connects to the provider's address, as far as what lies below TLS: there, or through the proxy.
#[derive(Clone)]
struct Way {
    /// To the first machine on the way.
    first: HttpsConnector<HttpConnector>,
    route: Route,
}

/// What a connection failed of that is not the network's own error.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("no connection within the connect timeout")]
    TimedOut,
    #[error("no connection to the proxy")]
    ToProxy(#[source] BoxError),
    /// Its words, or its silence, are not repeated.
    #[error("the proxy did not let the connection through")]
    RefusedByProxy,
}

impl Connector {
    pub(super) fn new(route: Route, tls: ClientConfig, limit: Duration) -> Connector {
        let mut tcp = HttpConnector::new();
        // It divides this among the addresses of a name.
        tcp.set_connect_timeout(Some(limit));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let first = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let provider = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Way { first, route });
        Connector { provider, limit }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Leg>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.provider.poll_ready(context)
    }

    fn call(&mut self, provider: Uri) -> Self::Future {
        let (connecting, limit) = (self.provider.call(provider), self.limit);
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(ConnectError::TimedOut.into()),
            }
        })
    }
}

impl Service<Uri> for Way {
    type Response = Leg;
    type Error = BoxError;
    type Future = Connecting<Leg>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.first.poll_ready(context)
    }

    fn call(&mut self, provider: Uri) -> Self::Future {
        match self.route.clone() {
            Route::Straight => {
                // Only as far as TCP: TLS with the provider is made above this.
                let connecting = self.first.call(in_clear(&provider));
                Box::pin(async move { Ok(Leg::new(connecting.await?)) })
            }
            Route::Forward { proxy, .. } => {
                let connecting = self.first.call(proxy);
                Box::pin(async move {
                    let connected = connecting.await.map_err(ConnectError::ToProxy)?;
                    Ok(Leg::to_forwarding_proxy(connected))
                })
            }
            Route::Tunnel {
                proxy,
                authorization,
            } => {
                let connecting = self.first.call(proxy.clone());
                Box::pin(async move {
                    let connected = connecting.await.map_err(ConnectError::ToProxy)?;
                    let tunnel = Tunnel::new(proxy, given(Leg::new(connected)));
                    let mut tunnel = match authorization {
                        Some(authorization) => tunnel.with_auth(authorization),
                        None => tunnel,
                    };
                    let tunnelled = tunnel.call(provider).await;
                    tunnelled.map_err(|_| ConnectError::RefusedByProxy.into())
                })
            }
            Route::Socks {
                proxy,
                login,
                local_dns,
            } => {
                let connecting = self.first.call(proxy.clone());
                Box::pin(async move {
                    let connected = connecting.await.map_err(ConnectError::ToProxy)?;
                    let socks = SocksV5::new(proxy, given(Leg::new(connected)));
                    let mut socks = match login {
                        Some((user, password)) => socks.with_auth(user, password),
                        None => socks,
                    }
                    .local_dns(local_dns);
                    let connected = socks.call(with_port(&provider)).await;
                    connected.map_err(|_| ConnectError::RefusedByProxy.into())
                })
            }
        }
    }
}

/// A connection that is there already, as a connector: the handshakes with a proxy want one, once.
fn given(
    leg: Leg,
) -> impl Service<
    Uri,
    Response = Leg,
    Error = Infallible,
    Future: Future<Output = Result<Leg, Infallible>> + Send + 'static,
> + Send
+ 'static {
    let mut leg = Some(leg);
    tower::service_fn(move |_proxy: Uri| {
        std::future::ready(Ok(leg.take().expect("a handshake has one connection")))
    })
}

fn in_clear(provider: &Uri) -> Uri {
    let with_port = with_port(provider).into_parts();
    let mut parts = with_port;
    parts.scheme = Some(http::uri::Scheme::HTTP);
    Uri::from_parts(parts).expect("only the scheme differs")
}

/// The address with the port that its scheme stands for.
fn with_port(provider: &Uri) -> Uri {
    if provider.port_u16().is_some() {
        return provider.clone();
    }
    let port = if provider.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let host = provider.host().unwrap_or_default();
    let mut parts = provider.clone().into_parts();
    let authority = format!("{host}:{port}").parse();
    parts.authority = Some(authority.expect("a host, and a port"));
    Uri::from_parts(parts).expect("only the port was added")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_scheme_s() {
        let check = |provider: &'static str, port: &str, clear: &str| {
            let provider = Uri::from_static(provider);
            assert_eq!(with_port(&provider), port);
            assert_eq!(in_clear(&provider), clear);
        };
        check("https://a/v1", "https://a:443/v1", "http://a:443/v1");
        check("http://a/", "http://a:80/", "http://a:80/");
        check("https://[::1]:8/", "https://[::1]:8/", "http://[::1]:8/");
        check("https://[::1]/", "https://[::1]:443/", "http://[::1]:443/");
    }
}
