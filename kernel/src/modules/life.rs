//! The life of a generation as a state machine, and nothing else: which transition may follow on which.
//!
//! ```text
//! staged ─ loaded ─ initialised ─ restored ─ probed ─ serving ⇄ held
//!    │        │          │            │         │        │       │
//!    └────────┴──────────┴── fault ───┴─────────┴────────┤       │ replace
//!                               │                     fault      │
//!                            faulted ────────┐           │       │
//!                               │ retire     └── replace ┴─ draining
//!                               │                              │ retire
//!                               └──────────────────────────► retired ─┬─ unloaded
//!                                                                     └─ resident ─ unloaded
//! ```

use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;

/// Where a generation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) enum Phase {
    /// There is a private copy of its artifact, or will be.
    Staged,
    /// Its library is mapped.
    Loaded,
    /// `init` has returned.
    Initialised,
    /// It has what the generation before handed over.
    Restored,
    /// It has said that it can serve.
    Probed,
    /// New requests go to it.
    Serving,
    /// New requests wait while its state is handed over.
    Held,
    /// Another has taken its place, or none: what is under way on it finishes.
    Draining,
    /// Nothing calls it any more.
    Retired,
    /// Its code has left the process.
    Unloaded,
    /// Something keeps its code mapped.
    Resident,
    /// It failed before it served, or was quarantined.
    Faulted,
}

/// What moves a generation on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    Load,
    Init,
    Restore,
    Probe,
    Serve,
    Hold,
    Release,
    Replace,
    Retire,
    Unload,
    Keep,
    Fault,
}

impl Phase {
    const ALL: [Phase; 12] = [
        Phase::Staged,
        Phase::Loaded,
        Phase::Initialised,
        Phase::Restored,
        Phase::Probed,
        Phase::Serving,
        Phase::Held,
        Phase::Draining,
        Phase::Retired,
        Phase::Unloaded,
        Phase::Resident,
        Phase::Faulted,
    ];

    /// Where `transition` leads from here; `None` where it may not be made.
    pub(crate) const fn after(self, transition: Transition) -> Option<Phase> {
        Some(match (self, transition) {
            (Phase::Staged, Transition::Load) => Phase::Loaded,
            (Phase::Loaded, Transition::Init) => Phase::Initialised,
            (Phase::Initialised, Transition::Restore) => Phase::Restored,
            (Phase::Restored, Transition::Probe) => Phase::Probed,
            (Phase::Probed, Transition::Serve) => Phase::Serving,
            (Phase::Serving, Transition::Hold) => Phase::Held,
            (Phase::Held, Transition::Release) => Phase::Serving,
            (Phase::Serving | Phase::Held | Phase::Faulted, Transition::Replace) => Phase::Draining,
            (Phase::Draining | Phase::Faulted, Transition::Retire) => Phase::Retired,
            (Phase::Retired | Phase::Resident, Transition::Unload) => Phase::Unloaded,
            (Phase::Retired, Transition::Keep) => Phase::Resident,
            (
                Phase::Staged
                | Phase::Loaded
                | Phase::Initialised
                | Phase::Restored
                | Phase::Probed
                | Phase::Serving
                | Phase::Held,
                Transition::Fault,
            ) => Phase::Faulted,
            _ => return None,
        })
    }
}

/// The phase of one generation, which any thread may look at and move on.
pub(crate) struct Life(AtomicU8);

impl Life {
    pub(crate) const fn new() -> Life {
        Life(AtomicU8::new(Phase::Staged as u8))
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.0.load(Ordering::SeqCst))]
    }

    /// Makes `transition` if it may be made now; whether it was.
    pub(crate) fn advance(&self, transition: Transition) -> bool {
        let next = |phase: u8| {
            Phase::ALL[usize::from(phase)]
                .after(transition)
                .map(|next| next as u8)
        };
        self.0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSITIONS: [Transition; 12] = [
        Transition::Load,
        Transition::Init,
        Transition::Restore,
        Transition::Probe,
        Transition::Serve,
        Transition::Hold,
        Transition::Release,
        Transition::Replace,
        Transition::Retire,
        Transition::Unload,
        Transition::Keep,
        Transition::Fault,
    ];

    /// Every transition that may be made; all others may not.
    const TABLE: &[(Phase, Transition, Phase)] = &[
        (Phase::Staged, Transition::Load, Phase::Loaded),
        (Phase::Staged, Transition::Fault, Phase::Faulted),
        (Phase::Loaded, Transition::Init, Phase::Initialised),
        (Phase::Loaded, Transition::Fault, Phase::Faulted),
        (Phase::Initialised, Transition::Restore, Phase::Restored),
        (Phase::Initialised, Transition::Fault, Phase::Faulted),
        (Phase::Restored, Transition::Probe, Phase::Probed),
        (Phase::Restored, Transition::Fault, Phase::Faulted),
        (Phase::Probed, Transition::Serve, Phase::Serving),
        (Phase::Probed, Transition::Fault, Phase::Faulted),
        (Phase::Serving, Transition::Hold, Phase::Held),
        (Phase::Serving, Transition::Replace, Phase::Draining),
        (Phase::Serving, Transition::Fault, Phase::Faulted),
        (Phase::Held, Transition::Release, Phase::Serving),
        (Phase::Held, Transition::Replace, Phase::Draining),
        (Phase::Held, Transition::Fault, Phase::Faulted),
        (Phase::Draining, Transition::Retire, Phase::Retired),
        (Phase::Retired, Transition::Unload, Phase::Unloaded),
        (Phase::Retired, Transition::Keep, Phase::Resident),
        (Phase::Resident, Transition::Unload, Phase::Unloaded),
        (Phase::Faulted, Transition::Replace, Phase::Draining),
        (Phase::Faulted, Transition::Retire, Phase::Retired),
    ];

    #[test]
    fn exactly_the_transitions_of_the_table_may_be_made() {
        for phase in Phase::ALL {
            for transition in TRANSITIONS {
                let expect = TABLE
                    .iter()
                    .find(|row| (row.0, row.1) == (phase, transition))
                    .map(|row| row.2);
                assert_eq!(phase.after(transition), expect, "{phase:?} {transition:?}");
            }
        }
    }

    #[test]
    fn every_phase_is_found_by_its_number() {
        for (number, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, number, "{phase:?}");
        }
    }

    #[test]
    fn every_life_can_end_and_no_end_goes_on() {
        for start in Phase::ALL {
            let mut reached = vec![start];
            let mut at = 0;
            while let Some(phase) = reached.get(at).copied() {
                for transition in TRANSITIONS {
                    if let Some(next) = phase
                        .after(transition)
                        .filter(|next| !reached.contains(next))
                    {
                        reached.push(next);
                    }
                }
                at += 1;
            }
            assert!(reached.contains(&Phase::Unloaded), "{start:?}");
        }
        assert!(
            TRANSITIONS
                .iter()
                .all(|transition| Phase::Unloaded.after(*transition).is_none())
        );
    }

    #[test]
    fn a_transition_that_may_not_be_made_changes_nothing() {
        let life = Life::new();
        assert!(!life.advance(Transition::Serve));
        assert_eq!(life.phase(), Phase::Staged);
        for transition in [
            Transition::Load,
            Transition::Init,
            Transition::Restore,
            Transition::Probe,
            Transition::Serve,
        ] {
            assert!(life.advance(transition), "{transition:?}");
        }
        assert_eq!(life.phase(), Phase::Serving);
    }
}
