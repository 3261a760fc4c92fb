//! A module whose process has ended is started again, from the private copy of its file, as a new generation.
//!
//! Its durable state is where it was; what was only in its memory is gone. New requests wait meanwhile.

use std::sync::Arc;
use std::time::Instant;

use super::Registry;
use crate::clock;
use crate::events::Event;
use crate::isolation::process::{End, Process};
use crate::modules::crash::Crash;
use crate::modules::generation::Generation;
use crate::modules::load::{Artifact, Wanted};
use crate::modules::restart::Verdict;

impl Registry {
    /// Starts `generation` again if its process ends by itself.
    pub(super) fn restart_after(self: &Arc<Self>, generation: &Arc<Generation>) {
        let Some(process) = generation.process().cloned() else {
            return;
        };
        // Whoever else needs the generation decides how long it lives.
        let (registry, generation) = (Arc::clone(self), Arc::downgrade(generation));
        self.control.spawn(async move {
            let end = process.ended().await;
            // One that ended before it was this generation's was not noted as its end.
            let unnoted = || generation.upgrade().filter(|_| !process.is_ending());
            if let Some(generation) = process.take_crashed().or_else(unnoted) {
                registry.crashed(&generation, &process, &end).await;
            }
        });
    }

    async fn crashed(self: &Arc<Self>, generation: &Arc<Generation>, process: &Process, end: &End) {
        let name = &*generation.name;
        // One that ended before it served was nobody's to mark.
        generation.start_restarting();
        generation.count_failure();
        let crash = Crash {
            generation: generation.number,
            reason: end.to_string(),
            signal: end.signal(),
            routes: process.last_routes(),
            at: clock::unix_now(),
        };
        let reason = crash.reason.clone();
        if !self.is_current(generation) {
            // It was to end anyway.
            self.tell_crash(generation, crash, None);
            return;
        }
        let verdict = self.count_crash(name, crash.clone());
        self.tell_crash(generation, crash, Some(verdict));
        if generation.has_way_back() {
            // A version that crashes in its window is not started again: the one before is.
            return;
        }
        let mut verdict = verdict;
        loop {
            let pause = match verdict {
                Verdict::RestartAfter(pause) => pause,
                Verdict::Quarantine => {
                    generation.give_up_restart(&format!(
                        "its process ended too often, at last with {reason}"
                    ));
                    return;
                }
            };
            tokio::time::sleep(pause).await;
            let _busy = self.claim(name).await;
            if !self.is_current(generation) {
                return;
            }
            let Some(wanted) = self.same_again(generation) else {
                generation.give_up_restart("what it was loaded from is gone");
                return;
            };
            match self.swap_in(name, wanted).await {
                Ok(_swapped) => {
                    self.count_restart(name);
                    self.tell_restarted(name, generation.number);
                    return;
                }
                Err(refusal) => {
                    self.tell_refused(name, &refusal.to_string());
                    verdict = self.count_failed_restart(name);
                }
            }
        }
    }

    /// Tells that the code of generation `from` runs again, as a new one.
    pub(super) fn tell_restarted(&self, name: &str, from: u64) {
        let Some(now) = self.get(name) else { return };
        tracing::info!(module = %now.label, after = from, "a module was started again");
        self.events.publish(Event::ModuleRestarted {
            module: name.to_owned(),
            from,
            to: now.number,
        });
    }

    /// What `generation` was made from, without the state that went with it.
    fn same_again(&self, generation: &Generation) -> Option<Wanted> {
        let spec = self.places().get(&*generation.name)?.spec.clone()?;
        Some(Wanted {
            spec,
            artifact: Artifact::Copy {
                copy: generation.copy()?,
                sha256: generation.sha256.clone(),
            },
            kept: Some(None),
            no_way_back: true,
        })
    }

    fn is_current(&self, generation: &Arc<Generation>) -> bool {
        self.get(&generation.name)
            .is_some_and(|now| Arc::ptr_eq(&now, generation))
    }

    fn count_crash(&self, name: &str, crash: Crash) -> Verdict {
        let mut places = self.places();
        let place = places.entry(name.to_owned()).or_default();
        place.crashes += 1;
        place.last_crash = Some(crash);
        place.restarts.crashed(Instant::now())
    }

    fn count_restart(&self, name: &str) {
        if let Some(place) = self.places().get_mut(name) {
            place.restarted += 1;
        }
    }

    /// How often `name` was started again after a crash.
    pub(crate) fn restarts(&self, name: &str) -> u64 {
        self.places().get(name).map_or(0, |place| place.restarted)
    }

    fn count_failed_restart(&self, name: &str) -> Verdict {
        let mut places = self.places();
        let place = places.entry(name.to_owned()).or_default();
        place.restarts.crashed(Instant::now())
    }

    /// How often the processes of `name` have crashed, and the last time.
    pub(crate) fn crashes(&self, name: &str) -> (u64, Option<Crash>) {
        let places = self.places();
        let place = places.get(name);
        place.map_or((0, None), |place| (place.crashes, place.last_crash.clone()))
    }

    fn tell_crash(&self, generation: &Generation, crash: Crash, verdict: Option<Verdict>) {
        let (restart_in_ms, quarantined) = match verdict {
            None => (None, false),
            Some(Verdict::Quarantine) => (None, true),
            Some(Verdict::RestartAfter(pause)) => (
                Some(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
                false,
            ),
        };
        tracing::error!(
            module = %generation.label,
            reason = crash.reason,
            routes = crash.routes.join(", "),
            restart_in_ms,
            quarantined,
            "the process of a module ended"
        );
        self.events.publish(Event::ModuleCrashed {
            module: generation.name.to_string(),
            crash,
            restart_in_ms,
            quarantined,
        });
    }
}
