//! Keeps notes in durable storage: `PUT`, `GET` and `DELETE /notes/{key}`, `GET /notes` for all keys, `POST /add/{key}` counts,
//! here and in a mirror. `/measure` does the job of the benchmark, and `/raw/…` passes on whatever it is sent to the store, as a
//! module with bad intentions would.

mod measure;
mod raw;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::{any, get, post};
use http::StatusCode;
use midplane_sdk::storage::{Batch, Scan, Storage, StorageError};
use midplane_sdk::{Context, Problem, Result};

#[midplane_sdk::module(name = "notes", grants = ["call:store"])]
async fn notes(mut ctx: Context) -> Result<Router> {
    ctx.body_limit("/raw/*", raw::BODY_LEN_MAX)?;
    let raw = Router::new()
        .route("/raw/{*path}", any(raw::pass_on))
        .route("/watches", get(raw::watches))
        .route("/uploads", get(raw::uploads))
        .layer(DefaultBodyLimit::disable())
        .with_state(ctx.calls());
    Ok(Router::new()
        .merge(raw)
        .route("/notes", get(list))
        .route("/notes/{key}", get(read).put(write).delete(forget))
        .route("/add/{key}", post(add))
        .route("/measure", post(measure::measure))
        .with_state(ctx.storage()))
}

type Answer<T> = std::result::Result<T, Problem>;

async fn write(
    State(storage): State<Storage>,
    Path(key): Path<String>,
    text: String,
) -> Answer<()> {
    storage.put(key, text).await.map(drop).map_err(problem)
}

async fn read(State(storage): State<Storage>, Path(key): Path<String>) -> Answer<String> {
    let entry = storage.get(key).await.map_err(problem)?;
    let entry = entry
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no_note", "there is no such note"))?;
    Ok(String::from_utf8_lossy(&entry.value).into_owned())
}

async fn forget(State(storage): State<Storage>, Path(key): Path<String>) -> Answer<()> {
    storage.delete(key).await.map(drop).map_err(problem)
}

async fn list(State(storage): State<Storage>) -> Answer<String> {
    let page = storage.scan(Scan::prefix("")).await.map_err(problem)?;
    let keys = page
        .entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.key));
    Ok(keys.collect::<Vec<_>>().join(" "))
}

/// One more, whoever else adds at the same time, in two places at once; the count.
async fn add(State(storage): State<Storage>, Path(key): Path<String>) -> Answer<String> {
    loop {
        let before = storage.get(&key).await.map_err(problem)?;
        let (batch, count) = match &before {
            None => (Batch::new().expect_absent(&key), 0),
            Some(entry) => (
                Batch::new().expect_version(&key, entry.version),
                String::from_utf8_lossy(&entry.value)
                    .parse()
                    .unwrap_or(0_u64),
            ),
        };
        let count = (count + 1).to_string();
        let mirror = format!("mirror-{key}");
        let batch = batch.put(&key, count.clone()).put(mirror, count.clone());
        match storage.commit(batch).await {
            Ok(_) => return Ok(count),
            Err(StorageError::Conflict { .. }) => {}
            Err(error) => return Err(problem(error)),
        }
    }
}

fn problem(error: StorageError) -> Problem {
    let status = match error {
        StorageError::Unavailable(_) | StorageError::Unreachable(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        StorageError::Quota(_) | StorageError::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, "storage", error.to_string())
}
