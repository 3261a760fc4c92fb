//! One request under way, as the lane's reader and the request's task share it: what has come for it, and what room there is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use super::body::Body;
use super::socket::Inbound;
use crate::modules::exchange::OUTPUT_WINDOW_LEN;
use crate::secrets::SecretError;
use crate::session::Session;

/// What the lane's reader and a request's task share.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) body: Arc<Body>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) cancelled: bool,
    pub(super) inbound: Inbound,
    /// Bytes of the answer that the kernel has room for; less than none after a piece that was larger.
    pub(super) credit: isize,
    pub(super) waker: Option<Waker>,
    /// The image of the session that it acts for.
    pub(super) session: Option<Arc<Session>>,
    /// Whoever waits for the session's secret, which is in the session by then.
    pub(super) refreshing: Option<oneshot::Sender<Result<(), SecretError>>>,
}

impl Stream {
    /// One whose answer has a window's room.
    pub(super) fn new() -> Arc<Stream> {
        let stream = Stream::default();
        stream.lock().credit = OUTPUT_WINDOW_LEN.cast_signed();
        Arc::new(stream)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when the kernel has cancelled it; else whoever polls is woken by what comes.
    pub(super) fn poll_cancelled(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.cancelled {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Whether the kernel has room for more of the answer.
    pub(super) fn has_credit(&self) -> bool {
        self.lock().credit > 0
    }

    pub(super) fn spend(&self, bytes: usize) {
        let mut state = self.lock();
        state.credit = state.credit.saturating_sub_unsigned(bytes);
    }

    /// Waits until the kernel has room, and takes that of a piece of `len` bytes; `None` when it was cancelled.
    pub(super) async fn take_room(&self, len: usize) -> Option<()> {
        std::future::poll_fn(|cx| {
            if self.poll_cancelled(cx).is_ready() {
                return Poll::Ready(None);
            }
            let mut state = self.lock();
            if state.credit <= 0 {
                return Poll::Pending;
            }
            state.credit = state.credit.saturating_sub_unsigned(len);
            Poll::Ready(Some(()))
        })
        .await
    }
}
