//! The client's body, on its way to the module.

use std::task::{Context, Poll, ready};

use super::{Call, Fault};
use crate::modules::exchange::{INPUT_WINDOW_LEN, InputEnd};

impl Call {
    /// Reads the client's body while the module waits for it; ready when there is news for the module.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Some(upload) = &mut self.input else {
            return Poll::Pending;
        };
        let mut exchange = self.lease.lock();
        let started = exchange.output.started;
        let input = &mut exchange.input;
        if !(input.wanted || input.ahead) {
            return Poll::Pending;
        }
        while input.end == InputEnd::Open && input.len < INPUT_WINDOW_LEN {
            match upload.body.poll_bytes(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(end)) => input.end = end,
                Poll::Ready(Ok(bytes)) => {
                    match upload.left.checked_sub(bytes.len() as u64) {
                        Some(left) => upload.left = left,
                        None if started => input.end = InputEnd::TooLarge,
                        None => return Poll::Ready(Err(Fault::TooLarge(upload.limit))),
                    }
                    if !bytes.is_empty() && input.end == InputEnd::Open {
                        input.len += bytes.len();
                        input.chunks.push_back(bytes);
                    }
                }
            }
        }
        if input.len > 0 || input.end != InputEnd::Open {
            input.wanted = false;
            input.ahead = false;
            upload.stall.progress();
            return Poll::Ready(Ok(()));
        }
        if !input.wanted {
            // Nobody waits for it yet.
            return Poll::Pending;
        }
        let timeout = self.surroundings.body_stall_timeout;
        ready!(upload.stall.poll_stalled(timeout, cx));
        Poll::Ready(Err(Fault::Stalled(timeout)))
    }
}
