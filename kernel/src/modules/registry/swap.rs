//! One generation takes the place of another.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::exclusive::Ceded;
use super::rollback::WayBack;
use super::{Registry, Spec};
use crate::events::Event;
use crate::modules::control::on_control_thread;
use crate::modules::generation::Generation;
use crate::modules::handover::{Probed, Source};
use crate::modules::life::Transition;
use crate::modules::load::{Apart, Artifact, Initialised, Job, Refusal, Wanted};
use crate::modules::loader::Owner;
use crate::modules::receipt::{HandedOver, Identity, Receipt, Requests};
use crate::modules::retire;
use crate::modules::state::SavedState;

/// What an operation answers at once, and what it answers when the old generation is gone.
pub(crate) struct Swapped {
    pub(crate) receipt: Receipt,
    /// Whether there was nothing to replace.
    pub(crate) created: bool,
    drained: Option<watch::Receiver<Option<Receipt>>>,
}

impl Swapped {
    /// The receipt as it is once the old generation is gone.
    pub(crate) async fn drained(mut self) -> Receipt {
        if let Some(drained) = &mut self.drained
            && let Ok(last) = drained.wait_for(Option::is_some).await
        {
            return last.clone().unwrap_or(self.receipt);
        }
        self.receipt
    }
}

/// How a generation that takes no more requests ends.
pub(super) enum End {
    /// In the background, within its own `drain_timeout` or this.
    In(Option<Duration>),
    /// It was stopped; who waits for its end is told here.
    Stopped(retire::Stopped, watch::Sender<Option<Receipt>>),
}

/// What a swap did, for its receipt.
pub(super) struct Swap<'a> {
    to: &'a Generation,
    swap_us: u64,
    state: Option<HandedOver>,
}

impl Registry {
    /// Loads `wanted` and lets it take the place of `name`, which the caller has claimed.
    pub(super) async fn swap_in(
        self: &Arc<Self>,
        name: &str,
        wanted: Wanted,
    ) -> Result<Swapped, Refusal> {
        self.swap(name, wanted, None).await
    }

    /// As `swap_in`. `ceded`: the old one has ended already.
    pub(super) async fn swap(
        self: &Arc<Self>,
        name: &str,
        wanted: Wanted,
        mut ceded: Option<Ceded>,
    ) -> Result<Swapped, Refusal> {
        let Wanted {
            spec,
            artifact,
            kept,
            no_way_back,
        } = wanted;
        let number = self.next_number(name);
        let is_way_back = ceded.is_some();
        let loaded = self
            .load(name, number, &spec, artifact, kept, &mut ceded)
            .await;
        let Probed {
            generation: new,
            hold,
            receipt,
            state,
        } = match loaded {
            Ok(probed) => probed,
            Err(refusal) => return Err(self.refused(name, refusal, ceded, is_way_back).await),
        };
        let before = self.set_spec(name, spec.clone());
        let (hold, end, copy) = match ceded {
            Some(ceded) => {
                let end = End::Stopped(ceded.stopped, ceded.done);
                (Some(ceded.hold), end, ceded.copy)
            }
            None => (hold, End::In(None), None),
        };
        let since = hold.as_ref().map_or_else(Instant::now, |hold| hold.since);
        new.serve();
        let old = self.exchange(name, Some(Arc::clone(&new)));
        if let Some(old) = &old {
            // Before anyone is told, and before those who wait look again: no request that comes now finds the old one.
            old.stop_taking();
        }
        let swap_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        drop(hold);
        self.tell_swapped(old.as_deref(), &new);
        if let (Some(rollback), Some(old), Some(before)) = (spec.rollback, &old, before)
            && !no_way_back
            && let Some(copy) = copy.or_else(|| old.copy())
        {
            self.watch_over(&new, rollback, WayBack::to(old, copy, before, state));
        }
        self.restart_after(&new);
        let swap = Swap {
            to: &new,
            swap_us,
            state: receipt,
        };
        Ok(self.retire(name, old, Some(swap), end))
    }

    fn tell_swapped(&self, old: Option<&Generation>, new: &Generation) {
        let (module, version) = (new.name.to_string(), new.descriptor.version.clone());
        self.events.publish(match old {
            None => {
                tracing::info!(module = %new.label, version, grants = %new.grants, "module loaded");
                Event::ModuleLoaded {
                    module,
                    generation: new.number,
                    version,
                }
            }
            Some(old) => {
                tracing::info!(module = %new.label, version, from = old.number, grants = %new.grants, "module swapped");
                Event::ModuleSwapped {
                    module,
                    from: old.number,
                    to: new.number,
                    version,
                }
            }
        });
    }

    /// Everything before the exchange: it can fail, and leaves what runs untouched, unless that had to end for it.
    async fn load(
        &self,
        name: &str,
        number: u64,
        spec: &Spec,
        artifact: Artifact,
        kept: Option<Option<SavedState>>,
        ceded: &mut Option<Ceded>,
    ) -> Result<Probed, Refusal> {
        let owner = Owner::register(
            Arc::from(name),
            number,
            self.settings.body_bytes_max,
            self.settings.state_bytes_max,
            Arc::new(self.settings.log.clone()),
            self.settings.metrics.of(name),
            Arc::clone(&self.settings.carrier),
        );
        self.note_owner(name, &owner);
        let job = Job {
            owner: Arc::clone(&owner),
            spec: spec.clone(),
            artifact,
            staging: Arc::clone(&self.staging),
            step: Arc::default(),
            trial: self
                .serving
                .load(Ordering::Relaxed)
                .then_some(self.settings.init_timeout),
            module_dirs: self.settings.module_dirs.clone(),
            body_bytes: self.settings.body_bytes,
            requests_max: self.settings.requests_max,
            quarantine_after: self.settings.quarantine_after,
            events: Arc::clone(&self.events),
            apart: Apart {
                workers: self.settings.workers,
                stuck_after: self.settings.stuck_after,
                runtime: self.control.clone(),
            },
        };
        let outcome = match self.initialise(name, job).await {
            Ok(new) => {
                let source = match (kept, self.get(name)) {
                    (Some(state), _) => Source::Kept(state),
                    (None, Some(old)) => Source::Old(old),
                    (None, None) => Source::Nothing,
                };
                self.take_over(name, new, source, ceded).await
            }
            Err(refusal) => Err(refusal),
        };
        if outcome.is_err() {
            owner.life.advance(Transition::Fault);
            owner.unregister();
            if self.get(name).is_none() {
                self.settings.metrics.forget(name);
            }
        }
        outcome
    }

    async fn initialise(&self, name: &str, job: Job) -> Result<Initialised, Refusal> {
        let step = Arc::clone(&job.step);
        let loaded = on_control_thread(format!("load-{name}"), move || job.run())
            .map_err(Refusal::Thread)?;
        match tokio::time::timeout(self.settings.init_timeout, loaded).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_gone)) => Err(Refusal::Ended),
            // The thread is given up; should it return after all, what it made is ended unused.
            Err(_elapsed) => Err(Refusal::Overdue(step.give_up(self.settings.init_timeout))),
        }
    }

    pub(super) fn exchange(
        &self,
        name: &str,
        new: Option<Arc<Generation>>,
    ) -> Option<Arc<Generation>> {
        let mut old = None;
        self.routes.rcu(|routes| {
            let mut routes = Vec::clone(routes);
            let at = routes
                .iter()
                .position(|generation| &*generation.name == name);
            old = at.map(|at| routes.remove(at));
            routes.extend(new.clone());
            routes.sort_by(|a, b| a.name.cmp(&b.name));
            routes
        });
        old
    }

    /// Lets `old` finish and ends it, in the background, and tells of its end.
    pub(super) fn retire(
        &self,
        name: &str,
        old: Option<Arc<Generation>>,
        swap: Option<Swap<'_>>,
        end: End,
    ) -> Swapped {
        let mut receipt = Receipt {
            module: name.to_owned(),
            from: old.as_deref().map(Identity::of),
            to: swap.as_ref().map(|swap| Identity::of(swap.to)),
            swap_us: swap.as_ref().map(|swap| swap.swap_us),
            drain_ms: None,
            requests: Requests::default(),
            state: swap.and_then(|swap| swap.state),
            unloaded: None,
            resident_reason: None,
        };
        let Some(old) = old else {
            return Swapped {
                receipt,
                created: true,
                drained: None,
            };
        };
        let under_way = old.in_flight() as u64;
        let mut drain = old.drain_timeout;
        let (stopped, done) = match end {
            End::Stopped(stopped, done) => (Some(stopped), done),
            End::In(limit) => {
                drain = limit.unwrap_or(drain);
                let (done, drained) = watch::channel(None);
                self.retiring.add(&old, drained);
                (None, done)
            }
        };
        let drained = done.subscribe();
        let (events, unloading) = (Arc::clone(&self.events), Arc::clone(&self.unloading));
        let first = receipt.clone();
        self.control.spawn(async move {
            let stopped = match stopped {
                Some(stopped) => stopped,
                None => retire::stop(&old, under_way, drain, &unloading).await,
            };
            let end = retire::unload(&old, stopped, &unloading).await;
            receipt.drain_ms = Some(end.drain_ms);
            receipt.requests = end.requests;
            receipt.unloaded = Some(end.unloaded.is_ok());
            receipt.resident_reason = end.unloaded.err();
            let resident = receipt.resident_reason.as_deref();
            tracing::info!(module = %old.label, drain_ms = end.drain_ms, resident, "module retired");
            events.publish(Event::ModuleUnloaded {
                module: receipt.module.clone(),
                generation: old.number,
                unloaded: resident.is_none(),
            });
            // The receiver is gone when nobody waits.
            let _ = done.send(Some(receipt));
            for (module, generation) in unloading.retry().await {
                tracing::info!(module, generation, "a module that was held has left the process");
                events.publish(Event::ModuleUnloaded {
                    module,
                    generation,
                    unloaded: true,
                });
            }
        });
        Swapped {
            receipt: first,
            created: false,
            drained: Some(drained),
        }
    }
}
