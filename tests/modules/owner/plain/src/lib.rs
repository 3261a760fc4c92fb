//! The owner before it owned anything: it hands over what it counts, and looks at sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::routing::post;
use midplane_sdk::{Context, Result};

#[midplane_sdk::module(name = "owner", state = 1)]
async fn owner(mut ctx: Context) -> Result<Router> {
    let count = Arc::new(AtomicU64::new(ctx.restore().await?.unwrap_or_default()));
    ctx.on_save({
        let count = Arc::clone(&count);
        move || count.load(Ordering::SeqCst)
    });
    ctx.on_session(|_session| async { Ok(()) });
    let add = move || async move { (count.fetch_add(1, Ordering::SeqCst) + 1).to_string() };
    Ok(Router::new().route("/add", post(add)))
}
