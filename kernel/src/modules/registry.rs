//! Which generation a name means now: load, swap, drain, retire.
//!
//! One operation at a time for each name. What may take long or hang, a module's constructors, `init` and `fini`, runs on a
//! control thread of its own, so that it holds up nobody else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::control::on_control_thread;
use super::descriptor::Grants;
use super::generation::Generation;
pub(crate) use super::load::{GrantSpec, Spec};
use super::load::{Job, Refusal};
use super::loader::Owner;
use super::receipt::{Identity, Receipt, Requests};
use super::retire;
use super::stage::Staging;
use super::step::Step;
use crate::events::{Event, Events};
use crate::problem::{Code, Problem};
use crate::telemetry::LogHandle;

/// Between two looks at a load that is under way when the process ends.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
pub(crate) struct Registry {
    /// By name. There are few: looking through them is faster than hashing.
    routes: ArcSwap<Vec<Arc<Generation>>>,
    places: Mutex<BTreeMap<String, Place>>,
    staging: Arc<Staging>,
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
    /// `[limits] init_timeout`
    pub(crate) init_timeout: Duration,
    pub(crate) log: LogHandle,
    /// What the configuration gives, by name. A module it does not name may be loaded, but is given nothing.
    pub(crate) configured: BTreeMap<String, Spec>,
}

/// A `PUT` of a module: what it leaves out is as before, or as configured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    /// Only swaps what runs.
    pub(crate) only_swap: bool,
    pub(crate) path: Option<PathBuf>,
    pub(crate) config: Option<Map<String, Value>>,
    pub(crate) grants: Option<Grants>,
    pub(crate) public: Option<bool>,
}

#[derive(Default)]
struct Place {
    /// The number of the last generation.
    last: u64,
    busy: bool,
    /// What the running generation was loaded with.
    spec: Option<Spec>,
    /// Generations that have ended or are ending, and are still mapped.
    resident: u64,
}

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
            staging: Arc::new(staging),
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

    /// All that take requests, by name.
    pub(crate) fn serving(&self) -> Vec<Arc<Generation>> {
        Vec::clone(&self.routes.load())
    }

    /// Generations of `name` that are still in the process, the running one included.
    pub(crate) fn resident(&self, name: &str) -> u64 {
        let resident = self.places().get(name).map_or(0, |place| place.resident);
        resident + u64::from(self.get(name).is_some())
    }

    /// Loads what the configuration names.
    pub(crate) async fn load_configured(self: &Arc<Self>) -> Result<(), (String, Problem)> {
        for name in self.settings.configured.keys() {
            self.put(name, Change::default())
                .await
                .map_err(|problem| (name.clone(), problem))?;
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

    async fn put_here(&self, name: &str, change: Change) -> Result<Swapped, Problem> {
        let _busy = self.begin(name)?;
        if change.only_swap && self.get(name).is_none() {
            return Err(not_found(name));
        }
        let spec = self
            .changed(name, change)
            .inspect_err(|problem| self.tell_refused(name, problem))?;
        let number = {
            let mut places = self.places();
            let place = places.entry(name.to_owned()).or_default();
            place.last += 1;
            place.last
        };
        let new = match self.load(name, number, &spec).await {
            Ok(new) => new,
            Err(refusal) => {
                let problem = refusal.problem();
                self.tell_refused(name, &problem);
                return Err(problem);
            }
        };
        if let Some(place) = self.places().get_mut(name) {
            place.spec = Some(spec);
        }
        let start = Instant::now();
        let old = self.exchange(name, Some(Arc::clone(&new)));
        let swap_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let version = new.descriptor.version.clone();
        match &old {
            None => {
                tracing::info!(module = %new.label, version, grants = %new.grants, "module loaded");
                self.events.publish(Event::ModuleLoaded {
                    module: name.to_owned(),
                    generation: number,
                    version,
                });
            }
            Some(old) => {
                tracing::info!(module = %new.label, version, from = old.number, grants = %new.grants, "module swapped");
                self.events.publish(Event::ModuleSwapped {
                    module: name.to_owned(),
                    from: old.number,
                    to: number,
                    version,
                });
            }
        }
        Ok(self.retire(name, old, Some(&new), Some(swap_us), None))
    }

    /// Takes a module away; what is under way on it may go on for `drain`.
    pub(crate) fn remove(&self, name: &str, drain: Option<Duration>) -> Result<Swapped, Problem> {
        let _busy = self.begin(name)?;
        let Some(old) = self.exchange(name, None) else {
            return Err(not_found(name));
        };
        if let Some(place) = self.places().get_mut(name) {
            place.spec = None;
        }
        Ok(self.retire(name, Some(old), None, None, drain))
    }

    /// Takes every module away, for the end of the process: also one whose load is under way.
    pub(crate) async fn remove_all(&self, drain: Duration) {
        let deadline = tokio::time::Instant::now() + drain;
        loop {
            let names: Vec<_> = self
                .serving()
                .iter()
                .map(|generation| Arc::clone(&generation.name))
                .collect();
            let removed: Vec<_> = names
                .iter()
                .filter_map(|name| self.remove(name, Some(drain)).ok())
                .collect();
            for swapped in removed {
                swapped.drained().await;
            }
            let busy = self.places().values().any(|place| place.busy);
            if !busy || tokio::time::Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
    }

    fn tell_refused(&self, name: &str, problem: &Problem) {
        tracing::warn!(module = name, reason = %problem.detail, "a module was refused");
        self.events.publish(Event::ModuleRefused {
            module: name.to_owned(),
            reason: problem.detail.to_string(),
        });
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims the name for one operation.
    fn begin(&self, name: &str) -> Result<Busy<'_>, Problem> {
        if !is_name(name) {
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

    /// What to load now: the change over what runs, over what is configured.
    fn changed(&self, name: &str, change: Change) -> Result<Spec, Problem> {
        let configured = self.settings.configured.get(name);
        let running = self.places().get(name).and_then(|place| place.spec.clone());
        let mut spec = match (running.or_else(|| configured.cloned()), &change.path) {
            (Some(spec), _) => spec,
            (None, Some(path)) => Spec {
                path: path.clone(),
                config: Map::new(),
                grants: GrantSpec::Only(Grants::default()),
                public: false,
                sha256: None,
                drain_timeout: Duration::from_secs(30),
            },
            (None, None) => return Err(not_found(name)),
        };
        let (granted, public) = configured
            .map_or((GrantSpec::Only(Grants::default()), false), |spec| {
                (spec.grants, spec.public)
            });
        if let Some(wanted) = change.grants {
            if matches!(granted, GrantSpec::Only(granted) if wanted.secrets && !granted.secrets) {
                let detail = format!(
                    "`secrets` is not granted to {name} in the configuration: grant it there, under [modules.{name}]"
                );
                return Err(Problem::new(Code::GrantForbidden, detail));
            }
            spec.grants = GrantSpec::Only(wanted);
        }
        if let Some(wanted) = change.public {
            if wanted && !public {
                let detail = format!(
                    "public routes are not allowed to {name} in the configuration: set public = true under [modules.{name}]"
                );
                return Err(Problem::new(Code::GrantForbidden, detail));
            }
            spec.public = wanted;
        }
        spec.path = change.path.unwrap_or(spec.path);
        spec.config = change.config.unwrap_or(spec.config);
        Ok(spec)
    }

    /// Everything before the exchange: it can fail, and leaves what runs untouched.
    async fn load(&self, name: &str, number: u64, spec: &Spec) -> Result<Arc<Generation>, Refusal> {
        let owner = Owner::register(
            Arc::from(name),
            number,
            self.settings.body_bytes_max,
            self.settings.log.clone(),
        );
        let step = Arc::new(Step::default());
        let job = Job {
            owner: Arc::clone(&owner),
            spec: spec.clone(),
            staging: Arc::clone(&self.staging),
            step: Arc::clone(&step),
            trial: self
                .serving
                .load(Ordering::Relaxed)
                .then_some(self.settings.init_timeout),
            module_dirs: self.settings.module_dirs.clone(),
            body_bytes: self.settings.body_bytes,
            requests_max: self.settings.requests_max,
        };
        let loaded = on_control_thread(format!("load-{name}"), move || job.run())
            .map_err(Refusal::Thread)?;
        let outcome = match tokio::time::timeout(self.settings.init_timeout, loaded).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_gone)) => Err(Refusal::Ended),
            // The thread is given up; should it return after all, what it made is ended unused.
            Err(_elapsed) => Err(Refusal::Overdue(step.give_up(self.settings.init_timeout))),
        };
        if outcome.is_err() {
            owner.unregister();
        }
        outcome
    }

    fn exchange(&self, name: &str, new: Option<Arc<Generation>>) -> Option<Arc<Generation>> {
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

    /// Lets `old` finish and ends it, in the background.
    fn retire(
        &self,
        name: &str,
        old: Option<Arc<Generation>>,
        new: Option<&Arc<Generation>>,
        swap_us: Option<u64>,
        drain: Option<Duration>,
    ) -> Swapped {
        let mut receipt = Receipt {
            module: name.to_owned(),
            from: old.as_deref().map(Identity::of),
            to: new.map(|new| Identity::of(new)),
            swap_us,
            drain_ms: None,
            requests: Requests::default(),
            state: None,
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
        if let Some(place) = self.places().get_mut(name) {
            place.resident += 1;
        }
        // Before anyone is told: no request that comes after the answer finds the old one.
        old.stop_taking();
        let under_way = old.in_flight() as u64;
        let (done, drained) = watch::channel(None);
        let events = Arc::clone(&self.events);
        let first = receipt.clone();
        self.control.spawn(async move {
            let end = retire::end(&old, under_way, drain.unwrap_or(old.drain_timeout)).await;
            receipt.drain_ms = Some(end.drain_ms);
            receipt.requests = end.requests;
            receipt.unloaded = Some(false);
            receipt.resident_reason = Some(end.resident_reason);
            tracing::info!(module = %old.label, drain_ms = end.drain_ms, "module retired");
            events.publish(Event::ModuleUnloaded {
                module: receipt.module.clone(),
                generation: old.number,
                unloaded: false,
            });
            // The receiver is gone when nobody waits.
            let _ = done.send(Some(receipt));
        });
        Swapped {
            receipt: first,
            created: false,
            drained: Some(drained),
        }
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

fn is_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}
