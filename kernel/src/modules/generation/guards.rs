//! What holds on to a generation for a while, and lets go of it when it is dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Generation, Refused};
use crate::modules::instance::Instance;
use crate::modules::life::{Phase, Transition};
use crate::modules::loader::LoadError;
use crate::modules::state::SavedState;

impl Generation {
    /// Takes hold of the generation for one request.
    pub(crate) fn pin(self: &Arc<Generation>) -> Result<Pin, Refused> {
        // Counted before the phase is read, and `drain` sets the phase before it reads the count: one of the two sees
        // the other.
        let pins = self.pins.fetch_add(1, Ordering::SeqCst);
        let pin = Pin {
            generation: Arc::clone(self),
            streaming: false,
        };
        match self.phase() {
            Phase::Serving if pins >= self.requests_max => Err(Refused::Full),
            Phase::Serving => Ok(pin),
            Phase::Held => Err(Refused::Held),
            // Whoever takes its place in a moment takes the request.
            _ if self.is_held() => Err(Refused::Held),
            Phase::Faulted => Err(Refused::Faulted),
            _ => Err(Refused::Draining),
        }
    }

    /// Lets new requests wait until the hold is dropped or another generation has taken its place.
    pub(crate) fn hold(self: &Arc<Generation>) -> Hold {
        self.held.store(true, Ordering::SeqCst);
        self.owner.life.advance(Transition::Hold);
        Hold(Arc::clone(self))
    }

    /// Takes no more requests, and lets new ones wait until the hold is dropped: it ends before another has its place.
    pub(crate) fn give_way(self: &Arc<Generation>) -> Hold {
        let hold = self.hold();
        self.owner.life.advance(Transition::Replace);
        hold
    }

    /// Claims the one call of `save` that there may be; until it is dropped the generation is not ended.
    pub(crate) fn claim_save(self: &Arc<Generation>) -> Option<SaveClaim> {
        let claimed = self
            .saving
            .compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst);
        claimed.is_ok().then(|| SaveClaim(Arc::clone(self)))
    }

    /// While what this returns lives, the version before takes its place if it fails.
    pub(crate) fn open_way_back(self: &Arc<Generation>) -> WayBackWindow {
        self.way_back.store(true, Ordering::SeqCst);
        WayBackWindow(Arc::clone(self))
    }

    pub(crate) fn has_way_back(&self) -> bool {
        self.way_back.load(Ordering::SeqCst)
    }
}

/// A hold on a generation's life: while there is one, its instance lives. Taken and released by kernel code outside the
/// module's frames.
pub(crate) struct Pin {
    generation: Arc<Generation>,
    streaming: bool,
}

impl Pin {
    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    pub(in crate::modules) fn instance(&self) -> &Instance {
        &self.generation.instance
    }

    /// The answer has begun, and what follows of it may take its time.
    pub(crate) fn set_streaming(&mut self) {
        if !std::mem::replace(&mut self.streaming, true) {
            self.generation.streaming.fetch_add(1, Ordering::SeqCst);
            self.generation.tell_unless_serving();
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let generation = &self.generation;
        if self.streaming {
            generation.streaming.fetch_sub(1, Ordering::SeqCst);
        }
        generation.pins.fetch_sub(1, Ordering::SeqCst);
        generation.tell_unless_serving();
    }
}

/// The right to have a generation saved.
pub(crate) struct SaveClaim(Arc<Generation>);

impl SaveClaim {
    pub(crate) fn label(&self) -> &str {
        &self.0.label
    }

    /// What the generation hands over, if anything. May block: call it on a control thread.
    pub(crate) fn save(&self) -> Result<Option<SavedState>, LoadError> {
        self.0.instance.save(&self.0.owner)
    }
}

impl Drop for SaveClaim {
    fn drop(&mut self) {
        self.0.saving.store(false, Ordering::SeqCst);
    }
}

/// The time in which a version may be replaced by the one before.
pub(crate) struct WayBackWindow(Arc<Generation>);

impl Drop for WayBackWindow {
    fn drop(&mut self) {
        self.0.way_back.store(false, Ordering::SeqCst);
    }
}

/// New requests wait while there is one.
pub(crate) struct Hold(Arc<Generation>);

impl Drop for Hold {
    fn drop(&mut self) {
        // Not taken when another generation has its place, or it is in quarantine.
        self.0.owner.life.advance(Transition::Release);
        self.0.held.store(false, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}
