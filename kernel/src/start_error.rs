//! Why the kernel did not start, and the exit code that says so.

use std::io;

use crate::modules::stage::StageError;
use crate::socket::SocketError;

/// Why the kernel did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("--bridge-fd {number} cannot be used: {reason}")]
    BridgeFd { number: i32, reason: String },
    #[error("the process cannot be hardened: {0}")]
    Harden(#[source] io::Error),
    #[error("the system gives no random bytes")]
    Randomness,
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[source] io::Error),
    #[error(
        "the files of modules with `watch = true` cannot be watched: {0}; on Linux, raise fs.inotify.max_user_instances"
    )]
    Watch(#[source] io::Error),
    #[error("the module {name} cannot be loaded: {reason}")]
    Module { name: String, reason: String },
}

impl StartError {
    /// sysexits.h: 69 unavailable, 70 software, 73 cannot create; 75 already running.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            StartError::Socket(error) => error.exit_code(),
            // sysexits.h: EX_USAGE
            StartError::BridgeFd { .. } => 64,
            StartError::Stage(_) => 73,
            StartError::Harden(_)
            | StartError::Randomness
            | StartError::Runtime(_)
            | StartError::Watch(_) => 70,
            StartError::Module { .. } => 69,
        }
    }
}
