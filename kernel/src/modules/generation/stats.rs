//! What a generation has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// What a generation has done. Counters only grow, but for `sockets`.
#[derive(Default)]
pub(crate) struct Stats {
    /// By the first digit of the status, 1 to 5.
    by_class: [AtomicU64; 5],
    pub(crate) poll_ns: AtomicU64,
    pub(crate) slow_polls: AtomicU64,
    pub(crate) panics: AtomicU64,
    /// The code failed: panics, and what it told the kernel as a failure.
    pub(crate) failures: AtomicU64,
    /// The client left, the session was revoked or the drain was cut before the answer was whole.
    pub(crate) cancelled: AtomicU64,
    /// Of those, the ones that a drain cut.
    pub(crate) cut: AtomicU64,
    /// Open WebSockets.
    pub(crate) sockets: AtomicU64,
    /// Messages from clients, and to them.
    pub(crate) messages_in: AtomicU64,
    pub(crate) messages_out: AtomicU64,
}

impl Stats {
    pub(crate) fn count_status(&self, status: StatusCode) {
        if let Some(class) = self
            .by_class
            .get(usize::from(status.as_u16() / 100).wrapping_sub(1))
        {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Answers by the first digit of their status, 1 to 5.
    pub(crate) fn by_class(&self) -> [u64; 5] {
        self.by_class
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed))
    }
}
