//! From an instance that is initialised to one that may serve: hold, save, restore, probe.
//!
//! While the state of the old generation is handed over, new requests wait; they are refused by nobody. What has not been
//! answered may finish first, so that nothing a client was told is missing in the state. A module without state is not
//! held at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::control::on_control_thread;
use super::generation::{Generation, Hold, SaveClaim};
use super::life::Transition;
use super::load::{Initialised, Refusal};
use super::receipt::HandedOver;
use super::state::{SavedState, Schemas};
use super::step::Overdue;

/// How long new requests may wait for a hand-over: a person does not notice, and no client gives up.
const HOLD_MAX: Duration = Duration::from_millis(250);
/// How much of that may pass until what is under way has been answered. Most requests are done in a millisecond; one that
/// waits for its client or a provider is not worth more.
const QUIET_MAX: Duration = Duration::from_millis(100);

/// A generation that may take its place.
pub(super) struct Probed {
    pub(super) generation: Arc<Generation>,
    /// Of the old one; dropped when the place is taken.
    pub(super) hold: Option<Held>,
    pub(super) receipt: Option<HandedOver>,
    /// What the old one handed over, taken or not.
    pub(super) state: Option<SavedState>,
}

/// A hold, and since when.
pub(super) struct Held {
    pub(super) since: Instant,
    _hold: Hold,
}

impl Held {
    pub(super) fn new(hold: Hold) -> Held {
        Held {
            since: Instant::now(),
            _hold: hold,
        }
    }
}

/// What the new generation is given.
pub(super) enum Source {
    Nothing,
    Old(Arc<Generation>),
    /// What was kept from an earlier hand-over, for when the old one cannot give it any more.
    Kept(Option<SavedState>),
}

/// Gives `new` what it takes over from `source`, and asks it whether it can serve.
pub(super) async fn hand_over(
    new: Initialised,
    source: Source,
    init_timeout: Duration,
) -> Result<Probed, Refusal> {
    let mut claim = None;
    let hold = match &source {
        // A process that has ended has nothing any more.
        Source::Old(old) if old.saves() && !has_ended(old) => {
            claim = old.claim_save();
            if claim.is_none() {
                new.discard();
                return Err(Refusal::StillSaving(old.label.clone()));
            }
            Some(Held::new(old.hold()))
        }
        _ => None,
    };
    let (deadline, refused) = match (&hold, &source) {
        (Some(hold), Source::Old(old)) => {
            // What takes longer goes on, and what it changes is not handed over.
            let _ = tokio::time::timeout(QUIET_MAX, old.answered()).await;
            (hold.since + HOLD_MAX, Refusal::HoldOverdue(HOLD_MAX))
        }
        _ => (
            Instant::now() + init_timeout,
            Refusal::Overdue(Overdue::Init(init_timeout)),
        ),
    };
    let given_up = Arc::new(AtomicBool::new(false));
    let is_given_up = Arc::clone(&given_up);
    let name = format!("restore-{}", new.owner().name);
    let process = new.instance.process().map(Arc::downgrade);
    let ran = on_control_thread(name, move || finish(new, claim, source, &is_given_up))
        .map_err(Refusal::Thread)?;
    let (generation, state, receipt) = match tokio::time::timeout_at(deadline, ran).await {
        Ok(Ok(outcome)) => outcome?,
        Ok(Err(_gone)) => return Err(Refusal::Ended),
        // The thread is given up; should it return after all, what it made is ended unused.
        Err(_elapsed) => {
            given_up.store(true, Ordering::SeqCst);
            if let Some(process) = process.and_then(|process| process.upgrade()) {
                process.kill("it took too long to take over, and was killed");
            }
            return Err(refused);
        }
    };
    Ok(Probed {
        generation,
        hold,
        receipt,
        state,
    })
}

fn has_ended(generation: &Generation) -> bool {
    generation
        .process()
        .is_some_and(|process| process.has_ended())
}

type Finished = (Arc<Generation>, Option<SavedState>, Option<HandedOver>);

/// On a control thread: `save` of the old, `restore` and `probe` of the new. Begins none of them once it was given up.
fn finish(
    mut new: Initialised,
    claim: Option<SaveClaim>,
    source: Source,
    given_up: &AtomicBool,
) -> Result<Finished, Refusal> {
    let go_on = || {
        // Nobody is told any more.
        let given_up = given_up.load(Ordering::SeqCst);
        (!given_up).then_some(()).ok_or(Refusal::Ended)
    };
    go_on()?;
    let saved = match (&claim, source) {
        (Some(claim), _) => claim.save().map_err(Refusal::HandOver)?,
        (None, Source::Kept(state)) => state,
        (None, Source::Nothing | Source::Old(_)) => None,
    };
    let from = claim.as_ref().map(|claim| claim.label().to_owned());
    drop(claim);
    go_on()?;
    let reads = new.descriptor.state;
    let taken = match (&saved, reads) {
        (Some(state), Some(reads)) if !reads.contains(state.schema) => {
            return Err(Refusal::Schema {
                from: from.unwrap_or_else(|| "the old generation".to_owned()),
                schema: state.schema,
                version: new.descriptor.version.clone(),
                reads,
            });
        }
        (Some(state), Some(_)) => Some(state.clone()),
        (Some(state), None) => {
            tracing::warn!(module = %new.owner().name, bytes = state.bytes.len(), "the new version takes no state: what was handed over is dropped");
            None
        }
        (None, _) => None,
    };
    new.instance
        .restore(taken.as_ref())
        .map_err(Refusal::HandOver)?;
    new.owner().life.advance(Transition::Restore);
    go_on()?;
    new.probe().map_err(Refusal::HandOver)?;
    new.owner().life.advance(Transition::Probe);
    let receipt = saved.as_ref().map(|state| HandedOver {
        bytes: state.bytes.len(),
        schema: state.schema,
        accepted: taken.is_some(),
    });
    Ok((new.into_generation(), saved, receipt))
}

/// Whether the state that `new` writes can be read by `old`, so that there is a way back.
pub(super) fn can_return(old: Option<Schemas>, new: Option<Schemas>) -> bool {
    match (old, new) {
        (_, None) => true,
        (Some(old), Some(new)) => old.contains(new.max),
        (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_way_back_when_the_old_version_reads_what_the_new_one_writes() {
        let schemas = |min, max| Some(Schemas { min, max });
        for (old, new, expect) in [
            (None, None, true),
            (schemas(1, 1), None, true),
            (schemas(1, 1), schemas(1, 1), true),
            (schemas(1, 2), schemas(2, 2), true),
            (schemas(1, 1), schemas(1, 2), false),
            (schemas(2, 3), schemas(1, 1), false),
            (None, schemas(1, 1), false),
        ] {
            assert_eq!(can_return(old, new), expect, "{old:?} {new:?}");
        }
    }
}
