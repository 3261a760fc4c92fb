//! The way back: while its window is open, a version that fails too often is replaced by the one before it.
//!
//! What counts is the code's own: panics, failures at the boundary, quarantine. The status codes of its answers do not, since
//! a provider's outage is no fault of the module. The version before is loaded anew, from the private copy of its file, which
//! is kept for the window.

use super::{Registry, Spec};
use crate::config::Rollback;
use crate::events::Event;
use crate::modules::generation::Generation;
use crate::modules::handover;
use crate::modules::life::Phase;
use crate::modules::load::{Artifact, Wanted};
use crate::modules::private_copy::PrivateCopy;
use crate::modules::state::{SavedState, Schemas};
use std::sync::Arc;

/// What is needed to have the version before again.
pub(super) struct WayBack {
    number: u64,
    schemas: Option<Schemas>,
    copy: Arc<PrivateCopy>,
    /// Of the artifact that the copy was made from.
    sha256: String,
    spec: Spec,
    /// What it handed over when it was replaced.
    state: Option<SavedState>,
}

impl WayBack {
    pub(super) fn to(
        old: &Generation,
        copy: Arc<PrivateCopy>,
        spec: Spec,
        state: Option<SavedState>,
    ) -> WayBack {
        WayBack {
            number: old.number,
            schemas: old.descriptor.state,
            copy,
            sha256: old.sha256.clone(),
            spec,
            state,
        }
    }
}

impl Registry {
    /// Rolls `new` back if it fails too often while the window is open.
    pub(super) fn watch_over(
        self: &Arc<Self>,
        new: &Arc<Generation>,
        rollback: Rollback,
        way_back: WayBack,
    ) {
        if !handover::can_return(way_back.schemas, new.descriptor.state) {
            tracing::warn!(module = %new.label, "rollback stays off: the version before cannot read the state that this one writes");
            return;
        }
        let (registry, new) = (Arc::clone(self), Arc::clone(new));
        let window = new.open_way_back();
        self.control.spawn(async move {
            let failed = new.failed_more_often_than(rollback.max_failures);
            if tokio::time::timeout(rollback.window, failed).await.is_ok() {
                registry.roll_back(&new, way_back).await;
                // Where it could not be.
                new.give_up_restart("its process ended, and the version before cannot be had");
            }
            drop(window);
        });
    }

    async fn roll_back(self: &Arc<Self>, failed: &Arc<Generation>, way_back: WayBack) {
        let name = &*failed.name;
        let _busy = self.claim(name).await;
        if !self.get(name).is_some_and(|now| Arc::ptr_eq(&now, failed)) {
            return;
        }
        let reason = match failed.phase() {
            Phase::Faulted if failed.is_restarting() => "its process ended".to_owned(),
            Phase::Faulted => "it was put in quarantine".to_owned(),
            _ => format!("it failed {} times", failed.failures()),
        };
        tracing::warn!(module = %failed.label, reason, to = way_back.number, "rolling a module back");
        let wanted = |kept| Wanted {
            spec: Spec {
                rollback: None,
                ..way_back.spec.clone()
            },
            artifact: Artifact::Copy {
                copy: Arc::clone(&way_back.copy),
                sha256: way_back.sha256.clone(),
            },
            kept,
            no_way_back: true,
        };
        // A version without state has nothing to give back; what it was offered is as good as new.
        let first = (!failed.saves() || failed.is_restarting()).then(|| way_back.state.clone());
        let swapped = match self.swap_in(name, wanted(first.clone())).await {
            Err(refusal) if first.is_none() => {
                tracing::warn!(module = %failed.label, reason = %refusal, "the failing version's state cannot be had: going back to the state it was given");
                self.swap_in(name, wanted(Some(way_back.state.clone())))
                    .await
            }
            swapped => swapped,
        };
        match swapped {
            Ok(_receipt) => {
                // The next reload starts from what was before, with its own way back.
                self.set_spec(name, way_back.spec);
                if let Some(now) = self.get(name) {
                    self.events.publish(Event::ModuleRolledBack {
                        module: name.to_owned(),
                        from: failed.number,
                        to: now.number,
                        version: now.descriptor.version.clone(),
                        reason,
                    });
                }
            }
            Err(refusal) => {
                tracing::error!(module = %failed.label, reason = %refusal, "a module could not be rolled back");
                self.tell_refused(name, &refusal.to_string());
            }
        }
    }
}
