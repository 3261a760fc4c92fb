//! Opening the file: whose it is, what is in it, and how a connection is set up.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::fault;
use super::schema::{self, Kind, SCHEMA};
use crate::StoreError;
use crate::limits::BUSY_WAIT;

/// What an acknowledged commit has survived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Written to the disk: it is there after a power cut. One wait for the disk for each group of commits.
    #[default]
    Full,
    /// Given to the system: it is there after the end of any process, `kill -9` included. A power cut may take the last
    /// commits, each of them whole.
    Normal,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot make {}: {source}", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("there is no store at {}: name its file with --file", path.display())]
    Missing { path: PathBuf },
    #[error(
        "{} is open in this process already: another generation of this module has not closed it, and two would damage it; unload the module, then load it again",
        path.display()
    )]
    OpenInThisProcess { path: PathBuf },
    #[error(
        "{} is not a store: name another `file`, or move it away",
        path.display()
    )]
    Foreign { path: PathBuf },
    #[error(
        "{} was written by a newer version (schema {found}, and this one knows {SCHEMA}): update, or name another `file`",
        path.display()
    )]
    Newer { path: PathBuf, found: i32 },
    #[error(
        "{} is on a file system that processes cannot share memory on: set `data_dir` in [kernel] to a local one",
        path.display()
    )]
    NoLog { path: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot start the thread {name}: {source}")]
    Thread {
        name: &'static str,
        source: io::Error,
    },
}

/// How many pages (of 4 KiB) the writer keeps: what a large batch touches.
const WRITER_CACHE_KIB: i64 = 2_048;
/// The system keeps the file's pages; each connection's own copy is for the inner pages of the tree.
const READER_CACHE_KIB: i64 = 1_024;
/// What the log shrinks to when it has been copied into the file: the size at which it is copied.
const LOG_BYTES_KEPT: i64 = 4 << 20;
/// Of the file format.
const HEADER_LEN: u64 = 100;
/// A writer in another process is done in a millisecond or so.
const FIRST_RETRIES: i32 = 50;
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const PAUSE: Duration = Duration::from_millis(5);

/// The file that a link leads to. What stands beside it, the log and the bell, is found by its name, whatever it was opened by.
pub(super) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The writer's connection.
pub(super) fn open_or_make(path: &Path, sync: Durability) -> Result<Connection, OpenError> {
    make_private(path)?;
    open(path, |connection| {
        schema::make(connection)?;
        set_up(connection, WRITER_CACHE_KIB)?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
        connection.pragma_update(
            None,
            "synchronous",
            match sync {
                Durability::Full => "FULL",
                Durability::Normal => "NORMAL",
            },
        )?;
        // Only on macOS does it differ: fsync(2) leaves bytes in the drive there.
        connection.pragma_update(None, "fullfsync", sync == Durability::Full)
    })
}

/// A connection for maintenance, which makes nothing.
pub(super) fn open_existing(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing {
            path: path.to_owned(),
        });
    }
    let connection = open(path, |connection| set_up(connection, WRITER_CACHE_KIB))?;
    Ok(connection)
}

/// A reader's connection to a file that is open.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let opened = connect(path).and_then(|connection| {
        set_up(&connection, READER_CACHE_KIB)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    });
    opened.map_err(|error| fault::explain(path, "open", &error))
}

fn open(
    path: &Path,
    prepare: impl Fn(&Connection) -> rusqlite::Result<()>,
) -> Result<Connection, OpenError> {
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign {
            path: path.to_owned(),
        },
        _ => fault::explain(path, "open", &error).into(),
    };
    let connection = connect(path).map_err(failed)?;
    // At one moment: another process may be filling the file.
    let kind = connection
        .unchecked_transaction()
        .and_then(|transaction| schema::kind(&transaction));
    match kind.map_err(failed)? {
        Kind::Foreign => {
            return Err(OpenError::Foreign {
                path: path.to_owned(),
            });
        }
        Kind::Ours { schema } if schema > SCHEMA => {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found: schema,
            });
        }
        Kind::Ours { .. } | Kind::Empty => {}
    }
    prepare(&connection).map_err(failed)?;
    let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
    if mode.map_err(failed)? != "wal" {
        return Err(OpenError::NoLog {
            path: path.to_owned(),
        });
    }
    Ok(connection)
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_for_writer))?;
    Ok(connection)
}

fn set_up(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    // Two processes may do this at once to a new file, and the one that is late is told so without the busy handler.
    let mut tries = 0;
    while let Err(error) = connection.pragma_update(None, "journal_mode", "WAL") {
        if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) || !wait_for_writer(tries) {
            return Err(error);
        }
        tries += 1;
    }
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// A file of mode 0600 before anything is in it. SQLite gives the files beside it the same mode.
fn make_private(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Make {
        path: path.to_owned(),
        source,
    };
    match fs::metadata(path) {
        Ok(there) if there.permissions().mode() & 0o077 == 0 => Ok(()),
        // Refused when it is opened.
        Ok(_) if !may_be_ours(path) => Ok(()),
        Ok(_) => fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut options = OpenOptions::new();
            match options.write(true).create_new(true).mode(0o600).open(path) {
                Ok(_made) => Ok(()),
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                Err(error) => Err(failed(error)),
            }
        }
        Err(error) => Err(failed(error)),
    }
}

/// By its first bytes (<https://www.sqlite.org/fileformat.html>, section 1.3). To close a file ends the locks that this process has
/// on it, so this is for one that it has not open.
fn may_be_ours(path: &Path) -> bool {
    let mut header = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEADER_LEN).read_to_end(&mut header));
    read.is_ok() && schema::may_begin(&header)
}

/// SQLite's own pauses grow to a tenth of a second, in which a busy neighbour takes its turn again and again.
fn wait_for_writer(tries: i32) -> bool {
    let pause = if tries < FIRST_RETRIES {
        FIRST_PAUSE
    } else {
        PAUSE
    };
    let waited = FIRST_PAUSE * tries.min(FIRST_RETRIES).unsigned_abs()
        + PAUSE * (tries - FIRST_RETRIES).max(0).unsigned_abs();
    if waited >= BUSY_WAIT {
        return false;
    }
    std::thread::sleep(pause);
    true
}
