//! The client's end of a WebSocket: frames by tungstenite over hyper's upgraded connection, as messages and as reasons to end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{self, CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};

use super::ration::Rationed;
use crate::modules::exchange::socket::{Close, Kind, Message};

/// How long a client may take to answer a close frame, and to read the last of what came before it: both ends are on one
/// machine (RFC 6455 section 7.1.1 leaves the time open).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// What is read at once. Small, since it is kept for every open socket.
const READ_LEN: usize = 8 * 1024;
/// Small messages leave together up to this.
const WRITE_LEN: usize = 8 * 1024;
/// What may wait beside a message for a client that does not read: control frames, and messages that leave together.
const UNSENT_LEN_MAX: usize = 64 * 1024;
/// No code was given, or the client vanished; neither is ever sent (RFC 6455 section 7.4.1).
const NO_CODE: u16 = 1005;
const ABNORMAL: u16 = 1006;

/// The client's end.
pub(super) struct Link {
    frames: WebSocketStream<Rationed<TokioIo<Upgraded>>>,
    message_len_max: usize,
}

/// What came from the client.
pub(super) enum Heard {
    Message(Message),
    /// A ping, which is answered already, or a pong.
    Control,
    /// Its close frame, whose answer is on its way.
    Closed(Close),
    /// Nothing will come any more.
    Nothing(Close),
    /// It broke the protocol or a limit.
    Violation(Close),
}

/// How the connection ends.
#[derive(Debug)]
pub(super) enum LinkEnd {
    /// There is no connection any more.
    Gone,
    /// The client has closed the socket: it gets its answer.
    Answer,
    /// A close frame, and its answer.
    Close(Close),
    /// The same after something that cannot be read on from.
    Fail(Close),
}

/// The connection does not take any more.
#[derive(Debug)]
pub(super) struct Broken;

/// What the module is told of a client that left without a word.
pub(super) fn vanished() -> Close {
    Close::new(ABNORMAL, "")
}

impl Link {
    /// Takes messages of up to `message_len_max` bytes, and sends messages of up to `sent_len_max`.
    pub(super) async fn new(
        upgraded: Upgraded,
        message_len_max: usize,
        sent_len_max: usize,
    ) -> Link {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_LEN)
            .write_buffer_size(WRITE_LEN)
            // Over that, of the pongs that wait only the last is kept (RFC 6455 section 5.5.3).
            .max_write_buffer_size(sent_len_max + UNSENT_LEN_MAX)
            // A message may come in one frame.
            .max_frame_size(Some(message_len_max))
            .max_message_size(Some(message_len_max));
        let io = Rationed::new(TokioIo::new(upgraded));
        Link {
            frames: WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await,
            message_len_max,
        }
    }

    /// Whether another message may be sent: none waits for the client to read.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        told(Pin::new(&mut self.frames).poll_ready(cx))
    }

    pub(super) fn start_send(&mut self, message: Message) -> Result<(), Broken> {
        self.start(into_frame(message))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        told(Pin::new(&mut self.frames).poll_flush(cx))
    }

    /// Sends a ping, unless the client does not read: then the connection's own time-out for that runs. Whether it was sent.
    pub(super) fn ping(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        if self.poll_flush(cx)?.is_pending() || self.poll_ready(cx)?.is_pending() {
            return Ok(false);
        }
        self.start(protocol::Message::Ping(Bytes::new()))?;
        let _still_flushing = self.poll_flush(cx)?;
        Ok(true)
    }

    fn start(&mut self, message: protocol::Message) -> Result<(), Broken> {
        Pin::new(&mut self.frames)
            .start_send(message)
            .map_err(broken)
    }

    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        let came = ready!(Pin::new(&mut self.frames).poll_next(cx));
        Poll::Ready(match came {
            None => Heard::Nothing(vanished()),
            Some(Ok(protocol::Message::Text(text))) => Heard::Message(Message {
                kind: Kind::Text,
                bytes: text.into(),
            }),
            Some(Ok(protocol::Message::Binary(bytes))) => Heard::Message(Message {
                kind: Kind::Binary,
                bytes,
            }),
            Some(Ok(protocol::Message::Close(frame))) => Heard::Closed(from_frame(frame)),
            Some(Ok(_ping_or_pong)) => Heard::Control,
            Some(Err(error)) => self.judge(error),
        })
    }

    /// What an error of tungstenite's means (RFC 6455 section 7.4.1).
    fn judge(&self, error: Error) -> Heard {
        match error {
            Error::Capacity(_) => Heard::Violation(Close::because(
                1009,
                format!("a message may have up to {} bytes", self.message_len_max),
            )),
            Error::Utf8(_) => Heard::Violation(Close::new(1007, "text that is not UTF-8")),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Heard::Nothing(vanished())
            }
            Error::Protocol(error) => Heard::Violation(Close::because(1002, error.to_string())),
            error => {
                tracing::debug!(%error, "a WebSocket's connection broke");
                Heard::Nothing(vanished())
            }
        }
    }

    /// Ends the connection in good order; what is `unsent` goes first. A client that does not read is ended by the
    /// connection's own time-out for that, one that does not answer by [`CLOSE_TIMEOUT`].
    pub(super) async fn close(mut self, end: LinkEnd, unsent: Vec<Message>) {
        let ended = match end {
            LinkEnd::Gone => return,
            LinkEnd::Answer => self.answer().await,
            LinkEnd::Close(close) => self.say(close, unsent, false).await,
            LinkEnd::Fail(close) => self.say(close, unsent, true).await,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a WebSocket could not be closed in good order");
        }
    }

    /// Sends the answer to the client's close frame.
    async fn answer(&mut self) -> Result<(), Error> {
        self.frames.flush().await?;
        Ok(self.frames.get_mut().shutdown().await?)
    }

    async fn say(
        &mut self,
        close: Close,
        unsent: Vec<Message>,
        garbled: bool,
    ) -> Result<(), Error> {
        for message in unsent {
            self.frames.feed(into_frame(message)).await?;
        }
        // A pong that waits would go out behind the close frame.
        self.frames.flush().await?;
        self.frames.close(Some(into_close_frame(close))).await?;
        let answered = tokio::time::timeout(CLOSE_TIMEOUT, async {
            if garbled {
                self.read_out().await
            } else {
                self.until_closed().await
            }
        });
        if answered.await.is_err() {
            tracing::debug!("a client did not answer a close frame in time");
        }
        Ok(())
    }

    /// Waits for the client's close frame; what comes before it is nobody's any more.
    async fn until_closed(&mut self) -> Result<(), Error> {
        while let Some(came) = self.frames.next().await {
            came?;
        }
        Ok(self.frames.get_mut().shutdown().await?)
    }

    /// Reads what cannot be understood until the client closes: with bytes left unread it would get a reset, which may come
    /// before it has read our close frame.
    async fn read_out(&mut self) -> Result<(), Error> {
        let io = self.frames.get_mut();
        io.shutdown().await?;
        let mut scrap = [0; READ_LEN];
        while io.read(&mut scrap).await? > 0 {}
        Ok(())
    }
}

fn told(outcome: Poll<Result<(), Error>>) -> Result<Poll<()>, Broken> {
    match outcome {
        Poll::Pending => Ok(Poll::Pending),
        Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
        Poll::Ready(Err(error)) => Err(broken(error)),
    }
}

fn broken(error: Error) -> Broken {
    tracing::debug!(%error, "a WebSocket's connection takes no more");
    Broken
}

fn into_frame(message: Message) -> protocol::Message {
    match message.kind {
        Kind::Text => protocol::Message::Text(
            Utf8Bytes::try_from(message.bytes).expect("the exchange takes no other text"),
        ),
        Kind::Binary => protocol::Message::Binary(message.bytes),
    }
}

fn into_close_frame(close: Close) -> CloseFrame {
    CloseFrame {
        code: CloseCode::from(close.code),
        reason: close.reason.into_owned().into(),
    }
}

fn from_frame(frame: Option<CloseFrame>) -> Close {
    frame.map_or(Close::new(NO_CODE, ""), |frame| {
        Close::because(frame.code.into(), frame.reason.as_str().to_owned())
    })
}
