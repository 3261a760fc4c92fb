//! The whole configuration, checked before anything binds.
//!
//! Flags win over environment, environment over file, file over defaults. This holds the checked values; nothing
//! else in the kernel reads an environment variable or a configuration file.

mod build;
mod changes;
mod confine;
mod effective;
mod error;
mod file;
mod flags;
mod limits;
mod quantity;
mod secrets;
mod section;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "schema")]
pub(crate) use build::HOST_GRACE;
pub(crate) use build::Origin;
pub(crate) use changes::restart_needed;
pub(crate) use confine::Confine;
pub(crate) use error::ConfigError;
pub(crate) use flags::Flags;
pub(crate) use limits::Limits;
pub(crate) use secrets::secret_flag;

use crate::modules::grants::Grants;

/// The checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) kernel: Kernel,
    pub(crate) sessions: Sessions,
    /// Source by secret key id.
    pub(crate) secrets: BTreeMap<String, SecretSource>,
    pub(crate) limits: Limits,
    /// By name; a module is loaded at start when it stands here.
    pub(crate) modules: BTreeMap<String, Module>,
}

/// `[kernel]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kernel {
    pub(crate) socket: SocketPath,
    pub(crate) data_dir: PathBuf,
    pub(crate) log: LogFormat,
    /// For example `info,hello=debug`.
    pub(crate) log_filter: String,
    pub(crate) write_host_key: bool,
    /// Directories that modules may be loaded from, as they were named: what they lead to is asked at each load.
    pub(crate) module_dirs: Vec<PathBuf>,
    pub(crate) workers: usize,
    pub(crate) unload: Unload,
    /// How long a drain at SIGTERM may take before what still runs is cut.
    pub(crate) shutdown_timeout: Duration,
    /// `Host` values allowed besides those that http-api always allows.
    pub(crate) allowed_hosts: Vec<String>,
    /// `Origin` values allowed; none by default.
    pub(crate) allowed_origins: Vec<String>,
    /// Leaves core dumps and debuggers possible.
    pub(crate) debuggable: bool,
}

/// Where the socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SocketPath {
    At(PathBuf),
    /// In this directory, named for the process: every host that starts a kernel has one of its own.
    OfInstance {
        directory: PathBuf,
    },
}

impl SocketPath {
    /// The path for the process that is called `instance`.
    pub(crate) fn of(&self, instance: &str) -> PathBuf {
        match self {
            SocketPath::At(path) => path.clone(),
            SocketPath::OfInstance { directory } => {
                directory.join(format!("{}.sock", instance.replace(':', "-")))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Human,
    Json,
}

/// Whether a retired module's code leaves the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unload {
    /// When it is proved that nothing of it still runs.
    Auto,
    Never,
}

/// Where a module's code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Isolation {
    /// In the kernel's process: fastest; a crash of its code ends the kernel.
    #[default]
    InProcess,
    /// In a process of its own.
    Process,
}

impl Isolation {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Isolation::InProcess => "in-process",
            Isolation::Process => "process",
        }
    }
}

/// `[sessions]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sessions {
    pub(crate) ttl: Duration,
    pub(crate) max_ttl: Duration,
    pub(crate) max: usize,
    pub(crate) stream_grace: Duration,
    /// How long the sessions live on whose keys came from a host that is gone.
    pub(crate) host_grace: Duration,
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    Env {
        variable: String,
    },
    Command {
        argv: Vec<String>,
        timeout: Duration,
    },
    /// The default of every id that is not configured.
    Bridge,
}

/// `[modules.<name>]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Module {
    pub(crate) path: PathBuf,
    pub(crate) isolation: Isolation,
    /// `None`: all it asks for.
    pub(crate) grants: Option<Grants>,
    pub(crate) public: bool,
    /// Reloads it when its file or its configuration changes.
    pub(crate) watch: bool,
    /// Lower-case hex.
    pub(crate) sha256: Option<String>,
    pub(crate) drain_timeout: Duration,
    /// `None`: off.
    pub(crate) rollback: Option<Rollback>,
    /// What it may do; `None`: all that the kernel may, in whose process it runs.
    pub(crate) confine: Option<Confine>,
    /// The module's own configuration, checked by the module.
    pub(crate) config: serde_json::Map<String, serde_json::Value>,
}

/// When a version that was swapped in is replaced by the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rollback {
    /// For how long after the swap.
    pub(crate) window: Duration,
    /// As many failures are borne.
    pub(crate) max_failures: u64,
}

#[cfg(test)]
mod tests;
