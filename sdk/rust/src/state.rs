//! What a generation hands over to the next: state that is only in memory.
//!
//! The module's function awaits [`Context::restore`](crate::Context::restore) where it needs the state. What stands before
//! that runs while the generation before still serves; what stands after it runs while new requests wait. So `init` of the
//! ABI runs the function up to that point, and `restore` to its end.

use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};

/// The place where the state passes from the kernel to the module's function.
#[derive(Default)]
pub(crate) struct Handover(Mutex<Slot>);

#[derive(Default)]
struct Slot {
    offer: Offer,
    /// The module's function waits for the offer.
    asked: bool,
    waker: Option<Waker>,
}

/// What the generation before left.
#[derive(Default)]
enum Offer {
    #[default]
    NotYet,
    Nothing,
    Saved(Saved),
    Taken,
}

/// Saved as it was written.
pub(crate) struct Saved {
    pub(crate) schema: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Handover {
    /// Puts down what the generation before left; there will be nothing else.
    pub(crate) fn offer(&self, state: Option<Saved>) {
        let waker = {
            let mut slot = self.slot();
            slot.offer = state.map_or(Offer::Nothing, Offer::Saved);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the module's function waits for an offer that has not come.
    pub(crate) fn is_waited_for(&self) -> bool {
        let slot = self.slot();
        slot.asked && matches!(slot.offer, Offer::NotYet)
    }

    /// Whether nothing was offered that nobody took.
    pub(crate) fn is_taken(&self) -> bool {
        !matches!(self.slot().offer, Offer::Saved(_))
    }

    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Saved>>> {
        let mut slot = self.slot();
        Poll::Ready(match std::mem::replace(&mut slot.offer, Offer::Taken) {
            Offer::Saved(state) => Ok(Some(state)),
            Offer::Nothing => Ok(None),
            Offer::Taken => Err(Error::msg("the state was restored before: restore it once")),
            Offer::NotYet => {
                slot.offer = Offer::NotYet;
                slot.asked = true;
                slot.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        })
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().expect("no code panics under this lock")
    }
}
