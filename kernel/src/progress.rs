//! Where a connection stands: between requests, in a request's head, or in a request. What its time-outs go by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Where a connection stands, as far as its time-outs care.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) phase: AtomicU8,
    /// Counts the phases, so that a timer knows whether it was armed for this one.
    pub(crate) epoch: AtomicU64,
}

/// No request, and not a byte of one.
pub(crate) const IDLE: u8 = 0;
/// A part of a request's head has come.
pub(crate) const HEAD: u8 = 1;
/// A request is being answered.
const REQUEST: u8 = 2;

/// While it lives, the connection has a request.
pub(crate) struct UnderWay(Arc<Progress>);

impl Progress {
    pub(crate) fn start_request(progress: &Arc<Progress>) -> UnderWay {
        progress.enter(REQUEST);
        UnderWay(Arc::clone(progress))
    }

    fn enter(&self, phase: u8) {
        self.phase.store(phase, Ordering::Relaxed);
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn saw_bytes(&self) {
        if self.phase.load(Ordering::Relaxed) == IDLE {
            self.enter(HEAD);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.enter(IDLE);
    }
}
