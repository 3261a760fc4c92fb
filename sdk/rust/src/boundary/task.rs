//! One task: a request from its handler's first poll to its body's last byte or its WebSocket's end, or a session being
//! checked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::Body as _;
use midplane_abi::{Status, status, why};

use super::host;
use crate::error::{Error, Result};
use crate::session::Exchange;
use crate::ws::{SocketFuture, Upgrade};

/// How much of a body one poll produces before others get their turn: inline handlers have no cooperative budget. As much
/// as the kernel's window, so that a fast module fills it in one poll.
const BYTES_PER_POLL: usize = 64 * 1024;
/// The same for many small frames.
const FRAMES_PER_POLL: usize = 128;

pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<Response<Body>>> + Send>>;
pub(crate) type CheckFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

pub(crate) struct Task {
    exchange: Arc<Exchange>,
    stage: Stage,
}

enum Stage {
    Checking(CheckFuture),
    Handling(HandlerFuture),
    Streaming(Body),
    /// `None` when the future has ended; a socket that it gave away may be open all the same.
    Socket(Option<SocketFuture>),
    Done,
}

/// How far an answer is once its head has been handed over.
enum Started {
    Whole,
    Streaming(Body),
    /// As much is written as the kernel holds for the client.
    Full(Body),
    Socket(SocketFuture),
}

impl Task {
    pub(crate) fn handle(exchange: Arc<Exchange>, handler: HandlerFuture) -> Task {
        Task {
            exchange,
            stage: Stage::Handling(handler),
        }
    }

    pub(crate) fn check(exchange: Arc<Exchange>, check: CheckFuture) -> Task {
        Task {
            exchange,
            stage: Stage::Checking(check),
        }
    }

    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Goes on as far as it can without waiting.
    pub(crate) fn poll(&mut self, reason: u32) -> Status {
        if reason == why::CANCEL {
            self.exchange.cancel();
            self.exchange.unpark();
            // Dropping the future is how Rust cancels.
            self.stage = Stage::Done;
            return status::OK;
        }
        self.exchange.unpark();
        let waker = host::waker(self.exchange.request);
        let mut cx = Context::from_waker(&waker);
        match self.advance(&mut cx) {
            Poll::Pending => status::PENDING,
            Poll::Ready(Ok(())) => {
                self.stage = Stage::Done;
                status::OK
            }
            Poll::Ready(Err(error)) => {
                self.stage = Stage::Done;
                host::fail(&error.to_string());
                status::FAILED
            }
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            match &mut self.stage {
                Stage::Checking(check) => return check.as_mut().poll(cx),
                Stage::Handling(handler) => {
                    let response = std::task::ready!(handler.as_mut().poll(cx))?;
                    match self.start(response, cx)? {
                        Started::Whole => return Poll::Ready(Ok(())),
                        Started::Streaming(body) => self.stage = Stage::Streaming(body),
                        Started::Socket(serve) => self.stage = Stage::Socket(Some(serve)),
                        Started::Full(body) => {
                            self.stage = Stage::Streaming(body);
                            // The kernel polls again when the client has read.
                            return Poll::Pending;
                        }
                    }
                }
                Stage::Streaming(body) => return self::stream(&self.exchange, body, cx),
                Stage::Socket(serve) => {
                    if let Some(serving) = serve {
                        std::task::ready!(serving.as_mut().poll(cx));
                        *serve = None;
                    }
                    // Whoever drops the socket wakes this task.
                    if self.exchange.has_socket() {
                        return Poll::Pending;
                    }
                    return Poll::Ready(Ok(()));
                }
                Stage::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Hands the head over, with the body if it is already whole. Otherwise gives the body back, of which the first frame
    /// may have been written.
    fn start(&self, response: Response<Body>, cx: &mut Context<'_>) -> Result<Started> {
        let (head, mut body) = response.into_parts();
        let request = self.exchange.request;
        let code = head.status.as_u16();
        if let Some(opening) = head.extensions.get::<Upgrade>().and_then(Upgrade::take) {
            let protocol = opening.protocol.as_ref().map(HeaderValue::as_bytes);
            let taken = host::ws_accept(request, protocol, &head.headers, opening.message_size);
            accepted(taken)?;
            return Ok(Started::Socket((opening.serve)()));
        }
        match next_data(&mut body, cx) {
            Poll::Ready(None) => {
                accepted(host::respond(request, code, &head.headers, &[]))?;
                Ok(Started::Whole)
            }
            Poll::Ready(Some(Ok(bytes))) if body.is_end_stream() => {
                accepted(host::respond(request, code, &head.headers, &bytes))?;
                Ok(Started::Whole)
            }
            Poll::Ready(Some(Ok(bytes))) => {
                accepted(host::respond_start(request, code, &head.headers))?;
                Ok(match host::body_write(request, &bytes) {
                    status::FULL => Started::Full(body),
                    _ => Started::Streaming(body),
                })
            }
            Poll::Ready(Some(Err(error))) => Err(error),
            Poll::Pending => {
                accepted(host::respond_start(request, code, &head.headers))?;
                Ok(Started::Streaming(body))
            }
        }
    }
}

/// Says what is wrong with a head that the kernel refuses; a request that is over is no fault of the handler's.
fn accepted(answer: Status) -> Result<()> {
    if answer == status::INVALID {
        return Err(Error::msg(
            "the kernel refuses the head of the response: its status is 1xx, or it has more than 100 header fields",
        ));
    }
    Ok(())
}

fn stream(exchange: &Exchange, body: &mut Body, cx: &mut Context<'_>) -> Poll<Result<()>> {
    let request = exchange.request;
    let mut bytes_left = BYTES_PER_POLL;
    for _ in 0..FRAMES_PER_POLL {
        match std::task::ready!(next_data(body, cx)) {
            None => {
                host::body_end(request);
                return Poll::Ready(Ok(()));
            }
            Some(Err(error)) => return Poll::Ready(Err(error)),
            Some(Ok(bytes)) => match host::body_write(request, &bytes) {
                status::OK if bytes.len() < bytes_left => bytes_left -= bytes.len(),
                // The kernel polls again when the client has read.
                status::FULL => return Poll::Pending,
                status::OK => break,
                // The request is over; the kernel drops the task.
                _ => return Poll::Ready(Ok(())),
            },
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// The next bytes of the body; trailers are dropped.
fn next_data(body: &mut Body, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
    loop {
        let frame = std::task::ready!(Pin::new(&mut *body).poll_frame(cx));
        match frame {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(Error::from(error)))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(bytes))),
                Err(_trailers) => {}
            },
        }
    }
}
