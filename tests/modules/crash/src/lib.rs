//! A module that ends its process in every way there is, or hangs in it: by a route, or by a word of its configuration.
//!
//! In the kernel's process it would take the kernel with it. What must then happen stands in `tests/rust/modules/isolation`.

mod at_end;
mod fault;

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use midplane_sdk::{Context, Result};
use serde::Deserialize;

use crate::fault::Fault;

/// Between two events, so that each leaves by itself.
const EVENT_PAUSE: Duration = Duration::from_millis(20);

#[derive(Deserialize, Default)]
#[serde(default)]
struct Config {
    /// Answered at `/marker`, to tell one configuration from another.
    marker: String,
    /// Committed in the module's function.
    init: Option<Fault>,
    /// Committed there once `/note` was written.
    init_when_noted: Option<Fault>,
    on_drain: Option<Fault>,
    on_save: Option<Fault>,
    on_shutdown: Option<Fault>,
    /// Committed by a destructor of the library.
    at_end: Option<Fault>,
}

#[midplane_sdk::module(name = "crash", state = 1)]
async fn crash(mut ctx: Context<Config>) -> Result<Router> {
    let note = ctx.data_dir().join("note");
    let Config {
        ref marker,
        init,
        init_when_noted,
        on_drain,
        on_save,
        on_shutdown,
        at_end,
    } = *ctx.config();
    let marker = marker.clone();
    commit(init);
    if note.exists() {
        commit(init_when_noted);
    }
    at_end::set(at_end);
    let count = Arc::new(AtomicU64::new(ctx.restore().await?.unwrap_or_default()));
    ctx.on_drain(move || commit(on_drain));
    ctx.on_shutdown(async move { commit(on_shutdown) });
    ctx.on_save({
        let count = Arc::clone(&count);
        move || {
            commit(on_save);
            count.load(Ordering::SeqCst)
        }
    });
    Ok(Router::new()
        .route("/marker", get(move || async move { marker }))
        .route("/pid", get(async || std::process::id().to_string()))
        .route("/now/{fault}", get(now))
        .route("/task/{fault}", get(in_task))
        .route("/thread/{fault}", get(in_thread))
        .route("/stream/{fault}", get(in_stream))
        .route("/wait", get(std::future::pending::<()>))
        .route("/events", get(async || events(None)))
        .route("/lines", get(lines))
        .merge(memory(count))
        .merge(files(ctx.data_dir().to_owned(), note)))
}

fn commit(fault: Option<Fault>) {
    if let Some(fault) = fault {
        fault.commit();
    }
}

async fn now(Path(fault): Path<Fault>) -> &'static str {
    fault.commit();
    "nothing came of it"
}

async fn in_task(Path(fault): Path<Fault>) {
    tokio::spawn(async move { fault.commit() });
    std::future::pending().await
}

async fn in_thread(Path(fault): Path<Fault>) {
    std::thread::spawn(move || fault.commit());
    std::future::pending().await
}

async fn in_stream(Path(fault): Path<Fault>) -> ([(&'static str, &'static str); 1], Body) {
    events(Some(fault))
}

/// Three events, and then the fault, or no end.
fn events(fault: Option<Fault>) -> ([(&'static str, &'static str); 1], Body) {
    let body = stream::unfold(1_u32, move |number| async move {
        tokio::time::sleep(EVENT_PAUSE).await;
        if number > 3 {
            commit(fault);
            std::future::pending::<()>().await;
        }
        let event = Bytes::from(format!("data: {number}\n\n"));
        Some((Ok::<_, Infallible>(event), number + 1))
    });
    (
        [("content-type", "text/event-stream")],
        Body::from_stream(body),
    )
}

/// One line, and no end: no events, so that no end can be written into it.
async fn lines() -> Body {
    Body::from_stream(stream::unfold(true, async |first| {
        if !first {
            std::future::pending::<()>().await;
        }
        Some((Ok::<_, Infallible>(Bytes::from_static(b"a line\n")), false))
    }))
}

/// What is only in memory.
fn memory(count: Arc<AtomicU64>) -> Router {
    let read = Arc::clone(&count);
    Router::new()
        .route(
            "/count",
            get(async move || read.load(Ordering::SeqCst).to_string()),
        )
        .route(
            "/add",
            post(async move || (count.fetch_add(1, Ordering::SeqCst) + 1).to_string()),
        )
}

/// What is in the module's own directory.
fn files(dir: PathBuf, note: PathBuf) -> Router {
    let told = |error: std::io::Error| error.to_string();
    let read = note.clone();
    Router::new()
        .route("/data-dir", get(async move || dir.display().to_string()))
        .route(
            "/note",
            get(async move || fs::read_to_string(&read).map_err(told))
                .put(async move |text: String| fs::write(&note, text).map_err(told)),
        )
}
