//! A module that declares `exclusive`: at a swap its old generation ends before the new one begins.
//!
//! So a new one that is refused has cost the old one its life. The old one's code is then started anew, while requests still
//! wait; only where that fails, too, is the module gone.

use std::sync::Arc;

use tokio::time::Instant;

use super::Registry;
use super::swap::{End, Failed};
use crate::events::Event;
use crate::modules::cede::{self, Ceded};
use crate::modules::handover::{self, Probed, Source};
use crate::modules::load::{Artifact, Initialised, Refusal, Wanted};

impl Registry {
    /// Gives `new` what it takes over from `source`; where only one generation may be, once the old one has ended.
    pub(super) async fn take_over(
        &self,
        name: &str,
        new: Initialised,
        source: Source,
        ceded: Option<Ceded>,
    ) -> Result<Probed, Failed> {
        let old = self.get(name);
        let exclusive =
            new.descriptor.exclusive || old.as_ref().is_some_and(|old| old.descriptor.exclusive);
        if !exclusive {
            return handover::hand_over(new, source, self.settings.init_timeout)
                .await
                .map_err(|refusal| Failed {
                    refusal,
                    ceded: None,
                });
        }
        let deadline = Instant::now() + self.settings.restart_wait;
        let ceded = match (ceded, old) {
            (None, Some(old)) if !old.is_over() => {
                // Longer than a request may wait would refuse those that came first.
                let drain = old.drain_timeout.min(self.settings.restart_wait);
                Some(cede::cede(&old, drain, &self.unloading).await)
            }
            (ceded, _) => ceded,
        };
        let outcome = match self.still_there(name, deadline).await {
            Some(label) => Err(Refusal::NotOver(label)),
            None => handover::hand_over(new, Source::Kept(None), self.settings.init_timeout).await,
        };
        match outcome {
            Ok(probed) => Ok(Probed { ceded, ..probed }),
            Err(refusal) => Err(Failed { refusal, ceded }),
        }
    }

    /// Which generation of `name` has not ended at `deadline`.
    async fn still_there(&self, name: &str, deadline: Instant) -> Option<String> {
        let current = self.get(name).filter(|current| !current.is_over());
        match current {
            Some(current) => Some(current.label.clone()),
            None => self.retiring.still_there(name, deadline).await,
        }
    }

    /// Starts the code of the generation that has ended anew, after its successor was refused; why that was.
    pub(super) async fn bring_back(
        self: &Arc<Self>,
        name: &str,
        ceded: Ceded,
        refusal: Refusal,
    ) -> Refusal {
        let before = self.get(name);
        let spec = self.places().get(name).and_then(|place| place.spec.clone());
        let before = before.filter(|before| before.is_over());
        let (Some(before), Some(spec), Some(copy)) = (before, spec, ceded.copy.clone()) else {
            self.take_away(name, ceded);
            return refusal;
        };
        let wanted = Wanted {
            spec,
            artifact: Artifact::Copy {
                copy,
                sha256: before.sha256.clone(),
            },
            kept: None,
            no_way_back: true,
            ceded: Some(ceded),
        };
        match Box::pin(self.swap_in(name, wanted)).await {
            Ok(_swapped) => {
                if let Some(now) = self.get(name) {
                    tracing::warn!(module = %now.label, after = before.number, "a module was started again, since the one to replace it was refused");
                    self.events.publish(Event::ModuleRestarted {
                        module: name.to_owned(),
                        from: before.number,
                        to: now.number,
                    });
                }
                refusal
            }
            Err(back) => Refusal::NotBack {
                refusal: Box::new(refusal),
                back: Box::new(back),
            },
        }
    }

    /// Takes away what has ended, with nothing to take its place.
    pub(super) fn take_away(&self, name: &str, ceded: Ceded) {
        let old = self.exchange(name, None);
        self.settings.metrics.forget(name);
        if let Some(old) = &old {
            old.stop_taking();
        }
        // What waits finds nothing there from here on.
        drop(ceded.hold);
        self.retire(name, old, None, End::Over(ceded.end));
    }
}
