//! WebSockets, in axum's shape: axum's own need hyper's upgrade object, which is the kernel's.
//!
//! ```
//! use axum::{Router, response::Response, routing::get};
//! use midplane_sdk::ws::{Message, WebSocket, WebSocketUpgrade};
//! use midplane_sdk::{Context, Result};
//!
//! async fn echo(upgrade: WebSocketUpgrade) -> Response {
//!     upgrade.on_upgrade(|mut socket: WebSocket| async move {
//!         while let Some(Ok(message)) = socket.recv().await {
//!             if let Message::Close(_) = message {
//!                 return;
//!             }
//!             if socket.send(message).await.is_err() {
//!                 return;
//!             }
//!         }
//!     })
//! }
//!
//! // #[midplane_sdk::module(name = "echo")]
//! async fn module(_ctx: Context) -> Result<Router> {
//!     Ok(Router::new().route("/echo", get(echo)))
//! }
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! // In a unit test, without a kernel:
//! use midplane_sdk::testing;
//!
//! let module = testing::start(module, serde_json::json!({})).await?;
//! let request = http::Request::get("/echo").body(axum::body::Body::empty())?;
//! let mut socket = module.websocket(Some(testing::session("ada")), request).await?;
//! socket.send(Message::text("hello")).await;
//! assert_eq!(socket.recv().await, Some(Message::text("hello")));
//! # Ok::<(), midplane_sdk::Error>(())
//! # })?;
//! # Ok::<(), midplane_sdk::Error>(())
//! ```
//!
//! The kernel has checked the handshake, answers pings and sends its own, reassembles messages, and closes with the right code
//! what breaks the protocol or a limit. A socket keeps back-pressure both ways: what a handler does not receive stays with the
//! client, and [`WebSocket::send`] waits while the client does not read.
//!
//! The handler's future runs as the request's own task, inline on a kernel worker, and may be moved to the module's runtime with
//! `tokio::spawn`. When it has ended and the socket was dropped, the kernel closes with 1000. It is dropped when the session was
//! revoked, and a moment after the socket was closed.
//!
//! When the module is reloaded or the kernel ends, handlers learn it from [`Context::draining`](crate::Context::draining), may
//! send a last word within a quarter of a second, and then receive [`Message::Close`] with [`close_code::RESTART`].

mod upgrade;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_sink::Sink;
use http::HeaderValue;
use midplane_abi::{message, status};

pub(crate) use upgrade::{Handshake, SocketFuture, Upgrade};
pub use upgrade::{HandshakeRequired, WebSocketUpgrade};

use crate::boundary::host;
use crate::error::{Error, Result};
use crate::session::Exchange;

/// Room for most messages at the first try.
const RECEIVE_LEN: usize = 1024;

/// Codes of [`CloseFrame::code`] (RFC 6455 section 7.4.1 and the registry of section 11.7).
pub mod close_code {
    /// What the socket was for is done.
    pub const NORMAL: u16 = 1000;
    /// One side goes away.
    pub const AWAY: u16 = 1001;
    pub const PROTOCOL: u16 = 1002;
    /// A message of a kind that is not taken.
    pub const UNSUPPORTED: u16 = 1003;
    /// The client left without a close frame. Never sent.
    pub const ABNORMAL: u16 = 1006;
    /// A message whose bytes do not fit its kind.
    pub const INVALID: u16 = 1007;
    /// A limit, or a session that has ended.
    pub const POLICY: u16 = 1008;
    /// A message that is too large.
    pub const SIZE: u16 = 1009;
    pub const EXTENSION: u16 = 1010;
    /// The module failed.
    pub const ERROR: u16 = 1011;
    /// The module was replaced, or the kernel is shutting down: connect again.
    pub const RESTART: u16 = 1012;
    pub const AGAIN: u16 = 1013;
}

/// A message. Pings and pongs are the kernel's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// The socket is closed: the last that is received, and what ends it when it is sent. Without a frame none was received,
    /// and 1000 is sent.
    Close(Option<CloseFrame>),
}

/// Why a socket is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// One of [`close_code`], or from 3000 to 4999.
    pub code: u16,
    /// For a person; up to 123 bytes.
    pub reason: Utf8Bytes,
}

/// Text that shares its bytes when it is cloned.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Utf8Bytes(Bytes);

impl Utf8Bytes {
    pub const fn from_static(text: &'static str) -> Utf8Bytes {
        Utf8Bytes(Bytes::from_static(text.as_bytes()))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when it was made")
    }
}

impl std::ops::Deref for Utf8Bytes {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl std::fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

impl std::fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

impl From<String> for Utf8Bytes {
    fn from(text: String) -> Utf8Bytes {
        Utf8Bytes(text.into())
    }
}

impl From<&str> for Utf8Bytes {
    fn from(text: &str) -> Utf8Bytes {
        Utf8Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<Utf8Bytes> for Bytes {
    fn from(text: Utf8Bytes) -> Bytes {
        text.0
    }
}

impl TryFrom<Bytes> for Utf8Bytes {
    type Error = std::str::Utf8Error;
    fn try_from(bytes: Bytes) -> std::result::Result<Utf8Bytes, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Utf8Bytes(bytes))
    }
}

impl PartialEq<str> for Utf8Bytes {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Utf8Bytes {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl Message {
    pub fn text(text: impl Into<Utf8Bytes>) -> Message {
        Message::Text(text.into())
    }

    pub fn binary(bytes: impl Into<Bytes>) -> Message {
        Message::Binary(bytes.into())
    }

    /// Its bytes; the reason, if it closes.
    pub fn into_data(self) -> Bytes {
        match self {
            Message::Text(text) => text.into(),
            Message::Binary(bytes) => bytes,
            Message::Close(frame) => frame.map(|frame| frame.reason.into()).unwrap_or_default(),
        }
    }

    /// Its text, if it is that.
    pub fn to_text(&self) -> Option<&str> {
        match self {
            Message::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// An open WebSocket: a [`Stream`] and a [`Sink`] of messages, so that `split()` of the crate futures works, too.
#[derive(Debug)]
pub struct WebSocket {
    exchange: Arc<Exchange>,
    protocol: Option<HeaderValue>,
    buffer: BytesMut,
    /// What the kernel had no room for yet.
    unsent: Option<Message>,
    /// The end was received.
    ended: bool,
}

impl WebSocket {
    pub(crate) fn new(exchange: Arc<Exchange>, protocol: Option<HeaderValue>) -> WebSocket {
        exchange.add_socket();
        WebSocket {
            exchange,
            protocol,
            buffer: BytesMut::new(),
            unsent: None,
            ended: false,
        }
    }

    /// The next message; [`Message::Close`] is the last, and `None` comes behind it. Cancel-safe.
    ///
    /// The result is for the sake of axum's shape: there is no error, since what the client does wrong closes the socket, with
    /// a code that says so.
    pub async fn recv(&mut self) -> Option<Result<Message>> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Sends a message; waits while the client does not read.
    ///
    /// # Errors
    /// When the socket is closed, the message is over the kernel's limit (`[limits] websocket_message_bytes`), or a close
    /// frame is not as it must be.
    pub async fn send(&mut self, message: Message) -> Result<()> {
        std::future::poll_fn(|cx| self.poll_unsent(cx)).await?;
        self.unsent = Some(message);
        std::future::poll_fn(|cx| self.poll_unsent(cx)).await
    }

    /// The protocol that was agreed on.
    pub fn protocol(&self) -> Option<&HeaderValue> {
        self.protocol.as_ref()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // Before the question, so that an answer that comes in between is not missed.
        self.exchange.park(cx.waker());
        self.buffer.reserve(RECEIVE_LEN);
        let received = host::ws_recv(self.exchange.request, &mut self.buffer);
        let bytes = self.buffer.split().freeze();
        Poll::Ready(match received {
            Ok(message::TEXT) => {
                let text = Utf8Bytes::try_from(bytes);
                Some(Ok(Message::Text(text.expect("the kernel has checked it"))))
            }
            Ok(_binary) => Some(Ok(Message::Binary(bytes))),
            Err((status::PENDING, _)) => return Poll::Pending,
            Err((status::END, code)) => {
                self.ended = true;
                let frame = (code != NO_CODE).then(|| CloseFrame {
                    code: u16::try_from(code).unwrap_or(close_code::ABNORMAL),
                    reason: Utf8Bytes::try_from(bytes).unwrap_or_default(),
                });
                Some(Ok(Message::Close(frame)))
            }
            Err(_over) => {
                self.ended = true;
                None
            }
        })
    }

    /// Hands over what could not be; ready when nothing is left.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(message) = &self.unsent else {
            return Poll::Ready(Ok(()));
        };
        let request = self.exchange.request;
        // As above.
        self.exchange.park(cx.waker());
        let answer = match message {
            Message::Text(text) => host::ws_send(request, message::TEXT, text.as_bytes()),
            Message::Binary(bytes) => host::ws_send(request, message::BINARY, bytes),
            Message::Close(None) => host::ws_close(request, close_code::NORMAL, ""),
            Message::Close(Some(frame)) => host::ws_close(request, frame.code, &frame.reason),
        };
        if answer == status::FULL {
            return Poll::Pending;
        }
        self.unsent = None;
        Poll::Ready(match answer {
            status::OK => Ok(()),
            status::TOO_LARGE => Err(Error::msg(
                "the message is over the kernel's limit: send less at once, or raise `websocket_message_bytes` in [limits]",
            )),
            status::INVALID => Err(Error::msg(
                "the close frame has a code that must not be sent, or a reason of more than 123 bytes",
            )),
            _ => Err(Error::msg("the socket is closed")),
        })
    }
}

/// What the ABI says where no code was given.
const NO_CODE: u32 = 1005;

impl Drop for WebSocket {
    /// Its task may be done with that.
    fn drop(&mut self) {
        self.exchange.drop_socket();
    }
}

impl Stream for WebSocket {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Message>>> {
        self.poll_recv(cx)
    }
}

impl Sink<Message> for WebSocket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_unsent(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<()> {
        self.unsent = Some(message);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_unsent(cx)
    }

    /// Closes with 1000, unless it is closed already.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_unsent(cx))?;
        host::ws_close(self.exchange.request, close_code::NORMAL, "");
        Poll::Ready(Ok(()))
    }
}
