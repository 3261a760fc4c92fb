//! The thread that writes, and group commit.
//!
//! While one transaction waits for the disk, commits gather; all of them are the next transaction. So many callers share one
//! wait, and a lone one waits for nobody. Each batch has an outcome of its own. Should the transaction as a whole fail, each
//! of its batches is tried alone, so that one that asks for too much does not take the others with it.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::bell::Bell;
use super::changes::Changes;
use super::file::OpenError;
use super::queue::{GroupSize, Load, Room};
use super::readers::STATEMENTS_KEPT;
use super::{fault, queue, write};
use crate::limits::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX};
use crate::{Batch, StoreError, Version};

/// Commits that may wait, and what they may hold in memory: as many as a module may have requests under way.
const ROOM: Room = Room {
    len: 1_024,
    bytes: 64 << 20,
};
/// What one transaction takes at most: other processes, and whoever comes next, wait for its end. An operation takes some ten
/// microseconds, so that this many take less than a tenth of a second on a slow machine.
const GROUP_MAX: GroupSize = GroupSize {
    len: 256,
    bytes: 2 * BATCH_BYTES_MAX,
    operations: 2 * BATCH_OPERATIONS_MAX,
};

type Outcome = Result<Version, StoreError>;

struct Commit {
    module: String,
    batch: Batch,
    reply: oneshot::Sender<Outcome>,
}

/// Dropping it carries out what waits, and closes the connection.
pub(super) struct Writer {
    queue: Queue,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
pub(super) struct Queue(queue::Queue<Commit>);

impl Queue {
    /// `batch` is within the limits. It is carried out even if nobody waits for the answer any more.
    pub(super) fn ask(
        &self,
        module: &str,
        batch: Batch,
        reply: oneshot::Sender<Outcome>,
    ) -> Result<(), StoreError> {
        let load = Load {
            bytes: batch.bytes(),
            operations: batch.operations(),
        };
        let commit = Commit {
            module: module.to_owned(),
            batch,
            reply,
        };
        self.0.push(module, commit, load)
    }
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        path: Arc<Path>,
        bell: Bell,
        quota_bytes: u64,
        changes: Arc<Changes>,
    ) -> Result<Writer, OpenError> {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        let queue = Queue(queue::Queue::new(ROOM));
        let Queue(commits) = queue.clone();
        let desk = Desk {
            connection,
            path,
            bell,
            quota_bytes,
            changes,
        };
        let thread = std::thread::Builder::new().name("store-write".to_owned());
        let started = thread.spawn(move || {
            while let Some(group) = commits.take_group(GROUP_MAX) {
                desk.carry_out(group);
            }
        });
        let thread = Some(started.map_err(|source| OpenError::Thread {
            name: "store-write",
            source,
        })?);
        Ok(Writer { queue, thread })
    }

    pub(super) fn queue(&self) -> Queue {
        self.queue.clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.0.close();
        if let Some(thread) = self.thread.take() {
            // One that panicked has answered by dropping the commits.
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Desk {
    connection: Connection,
    path: Arc<Path>,
    bell: Bell,
    quota_bytes: u64,
    changes: Arc<Changes>,
}

impl Desk {
    fn carry_out(&self, group: Vec<Commit>) {
        match self.transact(&group) {
            Ok(outcomes) => {
                let wrote = |(commit, outcome): (&Commit, &Outcome)| {
                    outcome.is_ok() && !commit.batch.write.is_empty()
                };
                if group.iter().zip(&outcomes).any(wrote) {
                    self.bell.ring();
                }
                for (commit, outcome) in group.into_iter().zip(outcomes) {
                    self.answer(commit, outcome);
                }
            }
            Err(error) if group.len() == 1 || is_nobodys_fault(&error) => {
                let failure = fault::explain(&self.path, "write to", &error);
                for commit in group {
                    self.answer(commit, Err(failure.clone()));
                }
            }
            Err(_) => {
                for commit in group {
                    self.carry_out(vec![commit]);
                }
            }
        }
    }

    /// All of them in one transaction.
    fn transact(&self, group: &[Commit]) -> rusqlite::Result<Vec<Outcome>> {
        let immediate = TransactionBehavior::Immediate;
        let transaction = Transaction::new_unchecked(&self.connection, immediate)?;
        let apply = |commit: &Commit| {
            write::apply(
                &transaction,
                &commit.module,
                &commit.batch,
                self.quota_bytes,
            )
        };
        let outcomes = group.iter().map(apply).collect::<rusqlite::Result<_>>()?;
        transaction.commit()?;
        Ok(outcomes)
    }

    fn answer(&self, commit: Commit, outcome: Outcome) {
        if let Ok(version) = outcome
            && !commit.batch.write.is_empty()
        {
            self.changes.tell(&commit.module, version);
        }
        // Whoever asked may have left.
        let _ = commit.reply.send(outcome);
    }
}

/// Alone, the batches would fail in the same way, each after the same wait.
fn is_nobodys_fault(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}
