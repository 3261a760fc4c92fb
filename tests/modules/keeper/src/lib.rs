//! A counter that is only in memory, and is handed over: the module `keeper` in several versions, which differ in the schemas
//! they read and write. Its steps fail as its configuration says.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use midplane_sdk::{Context, Error, Result};
use serde::{Deserialize, Serialize};

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Config {
    save: Fault,
    restore: Fault,
    probe: Fault,
    /// What an error says.
    reason: String,
    /// Bytes that the state has besides.
    ballast: usize,
}

/// What a step does instead of its work.
#[derive(Deserialize, Default, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Fault {
    #[default]
    None,
    Error,
    Panic,
    Hang,
    /// Its work, but slowly: for a tenth of a second.
    Slow,
}

/// The state, in every schema so far: schema 2 added `label`.
#[derive(Serialize, Deserialize, Default)]
struct Count {
    count: u64,
    #[serde(default)]
    label: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    ballast: String,
}

impl Fault {
    fn happen(self, reason: &str) -> Result<()> {
        match self {
            Fault::None => {}
            Fault::Error => return Err(Error::msg(reason)),
            Fault::Panic => panic!("{reason}"),
            Fault::Hang => std::thread::sleep(Duration::from_secs(3600)),
            Fault::Slow => std::thread::sleep(Duration::from_millis(100)),
        }
        Ok(())
    }
}

/// The version that reads and writes no state.
pub async fn forgetful(_ctx: Context<Config>) -> Result<Router> {
    Ok(routes(&Arc::default(), 0))
}

/// The version `version`.
pub async fn keeper(mut ctx: Context<Config>, version: u32) -> Result<Router> {
    let count: Arc<Mutex<Count>> = Arc::default();
    let (save, restore, probe) = (ctx.config().save, ctx.config().restore, ctx.config().probe);
    let (reason, ballast) = (ctx.config().reason.clone(), ctx.config().ballast);
    ctx.on_probe({
        let reason = reason.clone();
        async move { probe.happen(&reason) }
    });
    if let Some(saved) = ctx.restore::<Count>().await? {
        *lock(&count) = saved;
    }
    restore.happen(&reason)?;
    ctx.on_save({
        let count = Arc::clone(&count);
        move || {
            // `on_save` has no error of its own: what cannot be saved is a panic.
            save.happen(&reason)
                .expect("what the configuration asks for");
            let count = lock(&count);
            Count {
                count: count.count,
                label: count.label.clone(),
                ballast: ".".repeat(ballast),
            }
        }
    });
    Ok(routes(&count, version))
}

fn routes(count: &Arc<Mutex<Count>>, version: u32) -> Router {
    let (read, add, slow, drip) = (
        Arc::clone(count),
        Arc::clone(count),
        Arc::clone(count),
        Arc::clone(count),
    );
    Router::new()
        .route("/version", get(async move || version.to_string()))
        .route("/count", get(async move || lock(&read).count.to_string()))
        .route("/add", post(async move || increment(&add).to_string()))
        .route(
            "/panic",
            get(async || panic!("the handler panics on purpose") as &str),
        )
        // Counts late, and only then answers.
        .route(
            "/add-late/{ms}",
            post(async move |Path(ms): Path<u64>| {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                increment(&slow).to_string()
            }),
        )
        // Answers at once, and goes on for `ms`.
        .route(
            "/stream/{ms}",
            get(async move |Path(ms): Path<u64>| {
                let label = lock(&drip).label.clone();
                let pieces = stream::unfold(0, move |step| {
                    let label = label.clone();
                    async move {
                        if step > 0 {
                            tokio::time::sleep(Duration::from_millis(ms)).await;
                        }
                        let piece = Ok::<_, Infallible>(Bytes::from(format!("{label}{step}\n")));
                        (step < 2).then_some((piece, step + 1))
                    }
                });
                Body::from_stream(pieces)
            }),
        )
}

fn increment(count: &Mutex<Count>) -> u64 {
    let mut count = lock(count);
    count.count += 1;
    count.count
}

fn lock(count: &Mutex<Count>) -> MutexGuard<'_, Count> {
    count.lock().expect("no code panics under this lock")
}
