//! Everything of a load before the exchange: it can fail, and leaves what runs untouched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::descriptor::{self, Descriptor, Grants};
use super::generation::{Generation, Parts};
use super::loader::{LoadError, Opened, Owner};
use super::stage::{StageError, Staging};
use crate::problem::{Code, Problem};

/// How long constructors and `init` may take together before the load is given up.
pub(super) const INIT_DEADLINE: Duration = Duration::from_secs(30);

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
    #[error(transparent)]
    Descriptor(#[from] descriptor::Error),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("constructors and init did not return within {} s", INIT_DEADLINE.as_secs())]
    Deadline,
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
            module_dirs,
            body_bytes,
            requests_max,
        } = self;
        let label = format!("{}#{}", owner.name, owner.number);
        let staged = staging.stage(&spec.path, &module_dirs, spec.sha256.as_deref(), &label)?;
        let made =
            open(&staged.bytes, &staged.copy, &owner.name).and_then(|(descriptor, opened)| {
                let config = Value::Object(spec.config).to_string();
                let mut instance = opened.init(owner.id, &owner.name, owner.number, &config)?;
                instance.restore(None)?;
                instance.probe()?;
                Ok((descriptor, instance))
            });
        let (descriptor, instance) = made.inspect_err(|_| {
            // What may be mapped from it stays mapped without its name.
            let _ = std::fs::remove_file(&staged.copy);
        })?;
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
        }))
    }
}

fn open(bytes: &[u8], copy: &Path, name: &str) -> Result<(Descriptor, Opened), Refusal> {
    let descriptor = Descriptor::read(bytes)?;
    descriptor.expect_name(name)?;
    Ok((descriptor, Opened::open(copy)?))
}

impl Refusal {
    pub(super) fn problem(&self) -> Problem {
        let code = match self {
            Refusal::Stage(StageError::Outside { .. } | StageError::Writable { .. }) => {
                Code::ModulePathForbidden
            }
            Refusal::Stage(StageError::Full { .. }) => Code::StorageFull,
            Refusal::Thread(_) | Refusal::Ended => Code::Internal,
            Refusal::Stage(_) | Refusal::Descriptor(_) | Refusal::Load(_) | Refusal::Deadline => {
                Code::ModuleRefused
            }
        };
        Problem::new(code, self.to_string())
    }
}
