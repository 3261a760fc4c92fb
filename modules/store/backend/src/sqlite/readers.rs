//! The threads that read.

use std::path::Path;
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::file::{self, OpenError};
use super::queue::{self, Load, Room};
use crate::StoreError;

/// Enough that one large scan does not hold up everybody; what is in memory takes microseconds, and more threads than
/// processors would only take turns.
const THREADS: usize = 2;
/// Questions that may wait: a second's worth of them.
const ROOM: Room = Room {
    len: 4_096,
    bytes: usize::MAX,
};
/// Statements that a connection keeps ready: all that there are.
pub(super) const STATEMENTS_KEPT: usize = 16;

pub(super) type Question = Box<dyn FnOnce(&Connection) + Send>;

/// Dropping it answers what waits, and ends the threads.
pub(super) struct Readers {
    queue: Queue,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone)]
pub(super) struct Queue(queue::Queue<Question>);

impl Queue {
    pub(super) fn ask(&self, module: &str, question: Question) -> Result<(), StoreError> {
        self.0.push(module, question, Load::default())
    }
}

impl Readers {
    pub(super) fn start(path: &Path) -> Result<Readers, OpenError> {
        let mut readers = Readers {
            queue: Queue(queue::Queue::new(ROOM)),
            threads: Vec::with_capacity(THREADS),
        };
        for _ in 0..THREADS {
            let connection = file::open_to_read(path)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
            let Queue(queue) = readers.queue.clone();
            let thread = std::thread::Builder::new().name("store-read".to_owned());
            let started = thread.spawn(move || {
                while let Some(question) = queue.take() {
                    question(&connection);
                }
            });
            readers
                .threads
                .push(started.map_err(|source| OpenError::Thread {
                    name: "store-read",
                    source,
                })?);
        }
        Ok(readers)
    }

    pub(super) fn queue(&self) -> Queue {
        self.queue.clone()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.0.close();
        for thread in self.threads.drain(..) {
            // One that panicked has answered by dropping the question.
            let _ = thread.join();
        }
    }
}
