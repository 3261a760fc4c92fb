//! Keys in one SQLite file, shared by the kernels of several windows.
//!
//! The file is in WAL mode: readers never wait for writers, and a killed process leaves a file that the next one opens. One
//! thread writes (`writer`), and puts what waits into one transaction; a few read (`readers`); one, only while somebody
//! watches, looks for what other processes have written (`changes`). No caller ever waits for a disk on its own thread.
//!
//! Locks between processes are POSIX locks, which two copies of SQLite in one process do not see of each other; `sole` keeps a
//! second copy from opening the file.

mod bell;
mod changes;
mod fault;
mod file;
pub mod maintenance;
mod queue;
mod read;
mod readers;
mod schema;
mod sole;
mod write;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::batch::check_key;
use crate::{Answer, Backend, Batch, Entry, Page, Scan, StoreError, Usage, Version};
use bell::Bell;
use changes::Changes;
use readers::Readers;
use sole::Sole;
use writer::Writer;

pub use file::{Durability, OpenError};

/// Where and how keys are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    pub path: PathBuf,
    /// Of each module's keys and values.
    pub quota_bytes: u64,
    pub sync: Durability,
}

/// An open file. Dropping it finishes the commits that wait, and closes it.
pub struct Sqlite {
    path: Arc<Path>,
    quota_bytes: u64,
    changes: Arc<Changes>,
    // In the order in which they end: whoever reads, whoever writes, and then the right to have the file open.
    open: Mutex<Option<(Readers, Writer, Sole)>>,
    reads: readers::Queue,
    commits: writer::Queue,
}

impl Sqlite {
    /// Opens the file, and makes it if it is not there. May block for [`BUSY_WAIT`](crate::limits::BUSY_WAIT).
    ///
    /// # Errors
    /// [`OpenError`]; the file is left as it was.
    pub fn open(settings: &Settings) -> Result<Sqlite, OpenError> {
        let path: Arc<Path> = file::real(&settings.path).into();
        let sole = Sole::claim(&path)?;
        let connection = file::open_or_make(&path, settings.sync)?;
        let changes = Arc::new(Changes::new(Arc::clone(&path)));
        let readers = Readers::start(&path)?;
        let writer = Writer::start(
            connection,
            Arc::clone(&path),
            Bell::of(&path)?,
            settings.quota_bytes,
            Arc::clone(&changes),
        )?;
        Ok(Sqlite {
            path,
            quota_bytes: settings.quota_bytes,
            changes,
            reads: readers.queue(),
            commits: writer.queue(),
            open: Mutex::new(Some((readers, writer, sole))),
        })
    }

    /// Finishes the commits that wait and closes the file; what is asked for afterwards is refused. Blocks until then.
    pub fn close(&self) {
        self.changes.end();
        let open = self.parts().take();
        drop(open);
    }

    fn parts(&self) -> MutexGuard<'_, Option<(Readers, Writer, Sole)>> {
        self.open.lock().expect("no code panics under this lock")
    }

    async fn read<T: Send + 'static>(
        &self,
        module: &str,
        doing: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let path = Arc::clone(&self.path);
        let question = move |connection: &Connection| {
            if reply.is_closed() {
                // Whoever asked has left, and nothing is changed by it.
                return;
            }
            let outcome = read(connection).map_err(|error| fault::explain(&path, doing, &error));
            let _ = reply.send(outcome);
        };
        self.reads.ask(module, Box::new(question))?;
        answer.await.unwrap_or(Err(StoreError::Closing))
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.close();
    }
}

impl Backend for Sqlite {
    fn get<'a>(&'a self, module: &'a str, key: Bytes) -> Answer<'a, Option<Entry>> {
        let name = module.to_owned();
        Box::pin(async move {
            check_key(&key)?;
            self.read(module, "read from", move |connection| {
                read::get(connection, &name, &key)
            })
            .await
        })
    }

    fn scan<'a>(&'a self, module: &'a str, scan: Scan) -> Answer<'a, Page> {
        let name = module.to_owned();
        Box::pin(async move {
            scan.check()?;
            self.read(module, "read from", move |connection| {
                read::scan(connection, &name, &scan)
            })
            .await
        })
    }

    fn commit<'a>(&'a self, module: &'a str, batch: Batch) -> Answer<'a, Version> {
        Box::pin(async move {
            batch.check()?;
            let (reply, answer) = oneshot::channel();
            self.commits.ask(module, batch, reply)?;
            answer.await.unwrap_or(Err(StoreError::Closing))
        })
    }

    fn usage<'a>(&'a self, module: &'a str) -> Answer<'a, Usage> {
        let (name, quota_bytes) = (module.to_owned(), self.quota_bytes);
        Box::pin(async move {
            let kept = self.read(module, "read from", move |connection| {
                read::kept(connection, &name)
            });
            Ok(kept.await?.usage(quota_bytes))
        })
    }

    fn changed<'a>(&'a self, module: &'a str, seen: Version) -> Answer<'a, Version> {
        Box::pin(async move {
            // Before the version is read: what is committed after that is told.
            let mut told = self.changes.listen(module)?;
            let changes = Arc::clone(&self.changes);
            self.read(module, "watch", move |_| changes.look_out())
                .await?;
            loop {
                let version = self.usage(module).await?.version;
                if version != seen {
                    return Ok(version);
                }
                told.changed().await.map_err(|_ended| StoreError::Closing)?;
            }
        })
    }
}
