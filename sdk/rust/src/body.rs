//! The body of a request, pulled from the kernel as the module reads.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use midplane_abi::status;

use crate::boundary::host;
use crate::session::Exchange;

/// How much is asked of the kernel at once: as much as it keeps of a body.
const CHUNK_LEN: usize = 64 * 1024;

/// The kernel stops reading the client's socket while the module does not read this.
pub(crate) struct Incoming {
    exchange: Arc<Exchange>,
    /// Bytes still to come, where the client said so.
    remaining: Option<u64>,
    ended: bool,
}

/// Why a body ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IncomingError {
    TooLarge,
    Disconnected,
    RequestOver,
}

impl std::fmt::Display for IncomingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            IncomingError::TooLarge => {
                "the request body is larger than the kernel allows for this route"
            }
            IncomingError::Disconnected => "the client stopped sending in the middle of the body",
            IncomingError::RequestOver => "the request is over",
        })
    }
}

impl std::error::Error for IncomingError {}

impl Incoming {
    pub(crate) fn new(exchange: Arc<Exchange>, content_length: Option<u64>) -> Incoming {
        Incoming {
            exchange,
            remaining: content_length,
            ended: false,
        }
    }

    fn end(&mut self, error: IncomingError) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(error)))
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = IncomingError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let capacity = self.remaining.map_or(CHUNK_LEN, |left| {
            CHUNK_LEN
                .min(usize::try_from(left).unwrap_or(CHUNK_LEN))
                .max(1)
        });
        // Before the question, so that an answer that comes in between is not missed.
        self.exchange.park(cx.waker());
        match host::body_read(self.exchange.request, capacity) {
            Ok(chunk) => {
                self.remaining = self
                    .remaining
                    .map(|left| left.saturating_sub(chunk.len() as u64));
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Err(status::PENDING) => Poll::Pending,
            Err(status::END) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Err(status::TOO_LARGE) => self.end(IncomingError::TooLarge),
            Err(status::DISCONNECTED) => self.end(IncomingError::Disconnected),
            Err(_) => self.end(IncomingError::RequestOver),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.remaining == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
