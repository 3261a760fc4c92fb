//! The module store: durable ordered keys for other modules, over calls between modules.
//!
//! `routes` speaks HTTP, `wire` reads and writes what crosses, `caller` says whose keys they are, `problem` tells failures.
//! What keeps the keys is a [`Backend`](midplane_store_backend::Backend), and nothing here knows which one.

mod caller;
mod config;
mod problem;
mod routes;
mod wire;

use std::sync::Arc;

use axum::Router;
use midplane_sdk::{Context, Result};
use midplane_store_backend::sqlite::Settings;
use midplane_store_backend::{Backend, Memory, Sqlite};

use crate::config::{Config, Place};

#[midplane_sdk::module(name = "store")]
async fn store(mut ctx: Context<Config>) -> Result<Router> {
    let settings = ctx.config().check()?;
    // What a batch of the largest size is when written down.
    ctx.body_limit("/commit", wire::COMMIT_BYTES_MAX)?;
    let backend: Arc<dyn Backend> = match settings.place {
        Place::Memory => Arc::new(Memory::new(settings.quota_bytes)),
        Place::File(name) => {
            let file = Arc::new(Sqlite::open(&Settings {
                path: ctx.data_dir().join(name),
                quota_bytes: settings.quota_bytes,
                sync: settings.sync,
            })?);
            let closing = Arc::clone(&file);
            // Behind the last request: the next generation opens the file when this one has closed it.
            ctx.on_shutdown(async move { closing.close() });
            file
        }
    };
    Ok(routes::router(backend, ctx.draining()))
}

#[cfg(test)]
mod tests;
