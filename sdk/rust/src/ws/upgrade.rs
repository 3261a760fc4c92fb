//! From a handshake to an open socket.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::header::{SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION};
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::WebSocket;
use crate::problem::Problem;
use crate::session::Exchange;

/// Takes a handshake; an axum extractor. Refuses with 426 what is none; use `Option<WebSocketUpgrade>` where both may come.
///
/// A handler that answers something else than [`WebSocketUpgrade::on_upgrade`]'s response declines the handshake with that.
#[derive(Clone, Debug)]
pub struct WebSocketUpgrade {
    exchange: Arc<Exchange>,
    offered: Vec<HeaderValue>,
    protocol: Option<HeaderValue>,
    message_size: usize,
}

impl WebSocketUpgrade {
    /// Agrees on the first of the protocols that the client offers which is among these, if there is one.
    #[must_use]
    pub fn protocols<I>(mut self, known: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let known: Vec<I::Item> = known.into_iter().collect();
        self.protocol = self
            .offered
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .find(|offered| known.iter().any(|known| known.as_ref() == *offered))
            .and_then(|protocol| HeaderValue::from_str(protocol).ok());
        self
    }

    /// The protocol that [`WebSocketUpgrade::protocols`] agreed on.
    pub fn selected_protocol(&self) -> Option<&HeaderValue> {
        self.protocol.as_ref()
    }

    /// Bytes that a message of the client's may have; more closes the socket with 1009. The kernel has a limit of its own
    /// (`[limits] websocket_message_bytes`), which stays the highest.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.message_size = bytes.max(1);
        self
    }

    /// The response that opens the socket. `serve` is called with it when the kernel has taken the response.
    pub fn on_upgrade<F, Fut>(self, serve: F) -> Response
    where
        F: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let WebSocketUpgrade {
            exchange,
            protocol,
            message_size,
            ..
        } = self;
        let socket = WebSocket::new(exchange, protocol.clone());
        let upgrade = Upgrade(Arc::new(Mutex::new(Some(Opening {
            protocol,
            message_size,
            serve: Box::new(move || Box::pin(serve(socket))),
        }))));
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        response.extensions_mut().insert(upgrade);
        response
    }
}

/// An extension of requests that are handshakes.
#[derive(Clone)]
pub(crate) struct Handshake(pub(crate) Arc<Exchange>);

/// An extension of the response that takes one. Extensions can be cloned; the socket is there once.
#[derive(Clone)]
pub(crate) struct Upgrade(Arc<Mutex<Option<Opening>>>);

pub(crate) type SocketFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A socket that is about to be opened.
pub(crate) struct Opening {
    pub(crate) protocol: Option<HeaderValue>,
    /// 0: the kernel's own limit.
    pub(crate) message_size: usize,
    pub(crate) serve: Box<dyn FnOnce() -> SocketFuture + Send>,
}

impl Upgrade {
    pub(crate) fn take(&self) -> Option<Opening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The answer to a request that is no handshake: 426.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HandshakeRequired;

impl IntoResponse for HandshakeRequired {
    fn into_response(self) -> Response {
        let problem = Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade_required",
            "this route is a WebSocket: open it with a WebSocket client (RFC 6455)",
        );
        // The kernel adds `Upgrade`, which belongs to the connection.
        let mut response = problem.into_response();
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        response
    }
}

impl<S: Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = HandshakeRequired;

    async fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> Result<WebSocketUpgrade, HandshakeRequired> {
        upgrade(parts).ok_or(HandshakeRequired)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> Result<Option<WebSocketUpgrade>, Self::Rejection> {
        Ok(upgrade(parts))
    }
}

fn upgrade(parts: &Parts) -> Option<WebSocketUpgrade> {
    let Handshake(exchange) = parts.extensions.get::<Handshake>()?;
    let offered = parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    Some(WebSocketUpgrade {
        exchange: Arc::clone(exchange),
        offered: offered.iter().cloned().collect(),
        protocol: None,
        message_size: 0,
    })
}
