//! Polls that keep their worker: for a while, and for ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;

static RELEASED: AtomicBool = AtomicBool::new(false);

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/spin/{name}", get(spin))
        .route("/hold-worker/{name}", get(hold_worker))
        .route("/release-workers", get(release_workers))
        // Tells one worker from another.
        .route(
            "/thread",
            get(|| async { format!("{:?}", std::thread::current().id()) }),
        )
}

/// Ends with the process.
async fn spin(Path(name): Path<String>) {
    tracing::info!("spins as {name}");
    loop {
        std::hint::spin_loop();
    }
}

async fn hold_worker(Path(name): Path<String>) {
    tracing::info!("held as {name}");
    while !RELEASED.load(Ordering::SeqCst) {
        // The poll must not return: this is what it is about.
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn release_workers() {
    RELEASED.store(true, Ordering::SeqCst);
}
