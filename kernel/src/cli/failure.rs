//! Why a command failed, in one line, and the exit code that says so to programs.

use std::io::{self, Write};
use std::process::ExitCode;

use midplane_client::locate::LocateError;

const EXIT_REFUSED: u8 = 1;
/// sysexits.h: `EX_USAGE`.
pub(super) const EXIT_USAGE: u8 = 64;
/// sysexits.h: `EX_UNAVAILABLE`.
const EXIT_UNAVAILABLE: u8 = 69;

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Refused(String),
    /// There is no kernel, or no longer.
    #[error("{0}")]
    Unavailable(String),
    #[error("{error}{hint}", error = .0, hint = log_hint(.0))]
    Client(#[from] midplane_client::Error),
    #[error(transparent)]
    Locate(#[from] LocateError),
    #[error("cannot read {what}: {source}")]
    Read { what: String, source: io::Error },
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
}

impl Failure {
    /// Says it on standard error. A reader that went away (`| head`) is no failure.
    pub(super) fn report(&self) -> ExitCode {
        if matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        let _ = writeln!(io::stderr(), "midplane: {self}");
        ExitCode::from(self.exit_code())
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_)
            | Failure::Client(midplane_client::Error::SocketPathTooLong { .. }) => EXIT_USAGE,
            Failure::Client(error) if error.is_unavailable() => EXIT_UNAVAILABLE,
            Failure::Unavailable(_) | Failure::Locate(LocateError::NoKernel { .. }) => {
                EXIT_UNAVAILABLE
            }
            _ => EXIT_REFUSED,
        }
    }
}

/// What happened inside stands in the log alone.
fn log_hint(error: &midplane_client::Error) -> String {
    match error {
        midplane_client::Error::Problem {
            status,
            request_id: Some(id),
            ..
        } if status.as_u16() == 500 => format!("; the kernel's log says more under {id}"),
        _ => String::new(),
    }
}
