//! The job of `scripts/bench store`, by storage: the same keys, values and operations as `modules/store/backend/benches`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{Query, State};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use midplane_sdk::Problem;
use midplane_sdk::storage::{Batch, Scan, Storage, StorageError};
use serde::Deserialize;

const ENTRIES: u64 = 50_000;
const THREADS: u64 = 500;
const VALUE_BYTES: usize = 200;
const BATCH_LEN: u64 = 100;

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Fill,
    Get,
    Scan,
    Put,
    Commit,
}

#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Job {
    what: What,
    /// Tasks that do it side by side, each one operation after the other.
    tasks: u64,
    operations: u64,
}

/// The microseconds that it took.
pub(crate) async fn measure(
    State(storage): State<Storage>,
    Query(job): Query<Job>,
) -> Result<String, Problem> {
    let began = Instant::now();
    let mut tasks: FuturesUnordered<_> = (0..job.tasks)
        .map(|task| work(&storage, job, task))
        .collect();
    while let Some(done) = tasks.next().await {
        done.map_err(super::problem)?;
    }
    Ok(began.elapsed().as_micros().to_string())
}

async fn work(storage: &Storage, job: Job, task: u64) -> Result<(), StorageError> {
    let mut n = task;
    while n < job.operations {
        match job.what {
            What::Fill => put_all(storage, (0..BATCH_LEN).map(|i| key(n * BATCH_LEN + i))).await?,
            What::Get => {
                let entry = storage.get(key(scattered(n))).await?;
                assert_eq!(entry.map(|entry| entry.value.len()), Some(VALUE_BYTES));
            }
            What::Scan => {
                let prefix = format!("thread/{:04}/", n % THREADS);
                let page = storage.scan(Scan::prefix(prefix).limit(100)).await?;
                assert_eq!(page.entries.len(), 100);
            }
            What::Put => storage.put(key(scattered(n)), value()).await.map(drop)?,
            What::Commit => {
                let keys = (0..BATCH_LEN).map(|i| key(scattered(n * BATCH_LEN + i)));
                put_all(storage, keys).await?;
            }
        }
        n += job.tasks;
    }
    Ok(())
}

async fn put_all(
    storage: &Storage,
    keys: impl Iterator<Item = String>,
) -> Result<(), StorageError> {
    let batch = keys.fold(Batch::new(), |batch, key| batch.put(key, value()));
    storage.commit(batch).await.map(drop)
}

fn key(n: u64) -> String {
    format!("thread/{:04}/item/{n:010}", n % THREADS)
}

/// One of the keys that there are, far from the one before.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9) % ENTRIES
}

/// Never the same twice: a database writes nothing where nothing changes.
fn value() -> Bytes {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut value = vec![7; VALUE_BYTES];
    value[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    value.into()
}
