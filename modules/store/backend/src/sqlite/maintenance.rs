//! What an operator does with the file, also while kernels use it: from a process of its own, which locks keep apart.

use std::cell::OnceCell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::bell::Bell;
use super::file::{self, OpenError};
use super::{fault, read, sole, write};
use crate::{Batch, StoreError, Version};

/// Pages of a backup between two words about its progress: 16 MiB.
const BACKUP_STEP_PAGES: i32 = 4_096;
/// While the file cannot be read for a moment.
const BACKUP_PAUSE: Duration = Duration::from_millis(5);
/// No quota holds for what an operator puts in.
const NO_QUOTA: u64 = u64::MAX;
/// The most that `check` lists.
const FAULTS_MAX: i64 = 100;

/// The file, open for maintenance.
pub struct Maintenance {
    connection: Connection,
    path: PathBuf,
    /// Made for the first commit.
    bell: OnceCell<Option<Bell>>,
}

/// One module's part of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleUsage {
    pub name: String,
    pub entries: u64,
    pub bytes: u64,
    pub version: Version,
}

/// The file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUsage {
    pub file_bytes: u64,
    /// Of the file: used again for what is written next.
    pub free_bytes: u64,
    /// What is written and not copied into the file yet.
    pub log_bytes: u64,
    /// The kernels (or module processes) that have it open.
    pub open_in: Vec<u32>,
}

/// An entry as `export` gives it.
#[derive(Debug, Clone, Copy)]
pub struct Exported<'a> {
    pub module: &'a str,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// What `visit` failed with, or the store did.
#[derive(Debug)]
pub enum ExportError<E> {
    Store(StoreError),
    Visit(E),
}

impl Maintenance {
    /// # Errors
    /// [`OpenError::Missing`] where there is no file, and whatever else keeps it from being opened.
    pub fn open(path: &Path) -> Result<Maintenance, OpenError> {
        let path = file::real(path);
        Ok(Maintenance {
            connection: file::open_existing(&path)?,
            path,
            bell: OnceCell::new(),
        })
    }

    /// As [`Maintenance::open`], but makes the file if it is not there.
    pub fn open_or_make(path: &Path) -> Result<Maintenance, OpenError> {
        let path = file::real(path);
        Ok(Maintenance {
            connection: file::open_or_make(&path, file::Durability::Full)?,
            path,
            bell: OnceCell::new(),
        })
    }

    pub fn modules(&self) -> Result<Vec<ModuleUsage>, StoreError> {
        modules(&self.connection).map_err(self.failed("read from"))
    }

    pub fn file(&self) -> Result<FileUsage, StoreError> {
        let number = |pragma| {
            let value = self
                .connection
                .pragma_query_value(None, pragma, |row| read::number(row, 0));
            value.map_err(self.failed("read from"))
        };
        let page_bytes = number("page_size")?;
        let mut log = self.path.as_os_str().to_owned();
        log.push("-wal");
        Ok(FileUsage {
            file_bytes: number("page_count")? * page_bytes,
            free_bytes: number("freelist_count")? * page_bytes,
            log_bytes: std::fs::metadata(log).map_or(0, |log| log.len()),
            open_in: sole::holders(&self.path),
        })
    }

    /// Visits every entry, of one module or of all, in order and as of one moment. Writers go on meanwhile.
    pub fn export<E>(
        &self,
        module: Option<&str>,
        mut visit: impl FnMut(Exported<'_>) -> Result<(), E>,
    ) -> Result<(), ExportError<E>> {
        let failed = |error| ExportError::Store(self.failed("read from")(error));
        let mut select = self
            .connection
            .prepare(
                "SELECT module.name, key, value FROM module JOIN entry ON entry.module = module.id
                 WHERE ?1 IS NULL OR module.name = ?1 ORDER BY module.name, key",
            )
            .map_err(failed)?;
        let mut rows = select.query([module]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let exported = (|| {
                Ok(Exported {
                    module: row.get_ref(0)?.as_str()?,
                    key: row.get_ref(1)?.as_bytes()?,
                    value: row.get_ref(2)?.as_bytes()?,
                })
            })();
            visit(exported.map_err(failed)?).map_err(ExportError::Visit)?;
        }
        Ok(())
    }

    /// Commits a batch whatever the module's quota is.
    pub fn commit(&self, module: &str, batch: &Batch) -> Result<Version, StoreError> {
        batch.check()?;
        let immediate = TransactionBehavior::Immediate;
        let committed =
            Transaction::new_unchecked(&self.connection, immediate).and_then(|transaction| {
                let outcome = write::apply(&transaction, module, batch, NO_QUOTA)?;
                transaction.commit()?;
                Ok(outcome)
            });
        let version = committed.map_err(self.failed("write to"))??;
        if let Some(bell) = self.bell.get_or_init(|| Bell::of(&self.path).ok()) {
            bell.ring();
        }
        Ok(version)
    }

    /// Copies the file, as of one moment, to `target`, which is empty. Writers go on meanwhile. `progress` is told of pages
    /// still to copy, and of all, and may break it off.
    pub fn backup(
        &self,
        target: &Path,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let failed_there = |error| fault::explain(target, "write to", &error);
        // Held to the end, so that the copy need not begin again whenever something is committed.
        let moment = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)
            .map_err(self.failed("read from"))?;
        modules(&moment).map_err(self.failed("read from"))?;
        let mut copy = Connection::open(target).map_err(failed_there)?;
        {
            let backup = Backup::new(&moment, &mut copy).map_err(failed_there)?;
            loop {
                let step = backup.step(BACKUP_STEP_PAGES).map_err(failed_there)?;
                let left = backup.progress();
                let on = progress(
                    left.remaining.unsigned_abs().into(),
                    left.pagecount.unsigned_abs().into(),
                );
                if on.is_break() {
                    return Ok(on);
                }
                match step {
                    StepResult::Done => break,
                    StepResult::More => {}
                    _ => std::thread::sleep(BACKUP_PAUSE),
                }
            }
        }
        // One file, with nothing beside it; the store sets the mode anew when it opens it.
        copy.pragma_update(None, "journal_mode", "DELETE")
            .map_err(failed_there)?;
        copy.close().map_err(|(_, error)| failed_there(error))?;
        Ok(ControlFlow::Continue(()))
    }

    /// What is wrong with the file, a line each: its pages, and the counts that quotas are checked with.
    pub fn check(&self) -> Result<Vec<String>, StoreError> {
        faults(&self.connection).map_err(self.failed("check"))
    }

    fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        move |error| fault::explain(&path, doing, &error)
    }
}

fn modules(connection: &Connection) -> rusqlite::Result<Vec<ModuleUsage>> {
    let mut select =
        connection.prepare("SELECT name, entries, bytes, version FROM module ORDER BY name")?;
    let rows = select.query_map((), |row| {
        Ok(ModuleUsage {
            name: row.get(0)?,
            entries: read::number(row, 1)?,
            bytes: read::number(row, 2)?,
            version: read::version(row, 3)?,
        })
    })?;
    rows.collect()
}

fn faults(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    // As of one moment, also beside writers.
    let moment = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    let mut check = moment.prepare(&format!("PRAGMA integrity_check({FAULTS_MAX})"))?;
    let mut faults = check
        .query_map((), |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    faults.retain(|fault| fault != "ok");
    let mut miscounted = moment.prepare(
        "SELECT coalesce(module.name, 'without a name'), coalesce(module.entries, 0), coalesce(module.bytes, 0),
                count(key), coalesce(sum(length(key) + length(value)), 0)
         FROM module FULL JOIN entry ON entry.module = module.id
         GROUP BY module.id, entry.module
         HAVING coalesce(module.entries, 0) <> count(key)
             OR coalesce(module.bytes, 0) <> coalesce(sum(length(key) + length(value)), 0)
         LIMIT ?1",
    )?;
    let mut rows = miscounted.query([FAULTS_MAX])?;
    while let Some(row) = rows.next()? {
        faults.push(format!(
            "the module {} is counted with {} entries of {} bytes, and has {} of {}",
            row.get::<_, String>(0)?,
            read::number(row, 1)?,
            read::number(row, 2)?,
            read::number(row, 3)?,
            read::number(row, 4)?,
        ));
    }
    let ahead = "SELECT count(*) FROM entry JOIN module ON module.id = entry.module WHERE entry.version > module.version";
    let ahead: i64 = moment.query_row(ahead, (), |row| row.get(0))?;
    if ahead > 0 {
        faults.push(format!(
            "{ahead} entries are newer than their module's last commit"
        ));
    }
    Ok(faults)
}
