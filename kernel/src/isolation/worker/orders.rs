//! The kernel's orders, each on a thread of its own, since a module may hang any of them.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::calls::LaneCarrier;
use super::counts::Counts;
use super::lanes::{self, Serving};
use super::log::LaneLog;
use crate::events::Events;
use crate::isolation::confine::{ConfineError, Report};
use crate::isolation::lane::{Lane, ReadError};
use crate::isolation::wire::{Answer, Facts, Notice, Open, Order, Ready, State};
use crate::modules::control::{on_control_thread, settle};
use crate::modules::descriptor::Descriptor;
use crate::modules::generation::{Generation, Parts, Tell};
use crate::modules::grants::Grants;
use crate::modules::instance::{Instance, Retired};
use crate::modules::life::Transition;
use crate::modules::loader::{self, Opened, Owner};
use crate::modules::private_copy::PrivateCopy;
use crate::modules::state::SavedState;

/// What the kernel bounds, this process does not.
const UNBOUNDED: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long the module's threads may take to end once they were told to.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Orders(Arc<Module>);

struct Module {
    open: Open,
    path: PathBuf,
    owner: Arc<Owner>,
    log: Arc<LaneLog>,
    control: Arc<Lane>,
    counts: Counts,
    stage: Mutex<Stage>,
    /// How many orders were taken.
    taken: Mutex<u64>,
}

/// How far the module has come.
enum Stage {
    /// Lanes that are not served yet.
    Closed(Vec<UnixStream>),
    Opened(Box<Opened>, Arc<PrivateCopy>, Vec<UnixStream>),
    Initialised(Box<Instance>, Arc<PrivateCopy>, Vec<UnixStream>),
    Serving(Arc<Generation>, Vec<Serving>),
    /// An order is being carried out, or has failed.
    Nothing,
}

impl Orders {
    pub(super) fn new(
        open: Open,
        path: PathBuf,
        lanes: Vec<UnixStream>,
        carrier: Arc<LaneCarrier>,
        counts: Counts,
        control: Arc<Lane>,
    ) -> Orders {
        let log = Arc::new(LaneLog {
            control: Arc::clone(&control),
            level: open.log_level.into(),
        });
        let owner = Owner::register(
            Arc::from(open.name.as_str()),
            open.generation,
            open.body_bytes_max,
            open.state_bytes_max,
            Arc::<LaneLog>::clone(&log),
            Arc::clone(&counts.metrics),
            carrier,
        );
        owner.grant(open.grants.clone());
        Orders(Arc::new(Module {
            open,
            path,
            owner,
            log,
            control,
            counts,
            stage: Mutex::new(Stage::Closed(lanes)),
            taken: Mutex::new(0),
        }))
    }

    /// The first order.
    pub(super) fn open(&self, confined: Result<Report, ConfineError>) {
        self.carry_out("open", |module| {
            module.open_library(confined.map_err(told)?)
        });
    }

    pub(super) fn take(&self, order: Order) -> Result<(), ReadError> {
        match order {
            Order::Open(_) => return Err(ReadError::Forbidden("a second order to open a library")),
            Order::LogLevel(level) => self.0.log.level.store(level, Ordering::Relaxed),
            Order::Init => self.carry_out("init", Module::init),
            Order::Restore(state) => self.carry_out("restore", |module| module.restore(state)),
            Order::Probe => self.carry_out("probe", Module::probe),
            Order::Quiesce(drain) => {
                self.carry_out("quiesce", move |module| module.quiesce(drain));
            }
            Order::Save => self.carry_out("save", Module::save),
            Order::End => self.carry_out("end", Module::end),
        }
        Ok(())
    }

    fn carry_out(
        &self,
        step: &str,
        run: impl FnOnce(&Module) -> Result<Answer, String> + Send + 'static,
    ) {
        let order = {
            let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let order = *taken;
            *taken += 1;
            order
        };
        let module = Arc::clone(&self.0);
        let started = on_control_thread(step.to_owned(), move || {
            let answer = run(&module);
            // A lane that is closed ends the process.
            let _ = module.control.send(&Notice::Answer { order, answer });
        });
        if let Err(error) = started {
            let answer = Err(format!("no thread can be started in its process: {error}"));
            let _ = self.0.control.send(&Notice::Answer { order, answer });
        }
    }
}

impl Module {
    fn open_library(&self, confined: Report) -> Result<Answer, String> {
        let Stage::Closed(lanes) = self.take_stage() else {
            return Err(out_of_order());
        };
        // A lane that is closed ends the process.
        let _ = self.control.send(&Notice::Confined(confined));
        let copy = Arc::new(PrivateCopy::Given(self.path.clone()));
        // Nothing is unloaded here while the process goes on.
        let findings = midplane_unload::Findings::default();
        let opened = Opened::open(Arc::clone(&copy), findings, &self.owner).map_err(told)?;
        self.owner.life.advance(Transition::Load);
        *self.stage() = Stage::Opened(Box::new(opened), copy, lanes);
        Ok(Answer::Done)
    }

    fn init(&self) -> Result<Answer, String> {
        let Stage::Opened(opened, copy, lanes) = self.take_stage() else {
            return Err(out_of_order());
        };
        let instance = opened
            .init(&self.owner, &self.open.config, &self.open.confinement.own)
            .map_err(told)?;
        self.owner.life.advance(Transition::Init);
        let instance = Instance::Here(instance);
        let facts = facts(&instance);
        *self.stage() = Stage::Initialised(Box::new(instance), copy, lanes);
        Ok(Answer::Instance(facts))
    }

    fn restore(&self, state: Option<State>) -> Result<Answer, String> {
        let Stage::Initialised(mut instance, copy, lanes) = self.take_stage() else {
            return Err(out_of_order());
        };
        let state = state.map(|state| SavedState {
            schema: state.schema,
            bytes: state.bytes.into(),
        });
        instance.restore(state.as_ref()).map_err(told)?;
        self.owner.life.advance(Transition::Restore);
        let facts = facts(&instance);
        *self.stage() = Stage::Initialised(instance, copy, lanes);
        Ok(Answer::Instance(facts))
    }

    fn probe(&self) -> Result<Answer, String> {
        let Stage::Initialised(mut instance, copy, lanes) = self.take_stage() else {
            return Err(out_of_order());
        };
        instance.probe(&self.owner).map_err(told)?;
        self.owner.life.advance(Transition::Probe);
        let generation = self.generation(*instance, copy);
        generation.serve();
        let ready = Ready {
            openapi: generation.openapi.clone(),
            body_limits: generation
                .body_limits()
                .map(|(pattern, bytes)| (pattern.to_string(), bytes))
                .collect(),
        };
        let lanes = lanes::serve(lanes, &generation).map_err(told)?;
        *self.stage() = Stage::Serving(generation, lanes);
        Ok(Answer::Ready(ready))
    }

    fn quiesce(&self, drain: Duration) -> Result<Answer, String> {
        self.serving()?.quiesce(drain);
        Ok(Answer::Done)
    }

    fn save(&self) -> Result<Answer, String> {
        let generation = self.serving()?;
        let claim = generation
            .claim_save()
            .ok_or("on_save has not returned since it was last called")?;
        let state = claim.save().map_err(told)?;
        Ok(Answer::Saved(state.map(|state| State {
            schema: state.schema,
            bytes: state.bytes.to_vec(),
        })))
    }

    /// Ends the process, and with it the wait for an answer, once the module has ended.
    fn end(&self) -> Result<Answer, String> {
        let Stage::Serving(generation, lanes) = self.take_stage() else {
            return Err(out_of_order());
        };
        generation.stop_taking();
        // What the kernel has cancelled may have some good order left to end in.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(told)?;
        runtime.block_on(generation.unpinned());
        let retired = generation.retire();
        // Nothing of the module runs any more that the kernel has to be told of.
        self.counts.tell();
        settle();
        // With what the module has left on these threads.
        lanes.into_iter().for_each(Serving::stop);
        if let Some(Retired::Code(code)) = retired {
            // What `fini` has left on this thread; it would be waited for in vain else.
            code.settle()();
            // For its destructors. What cannot be unmapped goes with the process.
            let _ = code.close(CLOSE_PATIENCE);
        }
        loader::end_process(0)
    }

    fn generation(&self, instance: Instance, copy: Arc<PrivateCopy>) -> Arc<Generation> {
        Generation::new(Parts {
            owner: Arc::clone(&self.owner),
            // What it says has been read in the kernel, where it counts.
            descriptor: Descriptor {
                name: self.open.name.clone(),
                version: String::new(),
                grants: Grants::default(),
                public_routes: Vec::new(),
                internal_routes: Vec::new(),
                exclusive: false,
                state: None,
                sdk: String::new(),
                compiler: String::new(),
            },
            sha256: String::new(),
            path: self.path.clone(),
            grants: self.open.grants.clone(),
            public: false,
            drain_timeout: UNBOUNDED,
            body_bytes: u64::MAX,
            requests_max: usize::MAX,
            quarantine_after: UNBOUNDED,
            instance,
            events: Arc::new(Events::new()),
            copy,
            kernel: Some(Box::new(Kernel(Arc::clone(&self.control)))),
        })
    }

    fn serving(&self) -> Result<Arc<Generation>, String> {
        match &*self.stage() {
            Stage::Serving(generation, _) => Ok(Arc::clone(generation)),
            _ => Err(out_of_order()),
        }
    }

    fn take_stage(&self) -> Stage {
        std::mem::replace(&mut *self.stage(), Stage::Nothing)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kernel's ear, at the other end of the control lane.
struct Kernel(Arc<Lane>);

// A lane that is closed ends the process.
impl Tell for Kernel {
    fn slow_poll(&self, route: &str, request_id: &str, taken: Duration) {
        let poll_ns = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        let _ = self.0.send(&Notice::SlowPoll {
            route,
            request_id,
            poll_ns,
        });
    }

    fn denied_secret(&self, request_id: &str) {
        let _ = self.0.send(&Notice::Denied { request_id });
    }
}

fn facts(instance: &Instance) -> Facts {
    Facts {
        needs_secret: instance.needs_secret(),
        checks_sessions: instance.checks_sessions(),
        saves: instance.saves(),
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn out_of_order() -> String {
    "an order came out of its order".to_owned()
}
