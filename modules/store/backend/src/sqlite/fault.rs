//! What a failure of the database means to whoever can do something about it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::StoreError;

/// Enough to need blocks of its own, on every file system.
const PROBE_BYTES: usize = 64 * 1024;

/// `doing` completes "cannot … the file".
pub(super) fn explain(path: &Path, doing: &'static str, error: &Error) -> StoreError {
    let path_buf = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Busy { path: path_buf }
        }
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { path: path_buf },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged {
            path: path_buf,
            detail: error.to_string(),
        },
        // SQLite tells a full disk only where `write` says ENOSPC; a used-up quota, and a log's index that cannot grow, it
        // calls errors of the disk.
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => match probe(path) {
            Some(io::ErrorKind::StorageFull) => StoreError::DiskFull { path: path_buf },
            Some(io::ErrorKind::QuotaExceeded) => StoreError::DiskQuota { path: path_buf },
            _ => database(path, doing, error),
        },
        _ => database(path, doing, error),
    }
}

fn database(path: &Path, doing: &'static str, error: &Error) -> StoreError {
    StoreError::Database {
        doing,
        path: path.to_owned(),
        detail: error.to_string(),
    }
}

/// Why nothing can be written beside the file; `None` if it can.
fn probe(path: &Path) -> Option<io::ErrorKind> {
    let mut name = path.file_name()?.to_owned();
    name.push(format!(".probe-{}", std::process::id()));
    let probe = path.with_file_name(name);
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).open(&probe);
    let outcome = opened.and_then(|mut file| {
        file.write_all(&[1; PROBE_BYTES])?;
        file.sync_all()
    });
    let _ = fs::remove_file(&probe);
    outcome.err().map(|error| error.kind())
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn each_failure_that_somebody_can_mend_is_told_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        for (code, expect) in [
            (ffi::SQLITE_FULL, "is full: make room there"),
            (ffi::SQLITE_BUSY, "another process has been writing"),
            (
                ffi::SQLITE_BUSY_SNAPSHOT,
                "another process has been writing",
            ),
            (ffi::SQLITE_CORRUPT, "is damaged"),
            (ffi::SQLITE_NOTADB, "is damaged"),
            (ffi::SQLITE_IOERR_WRITE, "cannot write to"),
            (ffi::SQLITE_NOMEM, "cannot write to"),
        ] {
            let error = Error::SqliteFailure(ffi::Error::new(code), None);
            let said = explain(&path, "write to", &error).to_string();
            assert!(said.contains(expect), "{code}: {said}");
        }
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            0,
            "the probe is gone"
        );
    }
}
