//! Everything of a load before the exchange: it can fail, and leaves what runs untouched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::descriptor::{self, Descriptor, Grants};
use super::generation::{Generation, Parts};
use super::loader::{LoadError, Opened, Owner};
use super::origin::OriginError;
use super::private_copy::CopyError;
use super::stage::{StageError, Staging};
use super::step::{GivenUp, Overdue, Step};
use super::trial::{self, TrialError};
use crate::problem::{Code, Problem};

/// What a module is loaded from and with.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) path: PathBuf,
    pub(crate) config: Map<String, Value>,
    pub(crate) grants: GrantSpec,
    pub(crate) public: bool,
    pub(crate) sha256: Option<String>,
    pub(crate) drain_timeout: Duration,
}

/// What a module is given of what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub(super) staging: Arc<Staging>,
    pub(super) step: Arc<Step>,
    /// How long the library may take when it is tried first; `None` where nobody could be held up.
    pub(super) trial: Option<Duration>,
    pub(super) module_dirs: Vec<PathBuf>,
    pub(super) body_bytes: u64,
    pub(super) requests_max: usize,
}

impl Job {
    pub(super) fn run(self) -> Result<Arc<Generation>, Refusal> {
        let Job {
            owner,
            spec,
            staging,
            step,
            trial,
            module_dirs,
            body_bytes,
            requests_max,
        } = self;
        let label = format!("{}#{}", owner.name, owner.number);
        let staged = staging.stage(&spec.path, &module_dirs, spec.sha256.as_deref(), &label)?;
        let descriptor = describe(&staged.bytes, &spec.path, &owner.name)?;
        if let Some(limit) = trial {
            step.try_out()?;
            trial::run(&staged.copy, limit).map_err(|source| Refusal::Trial {
                path: spec.path.clone(),
                source,
            })?;
        }
        let turn = step.open(&label)?;
        let opened = Opened::open(staged.copy.path_to_open()).map_err(|source| Refusal::Open {
            path: spec.path.clone(),
            source,
        })?;
        step.initialise(turn)?;
        let config = Value::Object(spec.config).to_string();
        let instance = opened
            .init(owner.id, &owner.name, owner.number, &config)
            .map_err(Refusal::Init)?;
        let grants = match spec.grants {
            GrantSpec::All => descriptor.grants,
            GrantSpec::Only(given) => Grants {
                secrets: given.secrets && descriptor.grants.secrets,
            },
        };
        Ok(Generation::new(Parts {
            owner,
            descriptor,
            sha256: staged.sha256,
            path: spec.path,
            grants,
            public: spec.public,
            drain_timeout: spec.drain_timeout,
            body_bytes,
            requests_max,
            instance,
            copy: staged.copy,
        }))
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
            | Refusal::Overdue(_) => Code::ModuleRefused,
        };
        Problem::new(code, self.to_string())
    }
}
