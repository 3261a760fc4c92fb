//! From an instance that is initialised to one that may serve: hold, save, restore, probe.
//!
//! While the state of the old generation is handed over, new requests wait; they are refused by nobody. What has not been
//! answered may finish first, so that nothing a client was told is missing in the state. A module without state is not
//! held at all.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::control::on_control_thread;
use super::generation::{Generation, Hold};
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
    /// What it was given.
    pub(super) state: Option<SavedState>,
}

/// A hold, and since when.
pub(super) struct Held {
    pub(super) since: Instant,
    _hold: Hold,
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
    let hold = match &source {
        Source::Old(old) if old.saves() => {
            if old.is_saving() {
                return Err(Refusal::StillSaving(old.label.clone()));
            }
            Some(Held {
                since: Instant::now(),
                _hold: old.hold(),
            })
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
    let name = format!("restore-{}", new.owner().name);
    let ran = on_control_thread(name, move || finish(new, &source)).map_err(Refusal::Thread)?;
    let (generation, state, receipt) = match tokio::time::timeout_at(deadline, ran).await {
        Ok(Ok(outcome)) => outcome?,
        Ok(Err(_gone)) => return Err(Refusal::Ended),
        // The thread is given up; should it return after all, what it made is ended unused.
        Err(_elapsed) => return Err(refused),
    };
    Ok(Probed {
        generation,
        hold,
        receipt,
        state,
    })
}

type Finished = (Arc<Generation>, Option<SavedState>, Option<HandedOver>);

/// On a control thread: `save` of the old, `restore` and `probe` of the new.
fn finish(mut new: Initialised, source: &Source) -> Result<Finished, Refusal> {
    let (saved, from) = match source {
        Source::Nothing => (None, None),
        Source::Old(old) if old.saves() => {
            (old.save().map_err(Refusal::HandOver)?, Some(&*old.label))
        }
        Source::Old(_) => (None, None),
        Source::Kept(state) => (state.clone(), None),
    };
    let reads = new.descriptor.state;
    let taken = match (&saved, reads) {
        (Some(state), Some(reads)) if !reads.contains(state.schema) => {
            return Err(Refusal::Schema {
                from: from.unwrap_or("the old generation").to_owned(),
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
    new.instance.probe().map_err(Refusal::HandOver)?;
    new.owner().life.advance(Transition::Probe);
    let receipt = saved.as_ref().map(|state| HandedOver {
        bytes: state.bytes.len(),
        schema: state.schema,
        accepted: taken.is_some(),
    });
    Ok((new.into_generation(), taken, receipt))
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
