//! Where only one generation may be at a time, the old one ends before the new one begins.
//!
//! New requests wait from here on, what is under way may finish, and what takes too long is cut. Should the new one be refused
//! after all, the old one's code is started anew: so its copy is kept until then.

use std::sync::Arc;
use std::time::Duration;

use super::generation::Generation;
use super::handover::Held;
use super::private_copy::PrivateCopy;
use super::retire::{self, Ended, Unloading};

/// What is left of a generation that has given its place up.
pub(super) struct Ceded {
    pub(super) hold: Held,
    pub(super) end: Ended,
    /// What it was loaded from; `None` when that is gone.
    pub(super) copy: Option<Arc<PrivateCopy>>,
}

/// Ends `old`, which may go on with what is under way for `drain`. New requests wait for as long as what this returns lives.
pub(super) async fn cede(
    old: &Arc<Generation>,
    drain: Duration,
    unloading: &Arc<Unloading>,
) -> Ceded {
    let copy = old.copy();
    let hold = Held::new(old.give_way());
    let under_way = old.in_flight() as u64;
    let end = retire::end(old, under_way, drain, unloading).await;
    Ceded { hold, end, copy }
}
