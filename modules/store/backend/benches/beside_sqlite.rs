//! SQLite used directly, and the backend without a kernel around it: two columns of `scripts/bench store`, whose others are the
//! same job by a module's storage (`tests/modules/notes/src/measure.rs`).
//!
//!     beside_sqlite DIRECTORY full|normal
//!
//! Fills both, and then does what each line of its standard input says, `direct|backend get|scan|put|commit TASKS OPERATIONS`,
//! answering with the microseconds that took.

#![expect(clippy::unwrap_used, reason = "a benchmark may")]

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use midplane_store_backend::limits::QUOTA_BYTES;
use midplane_store_backend::sqlite::{Durability, Settings};
use midplane_store_backend::{Backend, Batch, Scan, Sqlite};
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::runtime::Runtime;

const ENTRIES: u64 = 50_000;
const THREADS: u64 = 500;
const VALUE_BYTES: usize = 200;
const BATCH_LEN: u64 = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, sync] = arguments.as_slice() else {
        // As `cargo test --benches` runs it.
        return eprintln!("run by scripts/bench store");
    };
    let sync = match sync.as_str() {
        "full" => Durability::Full,
        _ => Durability::Normal,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let pair = Pair::open(directory.as_ref(), sync);
    for n in 0..ENTRIES / BATCH_LEN {
        let keys = || (n * BATCH_LEN..(n + 1) * BATCH_LEN).map(key);
        pair.direct_put(keys());
        runtime.block_on(pair.store_put(keys()));
    }
    println!("filled");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let [who, what, tasks, operations] = words.as_slice() else {
            panic!("no job: {line}");
        };
        let (tasks, operations) = (tasks.parse().unwrap(), operations.parse().unwrap());
        let began = Instant::now();
        match *who {
            "direct" => pair.direct(what, tasks, operations),
            _ => pair.backend(&runtime, what, tasks, operations),
        }
        println!("{}", began.elapsed().as_micros());
        std::io::stdout().flush().unwrap();
    }
}

/// The same content in both.
struct Pair {
    direct: Mutex<Connection>,
    store: Sqlite,
}

impl Pair {
    fn open(dir: &Path, sync: Durability) -> Pair {
        let direct = Connection::open(dir.join("direct.db")).unwrap();
        direct.pragma_update(None, "journal_mode", "WAL").unwrap();
        let synchronous = match sync {
            Durability::Full => "FULL",
            Durability::Normal => "NORMAL",
        };
        direct
            .pragma_update(None, "synchronous", synchronous)
            .unwrap();
        direct
            .execute_batch(
                "CREATE TABLE entry (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
            )
            .unwrap();
        let store = Sqlite::open(&Settings {
            path: dir.join("backend.db"),
            quota_bytes: QUOTA_BYTES,
            sync,
        });
        Pair {
            direct: Mutex::new(direct),
            store: store.unwrap(),
        }
    }

    /// A thread for each task, and one connection, which each waits for.
    fn direct(&self, what: &str, tasks: u64, operations: u64) {
        std::thread::scope(|scope| {
            for task in 0..tasks {
                scope.spawn(move || {
                    for n in (task..operations).step_by(usize::try_from(tasks).unwrap()) {
                        self.direct_one(what, n);
                    }
                });
            }
        });
    }

    fn direct_one(&self, what: &str, n: u64) {
        match what {
            "get" => {
                let direct = self.direct.lock().unwrap();
                let mut get = direct
                    .prepare_cached("SELECT value FROM entry WHERE key = ?1")
                    .unwrap();
                let value: Vec<u8> = get
                    .query_row([key(scattered(n)).as_bytes()], |row| row.get(0))
                    .unwrap();
                assert_eq!(value.len(), VALUE_BYTES);
            }
            "scan" => {
                let direct = self.direct.lock().unwrap();
                let mut scan = direct
                    .prepare_cached(
                        "SELECT key, value FROM entry WHERE key >= ?1 ORDER BY key LIMIT 100",
                    )
                    .unwrap();
                let rows = scan
                    .query_map([prefix(n).as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
                    .unwrap();
                let page: Vec<(Vec<u8>, Vec<u8>)> = rows.map(Result::unwrap).collect();
                assert_eq!(page.len(), 100);
            }
            "put" => self.direct_put(std::iter::once(key(scattered(n)))),
            _ => self.direct_put((0..BATCH_LEN).map(|i| key(scattered(n * BATCH_LEN + i)))),
        }
    }

    fn direct_put(&self, keys: impl Iterator<Item = String>) {
        let mut direct = self.direct.lock().unwrap();
        let transaction = direct
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .unwrap();
        {
            let mut put = transaction
                .prepare_cached("INSERT OR REPLACE INTO entry VALUES (?1, ?2)")
                .unwrap();
            for key in keys {
                put.execute(params![key.as_bytes(), &value()[..]]).unwrap();
            }
        }
        transaction.commit().unwrap();
    }

    /// A task of the runtime's for each.
    fn backend(&self, runtime: &Runtime, what: &str, tasks: u64, operations: u64) {
        std::thread::scope(|scope| {
            for task in 0..tasks {
                scope.spawn(move || {
                    runtime.block_on(async {
                        for n in (task..operations).step_by(usize::try_from(tasks).unwrap()) {
                            self.backend_one(what, n).await;
                        }
                    });
                });
            }
        });
    }

    async fn backend_one(&self, what: &str, n: u64) {
        match what {
            "get" => {
                let entry = self.store.get("bench", key(scattered(n)).into()).await;
                assert_eq!(entry.unwrap().unwrap().value.len(), VALUE_BYTES);
            }
            "scan" => {
                let scan = Scan {
                    limit: 100,
                    ..Scan::prefix(prefix(n).as_bytes())
                };
                let page = self.store.scan("bench", scan).await.unwrap();
                assert_eq!(page.entries.len(), 100);
            }
            "put" => self.store_put(std::iter::once(key(scattered(n)))).await,
            _ => {
                let keys = (0..BATCH_LEN).map(|i| key(scattered(n * BATCH_LEN + i)));
                self.store_put(keys).await;
            }
        }
    }

    async fn store_put(&self, keys: impl Iterator<Item = String>) {
        let mut batch = Batch::default();
        for key in keys {
            batch.write.extend(Batch::put(key.into(), value()).write);
        }
        self.store.commit("bench", batch).await.unwrap();
    }
}

fn key(n: u64) -> String {
    format!("{}item/{n:010}", prefix(n))
}

fn prefix(n: u64) -> String {
    format!("thread/{:04}/", n % THREADS)
}

/// One of the keys that there are, far from the one before.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9) % ENTRIES
}

/// Never the same twice: SQLite writes nothing where nothing changes.
fn value() -> Bytes {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut value = vec![7; VALUE_BYTES];
    value[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    value.into()
}
