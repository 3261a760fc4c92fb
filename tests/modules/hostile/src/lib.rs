//! A module that tries what it must not: each route tries one thing and tells what came of it. Harmless where it is let: it
//! attacks by asking, and ends or changes nothing that is not the test's.
//!
//! What it must not reach stands in `tests/rust/modules/isolation/hostile.rs`. Misuse of the ABI is `tests/modules/raw`'s.

#![expect(unsafe_code, reason = "system calls that no module should make")]

mod descriptors;
mod files;
mod limits;
mod outcome;
mod processes;
mod sockets;

use axum::routing::get;
use axum::{Json, Router};
use midplane_sdk::{Context, Result, SecretError, Session};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Config {
    /// The kernel's socket.
    socket: String,
    /// What its configuration names, which it may read.
    pub(crate) named: String,
}

#[midplane_sdk::module(name = "hostile", grants = ["secrets"])]
async fn hostile(ctx: Context<Config>) -> Result<Router> {
    let socket = ctx.config().socket.clone();
    let named = ctx.config().named.clone();
    Ok(Router::new()
        .route("/secret", get(secret))
        .route("/named", get(async move || files::read(&named)))
        .route("/connect", get(async move || sockets::connect(&socket)))
        .merge(descriptors::routes())
        .merge(files::routes())
        .merge(limits::routes())
        .merge(processes::routes())
        .merge(sockets::routes()))
}

/// Whether it has one: the key itself is told to nobody.
async fn secret(session: Session) -> Json<Value> {
    Json(match session.secret().await {
        Ok(secret) => json!({"allowed": true, "found": secret.expose().len()}),
        Err(SecretError::Denied) => json!({"allowed": false, "why": "denied"}),
        Err(error) => json!({"allowed": false, "why": error.to_string()}),
    })
}
