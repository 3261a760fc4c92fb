//! What becomes of a generation that does wrong: it is counted and told, put in quarantine, started again, or replaced by the
//! version before.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Generation;
use crate::events::Event;
use crate::modules::life::{Phase, Transition};

impl Generation {
    /// Takes no more requests until it is replaced: `reason` says what it did.
    pub(crate) fn quarantine(&self, reason: &str) {
        if !self.owner.life.advance(Transition::Fault) {
            return;
        }
        self.changed.notify_waiters();
        self.failed.notify_waiters();
        self.tell_faulted(reason);
    }

    fn tell_faulted(&self, reason: &str) {
        tracing::error!(module = %self.label, reason, "a module is in quarantine until it is reloaded");
        self.events.publish(Event::ModuleFaulted {
            module: self.name.to_string(),
            generation: self.number,
            reason: reason.to_owned(),
        });
    }

    /// Counts and tells of a poll that held up others; one that took far too long puts it in quarantine, unless it has a process
    /// to itself, where it holds up nobody else.
    pub(crate) fn slow_poll(&self, route: &str, request_id: &str, taken: Duration) {
        if let Some(kernel) = &self.kernel {
            return kernel.slow_poll(route, request_id, taken);
        }
        self.stats.slow_polls.fetch_add(1, Ordering::Relaxed);
        let poll_ms = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(module = %self.label, route, request_id, poll_ms, "slow poll");
        if taken > self.quarantine_after && self.process().is_none() {
            self.quarantine(&format!("one poll of {route} took {poll_ms} ms"));
        }
    }

    /// It asked for a secret without the grant.
    pub(crate) fn denied_secret(&self, request_id: &str) {
        match &self.kernel {
            Some(kernel) => kernel.denied_secret(request_id),
            None => {
                tracing::warn!(module = %self.label, request_id, "a module asked for a secret without the grant");
            }
        }
    }

    /// Counts a failure of its code.
    pub(crate) fn count_failure(&self) {
        self.stats.failures.fetch_add(1, Ordering::Relaxed);
        self.failed.notify_waiters();
    }

    pub(crate) fn failures(&self) -> u64 {
        self.stats.failures.load(Ordering::Relaxed)
    }

    /// Resolves when its code has failed more than `max` times, or was put in quarantine. Cancel-safe.
    pub(crate) async fn failed_more_often_than(&self, max: u64) {
        loop {
            let failed = self.failed.notified();
            if self.failures() > max || self.phase() == Phase::Faulted {
                return;
            }
            failed.await;
        }
    }

    /// Its process has ended by itself, and nobody has given up on it yet.
    pub(crate) fn is_restarting(&self) -> bool {
        self.restarting.load(Ordering::SeqCst)
    }

    /// Its process has ended: lets new requests wait until another has taken its place, or it was given up. Does nothing to
    /// one that takes no requests any more.
    pub(crate) fn start_restarting(&self) {
        self.restarting.store(true, Ordering::SeqCst);
        if !self.owner.life.advance(Transition::Fault) && self.phase() != Phase::Faulted {
            self.restarting.store(false, Ordering::SeqCst);
            // Whoever looked meanwhile went to wait.
            self.changed.notify_waiters();
        }
        self.failed.notify_waiters();
    }

    /// Nobody starts it again: what waits for it is refused.
    pub(crate) fn give_up_restart(&self, reason: &str) {
        if self.restarting.swap(false, Ordering::SeqCst) {
            self.changed.notify_waiters();
            self.tell_faulted(reason);
        }
    }
}
