//! What can go wrong, as one line that says what to do, and the exit code it comes to.

use std::io;
use std::path::PathBuf;

use midplane_store_backend::StoreError;
use midplane_store_backend::sqlite::OpenError;
use midplane_store_backend::sqlite::maintenance::ExportError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("$HOME is not set: name the store's file with --file")]
    NoHome,
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    #[error("cannot read {from}: {source}")]
    Input { from: String, source: io::Error },
    #[error(
        "line {line} of {from} is no entry as `export` prints it ({reason}); {imported} entries before it are in"
    )]
    Line {
        from: String,
        line: u64,
        reason: String,
        imported: u64,
    },
    #[error(
        "line {line} of {from} cannot be put in: {source}; {imported} entries before it are in"
    )]
    Import {
        from: String,
        line: u64,
        source: StoreError,
        imported: u64,
    },
    #[error(
        "the module {module} keeps something already: add --merge to put these entries beside it, and over what has the same key; {imported} entries of other modules are in"
    )]
    NotEmpty { module: String, imported: u64 },
    #[error("{} is there already: name a file that is not", path.display())]
    BackupExists { path: PathBuf },
    #[error("cannot make the backup {}: {reason}", path.display())]
    Backup { path: PathBuf, reason: String },
    #[error("interrupted: there is no backup {}, nor a part of one", path.display())]
    Interrupted { path: PathBuf },
    #[error("{faults} faults in {}: put back a backup, or export what can be read", path.display())]
    Faults { path: PathBuf, faults: usize },
}

impl Failure {
    /// Whoever reads the output has gone; there is no one to tell.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// `EX_USAGE`, `EX_UNAVAILABLE` and `EX_CANTCREAT` are those of sysexits.h.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::NoHome => 64,
            Failure::Open(OpenError::Missing { .. }) => 69,
            Failure::BackupExists { .. } | Failure::Backup { .. } => 73,
            // As a shell says it of a program that Ctrl-C has ended.
            Failure::Interrupted { .. } => 130,
            _ if self.is_closed_pipe() => 0,
            _ => 1,
        }
    }
}

impl From<ExportError<io::Error>> for Failure {
    fn from(error: ExportError<io::Error>) -> Failure {
        match error {
            ExportError::Store(error) => Failure::Store(error),
            ExportError::Visit(error) => Failure::Output(error),
        }
    }
}
