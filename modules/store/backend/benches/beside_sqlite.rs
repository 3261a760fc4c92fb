//! The store beside SQLite used directly, in one run: what the threads, the order of commits and the accounting cost, and what
//! group commit gains. Only the ratios mean something on another machine.
//!
//!     cargo bench -p midplane-store-backend

#![expect(clippy::unwrap_used, reason = "a benchmark may")]

use std::future::Future;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use midplane_store_backend::limits::QUOTA_BYTES;
use midplane_store_backend::sqlite::{Durability, Settings};
use midplane_store_backend::{Backend, Batch, Scan, Sqlite};
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::runtime::Runtime;

const ENTRIES: u64 = 50_000;
const VALUE_BYTES: usize = 200;
const WRITERS: u64 = 32;
/// The best of them counts: whatever else the machine does only makes them slower.
const ROUNDS: usize = 5;
const READS: u64 = 10_000;
const SCANS: u64 = 1_000;
const COMMITS: u64 = 640;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let dir = tempfile::tempdir_in(
        std::env::var_os("STORE_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into),
    )
    .unwrap();
    println!(
        "{:34} {:>12} {:>12} {:>8}",
        "", "SQLite us", "store us", "ratio"
    );
    let reads = Pair::open(dir.path(), "reads", Durability::Normal);
    reads.fill(&runtime);
    compare(
        "get",
        READS,
        || reads.direct_gets(),
        || reads.store_gets(&runtime),
    );
    compare(
        "scan of 100",
        SCANS,
        || reads.direct_scans(),
        || reads.store_scans(&runtime),
    );
    for (name, sync) in [("normal", Durability::Normal), ("full", Durability::Full)] {
        let pair = Pair::open(dir.path(), name, sync);
        for writers in [1, WRITERS] {
            compare(
                &format!("commit of one put, {name}, {writers} writers"),
                COMMITS,
                || pair.direct_commits(writers),
                || pair.store_commits(&runtime, writers),
            );
        }
        compare(
            &format!("commit of 100 puts, {name}, 1 writer"),
            COMMITS / 10,
            || pair.direct_batches(COMMITS / 10),
            || pair.store_batches(&runtime, COMMITS / 10),
        );
    }
}

fn compare(what: &str, operations: u64, direct: impl Fn(), store: impl Fn()) {
    let mut best = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        for (best, run) in best.iter_mut().zip([&direct as &dyn Fn(), &store]) {
            let since = Instant::now();
            run();
            *best = since.elapsed().min(*best);
        }
    }
    let [direct, store] = best.map(|time| time.as_secs_f64() * 1e6 / operations as f64);
    println!(
        "{what:34} {direct:12.1} {store:12.1} {:8.2}",
        store / direct
    );
}

/// The same data in both.
struct Pair {
    direct: Mutex<Connection>,
    store: Sqlite,
}

fn key(n: u64) -> String {
    format!("thread/{:04}/item/{n:010}", n % 500)
}

/// Never the same twice: SQLite writes nothing where nothing changes.
fn value() -> Bytes {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut value = vec![7; VALUE_BYTES];
    value[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    value.into()
}

fn nth_key(n: u64) -> String {
    key(n.wrapping_mul(0x9E37_79B9) % ENTRIES)
}

impl Pair {
    fn open(dir: &Path, name: &str, sync: Durability) -> Pair {
        let direct = Connection::open(dir.join(format!("{name}-direct.db"))).unwrap();
        direct.pragma_update(None, "journal_mode", "WAL").unwrap();
        let synchronous = if sync == Durability::Full {
            "FULL"
        } else {
            "NORMAL"
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
            path: dir.join(format!("{name}-store.db")),
            quota_bytes: QUOTA_BYTES,
            sync,
        });
        Pair {
            direct: Mutex::new(direct),
            store: store.unwrap(),
        }
    }

    fn fill(&self, runtime: &Runtime) {
        for first in (0..ENTRIES).step_by(1_000) {
            let keys = first..first + 1_000;
            self.direct_put(keys.clone().map(key));
            runtime.block_on(self.store_put(keys.map(key)));
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

    fn store_put(&self, keys: impl Iterator<Item = String>) -> impl Future<Output = ()> {
        let mut batch = Batch::default();
        for key in keys {
            batch.write.extend(Batch::put(key.into(), value()).write);
        }
        let commit = self.store.commit("bench", batch);
        async { commit.await.map(drop).unwrap() }
    }

    fn direct_gets(&self) {
        let direct = self.direct.lock().unwrap();
        for n in 0..READS {
            let mut get = direct
                .prepare_cached("SELECT value FROM entry WHERE key = ?1")
                .unwrap();
            let value: Vec<u8> = get
                .query_row([nth_key(n).as_bytes()], |row| row.get(0))
                .unwrap();
            assert_eq!(value.len(), VALUE_BYTES);
        }
    }

    fn store_gets(&self, runtime: &Runtime) {
        runtime.block_on(async {
            for n in 0..READS {
                let entry = self
                    .store
                    .get("bench", nth_key(n).into())
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!(entry.value.len(), VALUE_BYTES);
            }
        });
    }

    fn direct_scans(&self) {
        let direct = self.direct.lock().unwrap();
        for n in 0..SCANS {
            let mut scan = direct
                .prepare_cached(
                    "SELECT key, value FROM entry WHERE key >= ?1 ORDER BY key LIMIT 100",
                )
                .unwrap();
            let from = format!("thread/{:04}/", n % 500);
            let rows = scan
                .query_map([from.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap();
            let page: Vec<(Vec<u8>, Vec<u8>)> = rows.map(Result::unwrap).collect();
            assert_eq!(page.len(), 100);
        }
    }

    fn store_scans(&self, runtime: &Runtime) {
        runtime.block_on(async {
            for n in 0..SCANS {
                let scan = Scan {
                    limit: 100,
                    ..Scan::prefix(format!("thread/{:04}/", n % 500).as_bytes())
                };
                let page = self.store.scan("bench", scan).await.unwrap();
                assert_eq!(page.entries.len(), 100);
            }
        });
    }

    /// Each of its threads waits for its turn and its own commit.
    fn direct_commits(&self, writers: u64) {
        std::thread::scope(|scope| {
            for writer in 0..writers {
                scope.spawn(move || {
                    for n in 0..COMMITS / writers {
                        self.direct_put(std::iter::once(key(n * writers + writer)));
                    }
                });
            }
        });
    }

    fn store_commits(&self, runtime: &Runtime, writers: u64) {
        std::thread::scope(|scope| {
            for writer in 0..writers {
                let handle = runtime.handle();
                scope.spawn(move || {
                    for n in 0..COMMITS / writers {
                        handle.block_on(self.store_put(std::iter::once(key(n * writers + writer))));
                    }
                });
            }
        });
    }

    fn direct_batches(&self, count: u64) {
        for n in 0..count {
            self.direct_put((0..100).map(|m| key(n * 100 + m)));
        }
    }

    fn store_batches(&self, runtime: &Runtime, count: u64) {
        for n in 0..count {
            runtime.block_on(self.store_put((0..100).map(|m| key(n * 100 + m))));
        }
    }
}
