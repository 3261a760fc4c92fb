//! The body of a request, as the kernel passes it on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::isolation::lane::Lane;
use crate::isolation::wire::{BodyEnd, FromModule};
use crate::modules::exchange::InputEnd;

/// The module's end of a body; the lane's reader has the other.
pub(crate) struct LaneBody {
    shared: Arc<Body>,
    lane: Arc<Lane>,
    request: u64,
}

#[derive(Default)]
pub(super) struct Body(Mutex<State>);

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    end: Option<BodyEnd>,
    waker: Option<Waker>,
}

impl Body {
    pub(super) fn push(&self, bytes: Bytes) {
        let mut state = self.lock();
        state.chunks.push_back(bytes);
        wake(state);
    }

    pub(super) fn end(&self, end: BodyEnd) {
        let mut state = self.lock();
        state.end = Some(end);
        wake(state);
    }

    pub(super) fn reader(self: &Arc<Body>, lane: &Arc<Lane>, request: u64) -> LaneBody {
        LaneBody {
            shared: Arc::clone(self),
            lane: Arc::clone(lane),
            request,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneBody {
    /// The next bytes, or why there are no more.
    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, InputEnd>> {
        let mut state = self.shared.lock();
        if let Some(bytes) = state.chunks.pop_front() {
            return Poll::Ready(Ok(bytes));
        }
        match state.end {
            Some(BodyEnd::Whole) => Poll::Ready(Err(InputEnd::Whole)),
            Some(BodyEnd::TooLarge) => Poll::Ready(Err(InputEnd::TooLarge)),
            Some(BodyEnd::Disconnected) => Poll::Ready(Err(InputEnd::Disconnected)),
            None => {
                // Asked once for each wait: whoever answers it wakes.
                let asked = state.waker.replace(cx.waker().clone()).is_some();
                drop(state);
                if !asked {
                    let request = self.request;
                    // A lane that is closed ends the process.
                    let _ = self.lane.send(&FromModule::Want { request });
                }
                Poll::Pending
            }
        }
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
