//! The life of a generation as a state machine, and nothing else: which step may follow on which.
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
pub(crate) enum Step {
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

    /// Where `step` leads from here; `None` where it may not be taken.
    pub(crate) const fn after(self, step: Step) -> Option<Phase> {
        Some(match (self, step) {
            (Phase::Staged, Step::Load) => Phase::Loaded,
            (Phase::Loaded, Step::Init) => Phase::Initialised,
            (Phase::Initialised, Step::Restore) => Phase::Restored,
            (Phase::Restored, Step::Probe) => Phase::Probed,
            (Phase::Probed, Step::Serve) => Phase::Serving,
            (Phase::Serving, Step::Hold) => Phase::Held,
            (Phase::Held, Step::Release) => Phase::Serving,
            (Phase::Serving | Phase::Held | Phase::Faulted, Step::Replace) => Phase::Draining,
            (Phase::Draining | Phase::Faulted, Step::Retire) => Phase::Retired,
            (Phase::Retired | Phase::Resident, Step::Unload) => Phase::Unloaded,
            (Phase::Retired, Step::Keep) => Phase::Resident,
            (
                Phase::Staged
                | Phase::Loaded
                | Phase::Initialised
                | Phase::Restored
                | Phase::Probed
                | Phase::Serving
                | Phase::Held,
                Step::Fault,
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

    /// Takes `step` if it may be taken now; whether it was.
    pub(crate) fn advance(&self, step: Step) -> bool {
        let next = |phase: u8| {
            Phase::ALL[usize::from(phase)]
                .after(step)
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

    const STEPS: [Step; 12] = [
        Step::Load,
        Step::Init,
        Step::Restore,
        Step::Probe,
        Step::Serve,
        Step::Hold,
        Step::Release,
        Step::Replace,
        Step::Retire,
        Step::Unload,
        Step::Keep,
        Step::Fault,
    ];

    /// Every step that may be taken; all others may not.
    const TABLE: &[(Phase, Step, Phase)] = &[
        (Phase::Staged, Step::Load, Phase::Loaded),
        (Phase::Staged, Step::Fault, Phase::Faulted),
        (Phase::Loaded, Step::Init, Phase::Initialised),
        (Phase::Loaded, Step::Fault, Phase::Faulted),
        (Phase::Initialised, Step::Restore, Phase::Restored),
        (Phase::Initialised, Step::Fault, Phase::Faulted),
        (Phase::Restored, Step::Probe, Phase::Probed),
        (Phase::Restored, Step::Fault, Phase::Faulted),
        (Phase::Probed, Step::Serve, Phase::Serving),
        (Phase::Probed, Step::Fault, Phase::Faulted),
        (Phase::Serving, Step::Hold, Phase::Held),
        (Phase::Serving, Step::Replace, Phase::Draining),
        (Phase::Serving, Step::Fault, Phase::Faulted),
        (Phase::Held, Step::Release, Phase::Serving),
        (Phase::Held, Step::Replace, Phase::Draining),
        (Phase::Held, Step::Fault, Phase::Faulted),
        (Phase::Draining, Step::Retire, Phase::Retired),
        (Phase::Retired, Step::Unload, Phase::Unloaded),
        (Phase::Retired, Step::Keep, Phase::Resident),
        (Phase::Resident, Step::Unload, Phase::Unloaded),
        (Phase::Faulted, Step::Replace, Phase::Draining),
        (Phase::Faulted, Step::Retire, Phase::Retired),
    ];

    #[test]
    fn exactly_the_steps_of_the_table_may_be_taken() {
        for phase in Phase::ALL {
            for step in STEPS {
                let expect = TABLE
                    .iter()
                    .find(|row| (row.0, row.1) == (phase, step))
                    .map(|row| row.2);
                assert_eq!(phase.after(step), expect, "{phase:?} {step:?}");
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
                for step in STEPS {
                    if let Some(next) = phase.after(step).filter(|next| !reached.contains(next)) {
                        reached.push(next);
                    }
                }
                at += 1;
            }
            assert!(reached.contains(&Phase::Unloaded), "{start:?}");
        }
        assert!(
            STEPS
                .iter()
                .all(|step| Phase::Unloaded.after(*step).is_none())
        );
    }

    #[test]
    fn a_step_that_may_not_be_taken_changes_nothing() {
        let life = Life::new();
        assert!(!life.advance(Step::Serve));
        assert_eq!(life.phase(), Phase::Staged);
        for step in [
            Step::Load,
            Step::Init,
            Step::Restore,
            Step::Probe,
            Step::Serve,
        ] {
            assert!(life.advance(step), "{step:?}");
        }
        assert_eq!(life.phase(), Phase::Serving);
    }
}
