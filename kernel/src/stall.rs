//! Notices that a peer has made no progress for too long.
//!
//! A timer that is made anew for every wait costs a system call each time, since the runtime has to be woken to wait for less
//! long. So there is one, armed at the first wait: when it fires it looks whether the present wait is that old, and is set
//! again if not.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

#[derive(Default)]
pub(crate) struct StallTimer {
    /// Since when the present wait lasts.
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl StallTimer {
    /// The wait, if there was one, is over.
    pub(crate) fn progress(&mut self) {
        self.waiting_since = None;
    }

    /// Waits; ready when that has lasted for `timeout` without progress.
    pub(crate) fn poll_stalled(&mut self, timeout: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.waiting_since.get_or_insert_with(Instant::now) + timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(20);

    /// Polls once.
    async fn is_stalled(stall: &mut StallTimer) -> bool {
        poll_fn(|cx| Poll::Ready(stall.poll_stalled(TIMEOUT, cx).is_ready())).await
    }

    #[tokio::test]
    async fn a_wait_is_counted_from_its_own_start() {
        let mut stall = StallTimer::default();
        assert!(!is_stalled(&mut stall).await);
        // Past the time that the timer was armed for; the wait of then is over.
        tokio::time::sleep(TIMEOUT).await;
        stall.progress();
        assert!(!is_stalled(&mut stall).await);
        poll_fn(|cx| stall.poll_stalled(TIMEOUT, cx)).await;
        assert!(is_stalled(&mut stall).await);
    }
}
