//! Which generation a name means now: load, swap, drain, retire.
//!
//! One operation at a time for each name. What may take long or hang, a module's constructors, `init` and `fini`, runs on a
//! control thread of its own, so that it holds up nobody else.

mod callers;
mod change;
mod exclusive;
mod restart;
mod retiring;
mod rollback;
mod swap;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

pub(crate) use change::Change;
use retiring::Retiring;
use swap::End;
pub(crate) use swap::Swapped;

use super::calls::Carrier;
use super::crash::Crash;
use super::executor;
use super::generation::{Generation, Pin, Refused};
use super::grants::is_module_name;
use super::life::Phase;
use super::load::{Artifact, Wanted};
pub(crate) use super::load::{GrantSpec, Spec};
use super::loader::{self, Owner};
use super::metrics::Metrics;
use super::restart::Restarts;
use super::retire::Unloading;
use super::stage::Staging;
use crate::controls::Controls;
use crate::events::{Event, Events};
use crate::isolation::process;
use crate::problem::{Code, Problem};
use crate::telemetry::{LogHandle, ModuleLog as _};

/// Between two looks at a load that is under way when the process ends.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
pub(crate) struct Registry {
    /// By name. There are few: looking through them is faster than hashing.
    routes: ArcSwap<Vec<Arc<Generation>>>,
    places: Mutex<BTreeMap<String, Place>>,
    retiring: Retiring,
    staging: Arc<Staging>,
    unloading: Arc<Unloading>,
    /// From when on there is somebody to be held up by a load.
    serving: AtomicBool,
    settings: Settings,
    events: Arc<Events>,
    /// Where drains are awaited: not on a worker.
    control: Handle,
}

/// What the configuration says of all modules.
pub(crate) struct Settings {
    pub(crate) module_dirs: Vec<PathBuf>,
    pub(crate) body_bytes: u64,
    pub(crate) body_bytes_max: u64,
    pub(crate) requests_max: usize,
    pub(crate) state_bytes_max: usize,
    /// `[kernel] unload = "never"`
    pub(crate) never_unload: bool,
    pub(crate) quarantine_after: Duration,
    /// `[limits] init_timeout`
    pub(crate) init_timeout: Duration,
    /// `[limits] stuck_after`
    pub(crate) stuck_after: Duration,
    /// `[limits] restart_wait`
    pub(crate) restart_wait: Duration,
    /// `[kernel] workers`
    pub(crate) workers: usize,
    pub(crate) log: LogHandle,
    pub(crate) metrics: Arc<Metrics>,
    /// Of calls that belong to no request.
    pub(crate) carrier: Arc<dyn Carrier>,
    /// What the configuration gives, by name. A module it does not name may be loaded, but is given nothing.
    pub(crate) configured: BTreeMap<String, Spec>,
}

#[derive(Default)]
struct Place {
    /// The number of the last generation.
    last: u64,
    busy: bool,
    /// What the running generation was loaded with.
    spec: Option<Spec>,
    restarts: Restarts,
    /// Of its processes, since the kernel started.
    crashes: u64,
    /// How often it was started again after one.
    restarted: u64,
    last_crash: Option<Crash>,
    /// Of its generations, served or not, those whose code may run.
    owners: Vec<Weak<Owner>>,
}

impl Registry {
    pub(crate) fn new(
        staging: Staging,
        settings: Settings,
        events: Arc<Events>,
        control: Handle,
    ) -> Registry {
        Registry {
            routes: ArcSwap::default(),
            places: Mutex::default(),
            retiring: Retiring::default(),
            staging: Arc::new(staging),
            unloading: Arc::new(Unloading {
                workers: OnceLock::new(),
                never: settings.never_unload,
            }),
            serving: AtomicBool::new(false),
            settings,
            events,
            control,
        }
    }

    /// The generation that requests of `name` go to now. Read it anew for every request.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Generation>> {
        self.routes
            .load()
            .iter()
            .find(|generation| &*generation.name == name)
            .cloned()
    }

    /// Takes hold of the generation that requests of `name` go to, if `may` lets it. One that is swapped meanwhile passes the
    /// request to the newer one; one whose state is handed over, or that is started again, holds it for `wait` at most. `None`
    /// when there is none.
    pub(crate) async fn pin(
        &self,
        name: &str,
        wait: Duration,
        may: impl Fn(&Generation) -> Result<(), Problem>,
    ) -> Result<Option<Pin>, Problem> {
        let mut generation = self.get(name);
        loop {
            let Some(current) = generation else {
                return Ok(None);
            };
            may(&current)?;
            generation = match current.pin() {
                Ok(pin) => return Ok(Some(pin)),
                Err(Refused::Full) => return Err(executor::overloaded()),
                Err(Refused::Faulted) => return Err(executor::quarantined(&current)),
                // Its state is being handed over: whoever has its place then takes the request.
                Err(Refused::Held) => {
                    executor::released(&current, wait).await?;
                    self.get(name)
                }
                // It was swapped between the look and the pin: the newer one takes the request.
                Err(Refused::Draining) => {
                    self.get(name).filter(|newer| !Arc::ptr_eq(newer, &current))
                }
            };
        }
    }

    /// All that take requests, by name.
    pub(crate) fn serving(&self) -> Vec<Arc<Generation>> {
        Vec::clone(&self.routes.load())
    }

    /// All that take none any more and have some to finish, oldest first.
    pub(crate) fn draining(&self) -> Vec<Arc<Generation>> {
        self.retiring.draining()
    }

    /// Whether a module is in quarantine.
    pub(crate) fn any_faulted(&self) -> bool {
        let faulted = |generation: &Arc<Generation>| generation.phase() == Phase::Faulted;
        self.routes.load().iter().any(faulted)
    }

    /// Generations of `name` whose code is in the process, the running one included.
    pub(crate) fn resident(&self, name: &str) -> u64 {
        loader::mapped(name) + process::alive(name)
    }

    /// The log's filter has changed: modules in processes of their own are told what is written of theirs.
    pub(crate) fn tell_log_level(&self) {
        for generation in self.serving().iter().chain(&self.draining()) {
            if let Some(process) = generation.process() {
                process.set_log_level(self.settings.log.max_level(&generation.name));
            }
        }
    }

    /// The threads that have called modules, and have to run what those leave on them.
    pub(crate) fn set_workers(&self, workers: Controls) {
        // Once.
        let _ = self.unloading.workers.set(workers);
    }

    /// Loads what the configuration names.
    pub(crate) async fn load_configured(self: &Arc<Self>) -> Result<(), (String, Problem)> {
        for name in self.load_order() {
            self.put(&name, Change::default())
                .await
                .map_err(|problem| (name, problem))?;
        }
        self.serving.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Loads a module, or swaps the one of that name. Goes on to its end when the caller leaves.
    pub(crate) async fn put(
        self: &Arc<Self>,
        name: &str,
        change: Change,
    ) -> Result<Swapped, Problem> {
        let (registry, name) = (Arc::clone(self), name.to_owned());
        let put = self
            .control
            .spawn(async move { registry.put_here(&name, change).await });
        put.await.unwrap_or_else(|_ended| {
            Err(Problem::new(Code::Draining, "the kernel is shutting down"))
        })
    }

    async fn put_here(self: &Arc<Self>, name: &str, change: Change) -> Result<Swapped, Problem> {
        let _busy = self.begin(name)?;
        if change.only_swap && !self.has_place(name) {
            return Err(not_found(name));
        }
        let spec = self
            .changed(name, change)
            .inspect_err(|problem| self.tell_refused(name, &problem.detail))?;
        let wanted = Wanted {
            spec,
            artifact: Artifact::AtPath,
            kept: None,
            no_way_back: false,
        };
        // A new start: what crashed before does not count against it.
        if let Some(place) = self.places().get_mut(name) {
            place.restarts = Restarts::default();
        }
        self.swap_in(name, wanted).await.map_err(|refusal| {
            let problem = refusal.problem();
            self.tell_refused(name, &problem.detail);
            problem
        })
    }

    /// Takes a module away; what is under way on it may go on for `drain`. One that others may call is, only if `force` says so.
    pub(crate) fn remove(
        &self,
        name: &str,
        drain: Option<Duration>,
        force: bool,
    ) -> Result<Swapped, Problem> {
        let _busy = self.begin(name)?;
        if !force {
            self.expect_no_callers(name)?;
        }
        let Some(old) = self.exchange(name, None) else {
            return Err(not_found(name));
        };
        if let Some(place) = self.places().get_mut(name) {
            place.spec = None;
        }
        self.settings.metrics.forget(name);
        old.stop_taking();
        Ok(self.retire(name, Some(old), None, End::In(drain)))
    }

    /// Takes every module away, for the end of the process: also one whose load is under way, and those that were replaced and
    /// have requests to finish.
    pub(crate) async fn remove_all(&self, drain: Duration) {
        let deadline = tokio::time::Instant::now() + drain;
        loop {
            let late = tokio::time::Instant::now() >= deadline;
            let names = if late {
                self.serving()
                    .iter()
                    .map(|generation| Arc::clone(&generation.name))
                    .collect()
            } else {
                // What finishes in a module may need others for that.
                self.uncalled()
            };
            for name in names {
                // One whose load is under way is taken away in a later round.
                let left = deadline.saturating_duration_since(tokio::time::Instant::now());
                let _ = self.remove(&name, Some(left), true);
            }
            self.retiring.end(deadline).await;
            let serving = !self.serving().is_empty();
            let busy = self.places().values().any(|place| place.busy);
            // What came to serve meanwhile can be taken away now; what is still being loaded is not waited for.
            if !(busy || serving) || (late && busy) {
                return;
            }
            if busy {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
        }
    }

    /// Whether it is loaded, or was until its last reload failed.
    fn has_place(&self, name: &str) -> bool {
        let has_spec = |place: &Place| place.spec.is_some();
        self.places().get(name).is_some_and(has_spec)
    }

    fn tell_refused(&self, name: &str, reason: &str) {
        tracing::warn!(module = name, reason, "a module was refused");
        self.events.publish(Event::ModuleRefused {
            module: name.to_owned(),
            reason: reason.to_owned(),
        });
    }

    fn next_number(&self, name: &str) -> u64 {
        let mut places = self.places();
        let place = places.entry(name.to_owned()).or_default();
        place.last += 1;
        place.last
    }

    /// Remembers what now runs; what ran before.
    fn set_spec(&self, name: &str, spec: Spec) -> Option<Spec> {
        self.places().get_mut(name)?.spec.replace(spec)
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims the name for one operation, when no other has it.
    async fn claim(&self, name: &str) -> Option<Busy<'_>> {
        loop {
            match self.begin(name) {
                Ok(busy) => return Some(busy),
                Err(problem) if problem.code == Code::ModuleBusy => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Err(_no_name) => return None,
            }
        }
    }

    /// Claims the name for one operation.
    fn begin(&self, name: &str) -> Result<Busy<'_>, Problem> {
        if !is_module_name(name) {
            return Err(Problem::new(
                Code::InvalidRequest,
                "a module's name starts with a lower-case letter and has letters, digits, - and _, 32 at most",
            ));
        }
        let mut places = self.places();
        let place = places.entry(name.to_owned()).or_default();
        if std::mem::replace(&mut place.busy, true) {
            let detail = format!(
                "{name} is being loaded or unloaded by another request: try again when that is done"
            );
            return Err(Problem::new(Code::ModuleBusy, detail));
        }
        Ok(Busy {
            registry: self,
            name: name.to_owned(),
        })
    }
}

/// Frees the name again.
struct Busy<'a> {
    registry: &'a Registry,
    name: String,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.registry.places().get_mut(&self.name) {
            place.busy = false;
        }
    }
}

fn not_found(name: &str) -> Problem {
    Problem::new(
        Code::ModuleNotFound,
        format!("no module {name} is loaded: GET /modules lists those that are"),
    )
}
