//! What a module process may do: it gives up, for good, what a module does not need, before any of the module's code runs.
//!
//! Each measure stands by itself and is taken as far as the machine has it; the [`Report`] says which are in force and what is
//! missing. Nothing here starts a process, talks to the kernel or knows what a module is.
//!
//! | file | measure |
//! |---|---|
//! | `environment` | what the kernel passes on of its environment |
//! | `descriptors` | what the child keeps of its descriptors |
//! | `lifetime` | it ends with its kernel |
//! | `privileges` | no more of them ever, no core dumps, not to be looked into |
//! | `limits` | memory and descriptors |
//! | `paths` | what every program needs to read, each with its reason |
//! | `files` | which files it reads and writes (Landlock) |
//! | `calls` | which system calls it has not (seccomp) |
//! | `report` | what is in force |

mod calls;
pub(crate) mod descriptors;
pub(crate) mod environment;
mod files;
mod lifetime;
mod limits;
mod paths;
mod privileges;
mod report;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Confine;

pub(crate) use paths::named_in;
pub(crate) use report::Report;

/// What one module process may do; made by the kernel, carried out by the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// The kernel's process id: when its parent is another, the kernel is gone.
    pub(crate) kernel: i32,
    /// What the library is opened from, when that is a file.
    pub(crate) library: Option<PathBuf>,
    /// The one directory it has for itself; made by the kernel.
    pub(crate) own: PathBuf,
    /// What the module's configuration names; see [`named_in`].
    pub(crate) named: Vec<PathBuf>,
    /// What the operator lets it read besides.
    pub(crate) read: Vec<PathBuf>,
    /// What the operator lets it write besides.
    pub(crate) write: Vec<PathBuf>,
    pub(crate) memory_bytes: u64,
    pub(crate) files: u64,
    /// Whether it may start programs.
    pub(crate) processes: bool,
    /// Whether it must not run where Landlock or seccomp are missing.
    pub(crate) require: bool,
}

/// Why a module must not run in this process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfineError {
    #[error("the kernel that started this module process has ended")]
    Orphaned,
    #[error("{threads} threads run already, and what one thread gives up the others keep")]
    Threads { threads: usize },
    #[error("cannot {what}: {source}")]
    Refused {
        what: &'static str,
        source: io::Error,
    },
    #[error(
        "this machine cannot confine the module as `confine = {{ require = true }}` asks for: {}; run it where it can, or leave `require` out",
        missing.join("; ")
    )]
    Required { missing: Vec<String> },
}

impl Confinement {
    /// The module's whole confinement: what the operator configured, and what its own configuration names.
    pub(crate) fn new(
        confine: &Confine,
        config: &serde_json::Map<String, serde_json::Value>,
        own: PathBuf,
        library: Option<PathBuf>,
    ) -> Confinement {
        Confinement {
            kernel: i32::try_from(std::process::id()).expect("a process id is a pid_t"),
            library,
            own,
            named: named_in(config),
            read: confine.read.clone(),
            write: confine.write.clone(),
            memory_bytes: confine.memory_bytes,
            files: confine.files,
            processes: confine.processes,
            require: confine.require,
        }
    }

    /// Gives all of it up, for this process and every thread it will have. Call it while there is one thread, and before the
    /// library is opened: its constructors are the module's code, too.
    pub(crate) fn apply(&self) -> Result<Report, ConfineError> {
        match privileges::threads() {
            Some(threads) if threads > 1 => Err(ConfineError::Threads { threads }),
            _ => self.apply_here(),
        }
    }

    /// For the calling thread and those it starts.
    fn apply_here(&self) -> Result<Report, ConfineError> {
        let mut report = Report::default();
        // Before the signal is asked for: a change of privileges would take it back (prctl(2), PR_SET_PDEATHSIG).
        privileges::give_up(&mut report)?;
        lifetime::tie_to(self.kernel, &mut report)?;
        limits::set(self.memory_bytes, self.files, &mut report)?;
        files::restrict(self, &mut report);
        // The last, since it refuses what the others need.
        calls::restrict(self.processes, &mut report);
        if self.require {
            let missing = report.missing_barriers();
            if !missing.is_empty() {
                return Err(ConfineError::Required { missing });
            }
        }
        Ok(report)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
