//! The client's body, read as the module asks for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;

use crate::isolation::worker::LaneBody;
use crate::modules::calls::open::OpenCall;
use crate::modules::exchange::InputEnd;
use crate::stall::StallTimer;

pub(crate) struct Upload {
    pub(crate) body: RequestBody,
    /// Of the whole body, in bytes.
    pub(crate) limit: u64,
    pub(crate) left: u64,
    pub(crate) stall: StallTimer,
}

/// Where a body comes from.
pub(crate) enum RequestBody {
    Client(Incoming),
    /// The kernel, in a module process.
    Lane(LaneBody),
    /// Another module, whose call it is.
    Module(Arc<OpenCall>),
}

impl Upload {
    pub(crate) fn new(body: RequestBody, limit: u64) -> Upload {
        Upload {
            body,
            limit,
            left: limit,
            stall: StallTimer::default(),
        }
    }
}

impl RequestBody {
    /// The next bytes, or why there are no more.
    pub(super) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, InputEnd>> {
        let body = match self {
            RequestBody::Client(body) => body,
            RequestBody::Lane(body) => return body.poll_bytes(cx),
            RequestBody::Module(call) => return call.poll_body(cx),
        };
        loop {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                None => return Poll::Ready(Err(InputEnd::Whole)),
                Some(Err(_cut_off)) => return Poll::Ready(Err(InputEnd::Disconnected)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Ok(bytes));
                    }
                }
            }
        }
    }
}
