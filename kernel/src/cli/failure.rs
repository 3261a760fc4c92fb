//! How a command fails: one line with the cause and a hint, and an exit code.

use std::io;
use std::process::ExitCode;

use midplane_client::Error;
use midplane_client::locate::LocateError;

use super::output;

/// The kernel or a module said no.
pub(super) const EXIT_REFUSED: u8 = 1;
/// sysexits.h `EX_USAGE`
pub(super) const EXIT_USAGE: u8 = 64;
/// sysexits.h `EX_UNAVAILABLE`
const EXIT_UNAVAILABLE: u8 = 69;
/// sysexits.h `EX_SOFTWARE`
const EXIT_SOFTWARE: u8 = 70;

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Client(#[from] Error),
    #[error(transparent)]
    Locate(#[from] LocateError),
    #[error("{0}")]
    Usage(String),
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
}

impl Failure {
    pub(super) fn report(&self) -> ExitCode {
        match self {
            // Whoever read us has gone; so do we, without a word, as other tools do.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => output::note(&format!("midplane: {other}")),
        }
        ExitCode::from(self.exit_code())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Failure::Client(Error::Connect { .. }) | Failure::Locate(_) => EXIT_UNAVAILABLE,
            Failure::Client(_) | Failure::Output(_) => EXIT_REFUSED,
            Failure::Usage(_) => EXIT_USAGE,
            Failure::Start(_) => EXIT_SOFTWARE,
        }
    }
}
