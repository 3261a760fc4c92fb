//! A module that declares `exclusive`: at a swap its old generation ends before the new one begins.
//!
//! New requests wait meanwhile. A new one that is refused has cost the old one its life, so that its code is then started anew,
//! from its private copy; only where that fails, too, is the module away.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::swap::End;
use super::{BUSY_PAUSE, Registry};
use crate::modules::generation::Generation;
use crate::modules::handover::{self, Held, Probed, Source};
use crate::modules::load::{Artifact, Initialised, Refusal, Wanted};
use crate::modules::loader::Owner;
use crate::modules::private_copy::PrivateCopy;
use crate::modules::receipt::Receipt;
use crate::modules::retire::{self, Stopped};

/// What is left of a generation that has given its place up; new requests wait for as long as it is there.
pub(super) struct Ceded {
    pub(super) hold: Held,
    pub(super) stopped: Stopped,
    /// Who waits for its end is told here.
    pub(super) done: watch::Sender<Option<Receipt>>,
    /// What it was loaded from; `None` when that is gone.
    pub(super) copy: Option<Arc<PrivateCopy>>,
}

impl Registry {
    /// Gives `new` what it takes over from `source`; where only one generation may be, once the old one has ended.
    pub(super) async fn take_over(
        &self,
        name: &str,
        new: Initialised,
        source: Source,
        ceded: &mut Option<Ceded>,
    ) -> Result<Probed, Refusal> {
        let is_exclusive = |old: &Arc<Generation>| old.descriptor.exclusive;
        let source = if ceded.is_some()
            || new.descriptor.exclusive
            || self.get(name).as_ref().is_some_and(is_exclusive)
        {
            if let Err(refusal) = self.make_room(name, new.owner().number, ceded).await {
                new.discard();
                return Err(refusal);
            }
            Source::Kept(None)
        } else {
            source
        };
        handover::hand_over(new, source, self.settings.init_timeout).await
    }

    /// Ends what there is of `name`, but for generation `number`, which is to come.
    async fn make_room(
        &self,
        name: &str,
        number: u64,
        ceded: &mut Option<Ceded>,
    ) -> Result<(), Refusal> {
        let wait = self.settings.restart_wait;
        let current = self.get(name).filter(|current| !current.is_over());
        let serving = current.as_ref().map_or(number, |current| current.number);
        // First what stands in the way whether or not the current one ends.
        self.have_ended(name, Instant::now() + wait, &[number, serving])
            .await?;
        let Some(current) = current else {
            return Ok(());
        };
        if current.saves() {
            tracing::warn!(module = %current.label, "the new version is `exclusive` and takes no state: what is only in memory is dropped");
        }
        // The rest of the time that requests wait is for the end of the one and the beginning of the other.
        let drain = current.drain_timeout.min(wait / 2);
        *ceded = Some(self.cede(&current, drain).await);
        self.have_ended(name, Instant::now(), &[number]).await
    }

    /// Ends `current`, which may go on for `drain` with what is under way.
    async fn cede(&self, current: &Arc<Generation>, drain: Duration) -> Ceded {
        let copy = current.copy();
        let hold = Held::new(current.give_way());
        let (done, ended) = watch::channel(None);
        self.retiring.add(current, ended);
        let under_way = current.in_flight() as u64;
        let stopped = retire::stop(current, under_way, drain, &self.unloading).await;
        Ceded {
            hold,
            stopped,
            done,
            copy,
        }
    }

    /// Notes whose code runs from here on.
    pub(super) fn note_owner(&self, name: &str, owner: &Arc<Owner>) {
        let mut places = self.places();
        let owners = &mut places.entry(name.to_owned()).or_default().owners;
        owners.retain(|owner| owner.strong_count() > 0);
        owners.push(Arc::downgrade(owner));
    }

    /// Waits until no code of `name` runs, but that of the generations in `but`: neither of one that drains, nor of one that
    /// never served and was given up.
    async fn have_ended(&self, name: &str, deadline: Instant, but: &[u64]) -> Result<(), Refusal> {
        loop {
            let running = {
                let places = self.places();
                let owners = places.get(name).map_or(&[][..], |place| &place.owners);
                let mut owners = owners.iter().filter_map(Weak::upgrade);
                owners.find(|owner| !owner.has_ended() && !but.contains(&owner.number))
            };
            match running {
                None => return Ok(()),
                Some(owner) if Instant::now() >= deadline => {
                    return Err(Refusal::NotOver(owner.label()));
                }
                Some(_) => tokio::time::sleep(BUSY_PAUSE).await,
            }
        }
    }

    /// What to tell of a refusal, once what had to end for it is back. `is_way_back`: that it was to be just now.
    pub(super) async fn refused(
        self: &Arc<Self>,
        name: &str,
        refusal: Refusal,
        ceded: Option<Ceded>,
        is_way_back: bool,
    ) -> Refusal {
        match ceded {
            None => refusal,
            Some(ceded) if is_way_back => {
                self.take_away(name, ceded);
                refusal
            }
            Some(ceded) => self.bring_back(name, ceded, refusal).await,
        }
    }

    /// Starts the code of the generation that has ended anew, after its successor was refused; what to tell of that.
    async fn bring_back(self: &Arc<Self>, name: &str, ceded: Ceded, refusal: Refusal) -> Refusal {
        let before = self.get(name);
        let spec = self.places().get(name).and_then(|place| place.spec.clone());
        let (Some(before), Some(spec), Some(copy)) = (before, spec, ceded.copy.clone()) else {
            self.take_away(name, ceded);
            return not_back(refusal, "the copy of its file is gone");
        };
        if !before.is_over() {
            self.take_away(name, ceded);
            return not_back(refusal, "it does not end");
        }
        let wanted = Wanted {
            spec,
            artifact: Artifact::Copy {
                copy,
                sha256: before.sha256.clone(),
            },
            kept: None,
            no_way_back: true,
        };
        if let Err(back) = Box::pin(self.swap(name, wanted, Some(ceded))).await {
            return not_back(refusal, &format!("it could not be started again ({back})"));
        }
        self.tell_restarted(name, before.number);
        refusal
    }

    /// Takes away what has given its place up, with nothing to take it. What it was loaded with is kept for the next reload.
    fn take_away(&self, name: &str, ceded: Ceded) {
        let old = self.exchange(name, None);
        self.settings.metrics.forget(name);
        if let Some(old) = &old {
            old.stop_taking();
        }
        // What waits finds nothing there from here on.
        drop(ceded.hold);
        self.retire(name, old, None, End::Stopped(ceded.stopped, ceded.done));
    }
}

fn not_back(refusal: Refusal, back: &str) -> Refusal {
    Refusal::NotBack {
        refusal: Box::new(refusal),
        back: back.to_owned(),
    }
}
