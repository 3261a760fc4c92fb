//! The module store: durable ordered keys for other modules, over calls between modules.
//!
//! `routes` speaks HTTP to modules, `wire` reads and writes what crosses, `problem` tells failures, `complaints` how often the
//! operator hears of them, `shares` keeps one module from taking all of it.
//! What keeps the keys is a [`Backend`](midplane_store_backend::Backend), and nothing here knows which one.

mod complaints;
mod config;
mod problem;
mod routes;
mod shares;
mod wire;

use std::sync::Arc;

use axum::Router;
use midplane_sdk::{Context, Result};
use midplane_store_backend::limits::VALUE_BYTES_MAX;
use midplane_store_backend::sqlite::Settings;
use midplane_store_backend::{Backend, Memory, Sqlite};

use crate::config::{Config, Place};

// One copy of SQLite in a process may have the file open.
#[midplane_sdk::module(name = "store", exclusive, internal = ["/*"])]
async fn store(mut ctx: Context<Config>) -> Result<Router> {
    let settings = ctx.config().check()?;
    // Whatever the operator lets clients send.
    ctx.body_limit("/commit", wire::COMMIT_BYTES_MAX as u64)?;
    ctx.body_limit("/kv/*", VALUE_BYTES_MAX as u64)?;
    let backend: Arc<dyn Backend> = match settings.place {
        Place::Memory => Arc::new(Memory::new(settings.quota_bytes)),
        Place::File(name) => {
            let settings = Settings {
                path: ctx.data_dir().join(name),
                quota_bytes: settings.quota_bytes,
                sync: settings.sync,
            };
            let file = Arc::new(Sqlite::open(&settings)?);
            let ended = Arc::clone(&file);
            ctx.on_shutdown(async move { ended.close() });
            file
        }
    };
    Ok(routes::router(backend, ctx.draining()))
}

#[cfg(test)]
mod tests;
