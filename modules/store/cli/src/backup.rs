//! `midplane store backup`: a copy as of one moment, at its path only once it is whole.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use midplane_store_backend::sqlite::maintenance::Maintenance;
use tempfile::{Builder, PersistError};

use crate::failure::Failure;
use crate::interrupts::Interrupts;

/// Whoever waits for less than this need not be told.
const SILENT: Duration = Duration::from_secs(1);

pub(crate) fn run(file: &Path, to: &Path) -> Result<(), Failure> {
    let store = Maintenance::open(file)?;
    if to.symlink_metadata().is_ok() {
        return Err(exists(to));
    }
    let failed = |error: io::Error| Failure::Backup {
        path: to.to_owned(),
        reason: error.to_string(),
    };
    let dir = match to.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let interrupts = Interrupts::catch().map_err(failed)?;
    // With mode 0600, and removed again if anything goes wrong.
    let copy = Builder::new()
        .prefix(".midplane-store-")
        .tempfile_in(dir)
        .map_err(failed)?;
    let mut progress = Progress::new();
    let copied = store.backup(copy.path(), |left, all| {
        progress.tell(left, all);
        interrupts.so_far()
    });
    progress.end();
    let copied = copied.map_err(|error| failed(io::Error::other(error)))?;
    if copied.is_break() || interrupts.so_far().is_break() {
        return Err(Failure::Interrupted {
            path: to.to_owned(),
        });
    }
    copy.as_file().sync_all().map_err(failed)?;
    copy.persist_noclobber(to)
        .map_err(|PersistError { error, .. }| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                exists(to)
            } else {
                failed(error)
            }
        })?;
    Ok(())
}

fn exists(path: &Path) -> Failure {
    Failure::BackupExists {
        path: path.to_owned(),
    }
}

/// How far it is, on a terminal, once it takes long.
struct Progress {
    since: Instant,
    terminal: bool,
    shown: bool,
}

impl Progress {
    fn new() -> Progress {
        Progress {
            since: Instant::now(),
            terminal: io::stderr().is_terminal(),
            shown: false,
        }
    }

    fn tell(&mut self, left: u64, all: u64) {
        if self.terminal && self.since.elapsed() >= SILENT {
            self.shown = true;
            let percent = (all - left.min(all)) * 100 / all.max(1);
            let _ = write!(io::stderr(), "\r{percent} %");
        }
    }

    fn end(self) {
        if self.shown {
            let _ = writeln!(io::stderr());
        }
    }
}
