//! An instance in a module process: the steps of its life, as orders.

use std::sync::Arc;
use std::time::Duration;

use super::{Needed, Process, Undone};
use crate::isolation::confine::Confinement;
use crate::isolation::wire::{Answer, Facts, Open, Order, Ready, State};
use crate::modules::descriptor::RoutePattern;
use crate::modules::grants::Grants;
use crate::modules::loader::{LoadError, OPENAPI_LEN_MAX, Owner};
use crate::modules::state::SavedState;

/// Each is looked at for every request; no module has so many routes.
const BODY_LIMITS_MAX: usize = 1024;

/// A process in which the library is open.
pub(crate) struct Opened(Needed);

pub(crate) struct Instance {
    process: Needed,
    facts: Facts,
    ready: Ready,
}

/// What a process is told before it opens the library.
pub(crate) struct Opening {
    /// A JSON object.
    pub(crate) config: String,
    pub(crate) grants: Grants,
    pub(crate) confinement: Confinement,
}

impl Opened {
    /// Has the process open the library. Runs its constructors, there.
    pub(crate) fn open(
        process: Needed,
        owner: &Owner,
        opening: Opening,
    ) -> Result<Opened, LoadError> {
        let open = Order::Open(Box::new(Open {
            name: owner.name.to_string(),
            generation: owner.number,
            config: opening.config,
            grants: opening.grants,
            confinement: opening.confinement,
            lanes: process.lanes.len(),
            body_bytes_max: owner.body_bytes_max,
            state_bytes_max: owner.state_bytes_max,
            log_level: owner.log.max_level(&owner.name),
        }));
        match process.order(&open) {
            Ok(Answer::Done) if process.confined().is_some() => Ok(Opened(process)),
            Ok(_) => Err(odd()),
            Err(undone) => Err(failed(undone, "its library was opened")),
        }
    }

    pub(crate) fn init(self) -> Result<Instance, LoadError> {
        match self.0.order(&Order::Init) {
            Ok(Answer::Instance(facts)) => Ok(Instance {
                process: self.0,
                facts,
                ready: Ready::default(),
            }),
            Ok(_) => Err(odd()),
            Err(undone) => Err(failed(undone, "`init` ran")),
        }
    }
}

impl Instance {
    pub(crate) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    pub(crate) fn facts(&self) -> Facts {
        self.facts
    }

    pub(crate) fn restore(&mut self, state: Option<&SavedState>) -> Result<(), LoadError> {
        let state = state.map(|state| State {
            schema: state.schema,
            bytes: state.bytes.to_vec(),
        });
        match self.process.order(&Order::Restore(state)) {
            Ok(Answer::Instance(facts)) => {
                self.facts = facts;
                Ok(())
            }
            Ok(_) => Err(odd()),
            Err(undone) => Err(failed(undone, "it was given the state")),
        }
    }

    pub(crate) fn probe(&mut self, owner: &Owner) -> Result<(), LoadError> {
        match self.process.order(&Order::Probe) {
            Ok(Answer::Ready(ready))
                if ready.body_limits.len() > BODY_LIMITS_MAX
                    || ready
                        .openapi
                        .as_ref()
                        .is_some_and(|document| document.len() > OPENAPI_LEN_MAX) =>
            {
                Err(odd())
            }
            Ok(Answer::Ready(ready)) => {
                for (pattern, bytes) in &ready.body_limits {
                    if let Some(pattern) = RoutePattern::parse(pattern) {
                        owner.add_body_limit(pattern, (*bytes).min(owner.body_bytes_max));
                    }
                }
                self.ready = ready;
                Ok(())
            }
            Ok(_) => Err(odd()),
            Err(undone) => Err(failed(undone, "it was asked whether it can serve")),
        }
    }

    pub(crate) fn openapi(&self) -> Option<String> {
        self.ready.openapi.clone()
    }

    pub(crate) fn save(&self, owner: &Owner) -> Result<Option<SavedState>, LoadError> {
        match self.process.order(&Order::Save) {
            Ok(Answer::Saved(Some(state))) if state.bytes.len() > owner.state_bytes_max => {
                Err(odd())
            }
            Ok(Answer::Saved(state)) => Ok(state.map(|state| SavedState {
                schema: state.schema,
                bytes: state.bytes.into(),
            })),
            Ok(_) => Err(odd()),
            Err(undone) => Err(failed(undone, "it handed its state over")),
        }
    }

    pub(crate) fn quiesce(&self, drain: Duration) {
        // A module that ends here is told of by its end.
        let _ = self.process.order(&Order::Quiesce(drain));
    }

    /// Ends it in good order, and waits until the process is gone.
    pub(crate) fn end(&self) {
        if self.process.has_ended() {
            // By itself, and that is told.
            return;
        }
        self.process.set_ending();
        if let Err(Undone::Refused(reason)) = self.process.order(&Order::End) {
            self.process.kill(reason);
        }
        let mut end = self.process.wait_end();
        if !self.process.has_ended() {
            self.process
                .kill("it did not end when it was told to, and was killed");
            end = self.process.wait_end();
        }
        if end.status.is_none_or(|status| !status.success()) {
            tracing::warn!(module = %self.process.label(), how = %end, "a module's process did not end in good order");
        }
    }
}

fn failed(undone: Undone, step: &'static str) -> LoadError {
    match undone {
        Undone::Refused(reason) => LoadError::Apart(reason),
        Undone::Ended(how) => LoadError::Ended { how, step },
    }
}

fn odd() -> LoadError {
    LoadError::Apart("its process answered something else than was asked".to_owned())
}
