//! An open WebSocket: polls its module's task inline, on the worker that has the connection.
//!
//! [`OpenSocket::run`] is its life: what the module puts down in the exchange goes to the client, what the client sends is put
//! down for the module, until one of them, or the kernel, ends it. Then the module has a moment to finish, while the
//! connection is closed as it should be. Nothing is read while the module's window is full, and nothing is taken from the
//! module while the client does not read: that is the whole back-pressure.

mod farewell;
mod keepalive;
mod link;
mod rate;
mod ration;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::Answer;
use super::call::{Call, Fault};
use crate::modules::exchange::socket::{Accepted, Close};
use crate::modules::generation::Generation;
use farewell::{Farewell, restart};
use keepalive::{Due, Keepalive};
use link::{Heard, Link, LinkEnd};
use rate::MessageRate;

/// How long a handler may go on to send once its generation drains. What it sends at once is enough for a last word; a quarter
/// of a second is what a hand-over may take, too.
const LAST_WORD_GRACE: Duration = Duration::from_millis(250);
/// How often messages are moved and the module is polled in a row before other requests get their turn.
const ROUNDS_MAX: u32 = 16;

/// `[limits]` of WebSockets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SocketLimits {
    pub(crate) message_len_max: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) messages_per_second: u32,
}

impl SocketLimits {
    /// Where there is no wire.
    pub(crate) const NONE: SocketLimits = SocketLimits {
        message_len_max: usize::MAX,
        idle_timeout: Duration::MAX,
        ping_interval: Duration::MAX,
        messages_per_second: u32::MAX,
    };
}

/// A request that is a valid handshake.
pub(crate) struct Handshake {
    /// For `Sec-WebSocket-Accept`.
    pub(crate) accept: HeaderValue,
    /// Values of `Sec-WebSocket-Protocol`.
    pub(crate) protocols: Vec<HeaderValue>,
    pub(crate) on_upgrade: OnUpgrade,
}

/// A WebSocket whose handshake the module has taken. Dropping it is the client leaving.
pub(crate) struct OpenSocket {
    call: Call,
    on_upgrade: OnUpgrade,
    message_len_max: usize,
    limits: SocketLimits,
}

/// The answer that opens a WebSocket.
pub(super) fn open(
    mut call: Call,
    handshake: Handshake,
    accepted: Accepted,
    limits: SocketLimits,
) -> Response<Answer> {
    let status = StatusCode::SWITCHING_PROTOCOLS;
    call.set_streaming();
    call.generation().stats.count_status(status);
    let open = OpenSocket {
        call,
        on_upgrade: handshake.on_upgrade,
        message_len_max: accepted.message_len_max,
        limits,
    };
    let mut response = Response::new(Answer::Socket(Box::new(open)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    *headers = accepted.headers;
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, handshake.accept);
    if let Some(protocol) = accepted.protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

impl OpenSocket {
    /// Serves it to its end.
    pub(crate) async fn run(self) {
        let upgraded = match self.on_upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "a connection ended before it became a WebSocket");
                return;
            }
        };
        let _counted = Counted::new(self.call.generation());
        let mut socket = Socket::new(
            Link::new(upgraded, self.message_len_max, self.limits.message_len_max).await,
            self.call,
            &self.limits,
        );
        let farewell = poll_fn(|cx| socket.poll(cx)).await;
        let Socket { link, mut call, .. } = socket;
        let unsent = call.end_socket(farewell.told, farewell.flush);
        tokio::join!(
            finish(call, farewell.grace),
            link.close(farewell.link, unsent)
        );
    }
}

/// An open one in its generation's numbers.
struct Counted(Arc<Generation>);

impl Counted {
    fn new(generation: &Arc<Generation>) -> Counted {
        generation.stats.sockets.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(generation))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.stats.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open socket between the client and the module.
struct Socket {
    link: Link,
    call: Call,
    rate: MessageRate,
    keepalive: Keepalive,
    /// Armed for what is due next; fires early when that has moved on.
    timer: Pin<Box<Sleep>>,
    /// The module has been told that its generation drains.
    quiesced: Pin<Box<WaitForCancellationFutureOwned>>,
    /// When its last word is over.
    last_word_until: Option<Instant>,
}

impl Socket {
    fn new(link: Link, call: Call, limits: &SocketLimits) -> Socket {
        let now = Instant::now();
        let keepalive = Keepalive::new(limits.ping_interval, limits.idle_timeout, now);
        let quiesced = call.generation().quiesced.clone().cancelled_owned();
        Socket {
            link,
            call,
            rate: MessageRate::new(limits.messages_per_second, now),
            timer: Box::pin(tokio::time::sleep_until(keepalive.next())),
            keepalive,
            quiesced: Box::pin(quiesced),
            last_word_until: None,
        }
    }

    /// Moves messages both ways until the socket ends.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Farewell> {
        for _ in 0..ROUNDS_MAX {
            let moved = match self.pass_both_ways(cx) {
                Ok(moved) => moved,
                Err(farewell) => return Poll::Ready(farewell),
            };
            match self.call.poll_woken(cx) {
                Some(Poll::Ready(outcome)) => return Poll::Ready(self.finished(outcome)),
                None if !moved => return self.poll_outside(cx),
                Some(Poll::Pending) | None => {}
            }
        }
        cx.waker().wake_by_ref();
        self.poll_outside(cx)
    }

    /// Moves what can be moved; whether that was anything.
    fn pass_both_ways(&mut self, cx: &mut Context<'_>) -> Result<bool, Farewell> {
        match self.pass_out(cx) {
            Ok(moved) => Ok(self.pass_in(cx)? | moved),
            // A client that has closed takes no more, and its close frame may be there to be read.
            Err(farewell) if matches!(farewell.link, LinkEnd::Gone) => {
                self.pass_in(cx).and(Err(farewell))
            }
            Err(farewell) => Err(farewell),
        }
    }

    /// Passes on what the module sends, as far as the client reads; whether that was anything.
    fn pass_out(&mut self, cx: &mut Context<'_>) -> Result<bool, Farewell> {
        let mut count = 0;
        // Not while anything waits: pongs would be in the way of a message.
        let flushed = self.link.poll_flush(cx)?.is_ready();
        while flushed && self.link.poll_ready(cx)?.is_ready() {
            let Some(message) = self.call.take_outbound() else {
                break;
            };
            self.link.start_send(message)?;
            count += 1;
        }
        if count > 0 {
            let _still_flushing = self.link.poll_flush(cx)?;
            self.keepalive.talked(Instant::now());
            let stats = &self.call.generation().stats;
            stats.messages_out.fetch_add(count, Ordering::Relaxed);
        }
        match self.call.closing() {
            Some(close) => Err(Farewell::of_module(close)),
            None => Ok(count > 0),
        }
    }

    /// Reads as much from the client as the module has room for; whether that was anything.
    fn pass_in(&mut self, cx: &mut Context<'_>) -> Result<bool, Farewell> {
        let mut count = 0;
        while self.call.has_room() {
            let Poll::Ready(heard) = self.link.poll_receive(cx) else {
                break;
            };
            let now = Instant::now();
            self.keepalive.heard(now);
            let message = match heard {
                Heard::Message(message) => Some(message),
                Heard::Control => None,
                Heard::Closed(close) => return Err(Farewell::of_client(close, LinkEnd::Answer)),
                Heard::Nothing(close) => return Err(Farewell::of_client(close, LinkEnd::Gone)),
                Heard::Violation(close) => return Err(Farewell::of_violation(close)),
            };
            if !self.rate.take(now) {
                let close = Close::new(1008, "too many messages: send fewer each second");
                return Err(Farewell::of_violation(close));
            }
            if let Some(message) = message {
                self.keepalive.talked(now);
                self.call.deliver(message);
                count += 1;
            }
        }
        if !self.call.has_room() {
            self.keepalive.excuse();
        }
        let stats = &self.call.generation().stats;
        stats.messages_in.fetch_add(count, Ordering::Relaxed);
        Ok(count > 0)
    }

    /// The module's task has ended.
    fn finished(&mut self, outcome: Result<(), Fault>) -> Farewell {
        Farewell::of_module(match outcome {
            Err(_logged) => Close::new(1011, "the module failed"),
            Ok(()) => match self.call.closing() {
                Some(close) => close,
                None if self.call.generation().quiesced.is_cancelled() => restart(),
                None => Close::new(1000, ""),
            },
        })
    }

    /// Looks at everything but the messages.
    fn poll_outside(&mut self, cx: &mut Context<'_>) -> Poll<Farewell> {
        if let Poll::Ready(end) = self.call.poll_end(cx) {
            return Poll::Ready(Farewell::of_end(end));
        }
        if self.last_word_until.is_none() && self.quiesced.as_mut().poll(cx).is_ready() {
            let until = Instant::now() + LAST_WORD_GRACE;
            self.last_word_until = Some(until);
            self.timer.as_mut().reset(until);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.last_word_until.is_some_and(|until| until <= now) {
                return Poll::Ready(Farewell::of_module(restart()));
            }
            match self.keepalive.due(now) {
                Due::Nothing => {}
                Due::Ping => match self.link.ping(cx) {
                    Ok(true) => {}
                    Ok(false) => self.keepalive.excuse(),
                    Err(broken) => return Poll::Ready(Farewell::from(broken)),
                },
                Due::Silent => {
                    let close = Close::new(1008, "no answer to a ping");
                    return Poll::Ready(Farewell::of_violation(close));
                }
                Due::Idle => {
                    let close = Close::new(1008, "no message for too long");
                    return Poll::Ready(Farewell::of_module(close));
                }
            }
            let next = self.keepalive.next();
            let next = self.last_word_until.map_or(next, |until| until.min(next));
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }
}

/// Lets the module finish with a socket that is closed; dropping the call tells it to end now.
async fn finish(mut call: Call, grace: Duration) {
    if grace.is_zero() {
        return;
    }
    let cut = call.generation().cut.clone();
    // Only waits: dropped at any moment it loses nothing.
    tokio::select! {
        _finished_or_failed = poll_fn(|cx| call.poll_finish(cx)) => {}
        () = tokio::time::sleep(grace) => {}
        () = cut.cancelled() => {}
    }
}
