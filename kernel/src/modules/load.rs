//! The first half of a load, up to `init`: it can fail, and leaves what runs untouched. `handover` is the second half.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::runtime::Handle;

use super::control::on_control_thread;
use super::descriptor::{self, Descriptor};
use super::generation::{Generation, Parts};
use super::grants::Grants;
use super::instance::Instance;
use super::life::Transition;
use super::loader::{LoadError, Opened, Owner};
use super::origin::OriginError;
use super::private_copy::{CopyError, PrivateCopy};
use super::stage::{StageError, Staging};
use super::state::{SavedState, Schemas};
use super::step::{GivenUp, Overdue, Step};
use super::trial::{self, TrialError};
use crate::config::{Confine, Isolation, Rollback};
use crate::events::Events;
use crate::isolation::confine::{Confinement, environment};
use crate::isolation::process::{self, Opening, Process, Start};
use crate::problem::{Code, Problem};

/// What a module is loaded from and with.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) path: PathBuf,
    pub(crate) isolation: Isolation,
    /// What it may do in a process of its own.
    pub(crate) confine: Confine,
    pub(crate) config: Map<String, Value>,
    pub(crate) grants: GrantSpec,
    pub(crate) public: bool,
    pub(crate) sha256: Option<String>,
    pub(crate) drain_timeout: Duration,
    /// `None`: off.
    pub(crate) rollback: Option<Rollback>,
}

/// What is to take a place.
pub(super) struct Wanted {
    pub(super) spec: Spec,
    pub(super) artifact: Artifact,
    /// Given to it instead of what the old one would hand over now.
    pub(super) kept: Option<Option<SavedState>>,
    /// The old one is no way back, since it failed itself.
    pub(super) no_way_back: bool,
}

/// Which bytes are loaded.
pub(super) enum Artifact {
    /// What is at the specified path now.
    AtPath,
    /// What was loaded before.
    Copy {
        copy: Arc<PrivateCopy>,
        /// Of the artifact it was made from.
        sha256: String,
    },
}

/// What a module is given of what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GrantSpec {
    All,
    Only(Grants),
}

/// Why a load failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("{}: {source}", path.display())]
    Descriptor {
        path: PathBuf,
        source: descriptor::Error,
    },
    #[error("{}: {source}", path.display())]
    Open { path: PathBuf, source: LoadError },
    #[error(transparent)]
    Init(LoadError),
    #[error(transparent)]
    Overdue(Overdue),
    #[error(transparent)]
    HandOver(LoadError),
    #[error(
        "the hand-over of state took longer than the {} ms that requests may wait: hand over less, or do what takes long before `ctx.restore()`; if `on_save` waits for what hangs, unload the module and load it anew, without its state",
        .0.as_millis()
    )]
    HoldOverdue(Duration),
    #[error(
        "on_save of {0} has not returned since an earlier reload: unload the module and load it anew, without its state"
    )]
    StillSaving(String),
    #[error(
        "{from} hands over state of schema {schema}, and version {version} reads {reads}: load a version that reads it, or unload the module and load it anew, without its state"
    )]
    Schema {
        from: String,
        schema: u32,
        version: String,
        reads: Schemas,
    },
    #[error(
        "the module is `exclusive`, and its generation {0} has not ended: try again when its last requests and its own steps have"
    )]
    NotOver(String),
    #[error(
        "{refusal}. The generation before gave its place up for it, since the module is `exclusive`, and {back}: the module is not loaded now; reload it when that is mended"
    )]
    NotBack { refusal: Box<Refusal>, back: String },
    #[error("{}: {source}", path.display())]
    Trial { path: PathBuf, source: TrialError },
    #[error("the thread that loaded the module ended early: the kernel's log says why")]
    Ended,
    #[error("the control thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// The part of a load that runs on a control thread.
pub(super) struct Job {
    pub(super) owner: Arc<Owner>,
    pub(super) spec: Spec,
    pub(super) artifact: Artifact,
    pub(super) staging: Arc<Staging>,
    pub(super) step: Arc<Step>,
    /// How long the library may take when it is tried first; `None` where nobody could be held up.
    pub(super) trial: Option<Duration>,
    pub(super) module_dirs: Vec<PathBuf>,
    pub(super) body_bytes: u64,
    pub(super) requests_max: usize,
    pub(super) quarantine_after: Duration,
    pub(super) events: Arc<Events>,
    pub(super) apart: Apart,
}

/// What a process of the module's own needs.
pub(super) struct Apart {
    /// One lane for each of the kernel's workers.
    pub(super) workers: usize,
    pub(super) stuck_after: Duration,
    /// Where what it says is read.
    pub(super) runtime: Handle,
}

/// An instance that has not been told what it takes over.
pub(super) struct Initialised {
    pub(super) descriptor: Descriptor,
    pub(super) instance: Instance,
    owner: Arc<Owner>,
    sha256: String,
    spec: Spec,
    body_bytes: u64,
    requests_max: usize,
    quarantine_after: Duration,
    events: Arc<Events>,
    copy: Arc<PrivateCopy>,
}

impl Job {
    pub(super) fn run(self) -> Result<Initialised, Refusal> {
        let Job {
            owner,
            spec,
            artifact,
            staging,
            step,
            trial,
            module_dirs,
            body_bytes,
            requests_max,
            quarantine_after,
            events,
            apart,
        } = self;
        let label = format!("{}#{}", owner.name, owner.number);
        let staged = match artifact {
            Artifact::AtPath => {
                staging.stage(&spec.path, &module_dirs, spec.sha256.as_deref(), &label)?
            }
            Artifact::Copy { copy, sha256 } => staging.restage(&copy, sha256, &label)?,
        };
        let descriptor = describe(&staged.bytes, &spec.path, &owner.name)?;
        owner.grant(granted(&spec.grants, descriptor.grants.clone()));
        let config = Value::Object(spec.config.clone()).to_string();
        let data_dir = staging.data_dir(&owner.name)?;
        let copy = Arc::new(staged.copy);
        let not_opened = |source| Refusal::Open {
            path: spec.path.clone(),
            source,
        };
        let instance = match spec.isolation {
            Isolation::InProcess => {
                if let Some(limit) = trial {
                    step.try_out()?;
                    trial::run(&copy, limit).map_err(|source| Refusal::Trial {
                        path: spec.path.clone(),
                        source,
                    })?;
                }
                let turn = step.open(&label)?;
                let opened =
                    Opened::open(Arc::clone(&copy), staged.findings, &owner).map_err(not_opened)?;
                owner.life.advance(Transition::Load);
                step.initialise(turn)?;
                Instance::Here(
                    opened
                        .init(&owner, &config, &data_dir)
                        .map_err(Refusal::Init)?,
                )
            }
            Isolation::Process => {
                let library = copy
                    .contents()
                    .is_none()
                    .then(|| copy.path_to_open().to_owned());
                let confinement =
                    Confinement::new(&spec.confine, &spec.config, data_dir.clone(), library);
                let environment = environment::of_module(&spec.confine.env, &data_dir, |name| {
                    std::env::var_os(name)
                });
                let start = Start {
                    copy: Arc::clone(&copy),
                    dir: data_dir.clone(),
                    environment,
                    lanes: apart.workers,
                    runtime: apart.runtime,
                    stuck_after: apart.stuck_after,
                };
                let process = Process::start(&owner, start)
                    .map_err(|source| not_opened(LoadError::Start(source)))?;
                step.try_apart(&process)?;
                let opening = Opening {
                    config,
                    grants: owner.grants(),
                    confinement,
                };
                let opened = process::Opened::open(process, &owner, opening).map_err(not_opened)?;
                owner.life.advance(Transition::Load);
                step.initialise_apart()?;
                Instance::Apart(opened.init().map_err(Refusal::Init)?)
            }
        };
        owner.life.advance(Transition::Init);
        Ok(Initialised {
            descriptor,
            instance,
            owner,
            sha256: staged.sha256,
            spec,
            body_bytes,
            requests_max,
            quarantine_after,
            events,
            copy,
        })
    }
}

impl Initialised {
    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Ends it, unused, on a thread that it may block.
    pub(super) fn discard(self) {
        let name = format!("discard-{}", self.owner.name);
        // Without a thread it ends here.
        let _ = on_control_thread(name, move || drop(self));
    }

    /// Asks whether it can serve. May block: call it on a control thread.
    pub(super) fn probe(&mut self) -> Result<(), LoadError> {
        self.instance.probe(&self.owner)
    }

    /// Once it has what it takes over, and can serve.
    pub(super) fn into_generation(self) -> Arc<Generation> {
        let grants = self.owner.grants();
        let process = self.instance.process().cloned();
        let generation = Generation::new(Parts {
            owner: self.owner,
            descriptor: self.descriptor,
            sha256: self.sha256,
            path: self.spec.path,
            grants,
            public: self.spec.public,
            drain_timeout: self.spec.drain_timeout,
            body_bytes: self.body_bytes,
            requests_max: self.requests_max,
            quarantine_after: self.quarantine_after,
            instance: self.instance,
            events: self.events,
            copy: self.copy,
            kernel: None,
        });
        if let Some(process) = process {
            process.adopt(&generation);
        }
        generation
    }
}

/// Of what it asks for, what it is given.
fn granted(given: &GrantSpec, asked: Grants) -> Grants {
    match given {
        GrantSpec::All => asked.named(),
        GrantSpec::Only(given) => asked.within(given),
    }
}

fn describe(bytes: &[u8], path: &Path, name: &str) -> Result<Descriptor, Refusal> {
    let failed = |source| Refusal::Descriptor {
        path: path.to_owned(),
        source,
    };
    let descriptor = Descriptor::read(bytes).map_err(failed)?;
    descriptor.expect_name(name).map_err(failed)?;
    Ok(descriptor)
}

impl From<GivenUp> for Refusal {
    fn from(GivenUp: GivenUp) -> Refusal {
        // Nobody is there to be told.
        Refusal::Ended
    }
}

impl Refusal {
    pub(super) fn problem(&self) -> Problem {
        let code = match self {
            Refusal::Stage(StageError::Origin(
                OriginError::Outside { .. } | OriginError::Writable { .. },
            )) => Code::ModulePathForbidden,
            Refusal::Stage(StageError::Copy(CopyError::Full { .. })) => Code::StorageFull,
            Refusal::Thread(_) | Refusal::Ended => Code::Internal,
            Refusal::Stage(_)
            | Refusal::Descriptor { .. }
            | Refusal::Open { .. }
            | Refusal::Init(_)
            | Refusal::Trial { .. }
            | Refusal::Overdue(_)
            | Refusal::HandOver(_)
            | Refusal::HoldOverdue(_)
            | Refusal::StillSaving(_)
            | Refusal::NotOver(_)
            | Refusal::NotBack { .. }
            | Refusal::Schema { .. } => Code::ModuleRefused,
        };
        Problem::new(code, self.to_string())
    }
}
