//! The module store: durable ordered keys for other modules, over calls between modules.
//!
//! `routes` speaks HTTP to modules, `wire` reads and writes what crosses, `problem` tells failures, `complaints` how often the
//! operator hears of them, `shares` keeps one module from taking all of it, `handover` passes the file from one generation to the
//! next.
//! What keeps the keys is a [`Backend`](midplane_store_backend::Backend), and nothing here knows which one.

mod complaints;
mod config;
mod handover;
mod problem;
mod routes;
mod shares;
mod wire;

use std::sync::Arc;

use axum::Router;
use midplane_sdk::{Context, Result};
use midplane_store_backend::limits::VALUE_BYTES_MAX;
use midplane_store_backend::sqlite::Settings;
use midplane_store_backend::{Backend, Memory};

use crate::config::{Config, Place};
use crate::handover::{File, Passing};

// Nothing is in the state but that the file is closed.
#[midplane_sdk::module(name = "store", state = 1, internal = ["/*"])]
async fn store(mut ctx: Context<Config>) -> Result<Router> {
    let settings = ctx.config().check()?;
    // Whatever the operator lets clients send.
    ctx.body_limit("/commit", wire::COMMIT_BYTES_MAX as u64)?;
    ctx.body_limit("/kv/*", VALUE_BYTES_MAX as u64)?;
    let backend: Arc<dyn Backend> = match settings.place {
        Place::Memory => Arc::new(Memory::new(settings.quota_bytes)),
        Place::File(name) => {
            // The generation before has the file until it has handed over.
            let _: Option<()> = ctx.restore().await?;
            let settings = Settings {
                path: ctx.data_dir().join(name),
                quota_bytes: settings.quota_bytes,
                sync: settings.sync,
            };
            let file = Arc::new(File::open(settings, ctx.draining())?);
            let (saved, ended) = (Arc::clone(&file), Arc::clone(&file));
            ctx.on_save(move || saved.hand_over());
            ctx.on_shutdown(async move { ended.close() });
            Arc::new(Passing(file))
        }
    };
    Ok(routes::router(backend, ctx.draining()))
}

#[cfg(test)]
mod tests;
