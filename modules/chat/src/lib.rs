//! The chat module: the ChatKit server protocol over OpenAI-compatible providers.
//!
//! `routes` speaks HTTP, `websocket` carries the same requests over one connection, `protocol` is the data, `conversation`
//! carries out requests, `turn` and `answer` stream one answer, `actions` lets another module speak, `provider` talks to models
//! through `upstream`, `store` keeps threads, `attachments` the files that go with messages, and `changes` tells other windows.
//! Beside ChatKit, `gateway` passes OpenAI's own API through, and `hosted` has the provider host ChatKit. Mounted at `/api/chat`
//! by the kernel, which has authenticated every request before.

mod actions;
mod answer;
mod attachments;
mod bounded_events;
mod changes;
mod config;
mod conversation;
mod credential;
mod drain;
mod gateway;
mod hosted;
mod key_check;
mod protocol;
mod provider;
mod routes;
mod store;
mod title;
mod transcript;
mod transcription;
mod turn;
mod upstream;
mod usage;
mod websocket;

use std::sync::Arc;

use axum::Router;
use midplane_sdk::{Context, Result};

use crate::changes::Feed;
use crate::config::{Choice, Config};
use crate::conversation::Conversations;
use crate::gateway::Gateway;
use crate::hosted::Hosted;
use crate::upstream::Upstream;
use crate::usage::Meter;

#[midplane_sdk::module(name = "chat", grants = ["secrets", "call:store", "call:*"])]
async fn chat(mut ctx: Context<Config>) -> Result<Router> {
    let settings = ctx.config().check()?;
    for name in ctx.config().secrets_in_clear() {
        tracing::warn!(
            name,
            "the configuration holds what seems to be a secret, for all who may read its file"
        );
    }
    ctx.needs_secret(settings.choice == Choice::OpenAi && settings.upstream.requires_key);
    if settings.choice != Choice::Echo {
        transcription::allow_recordings(&mut ctx);
    }
    let upstream = Upstream::new(settings.upstream.clone())?;
    let meter = Meter::new(&ctx.metrics());
    let gateway = Gateway::new(&settings, upstream.clone(), meter.clone(), ctx.draining());
    gateway.allow_bodies(&mut ctx);
    let hosted = Hosted::new(&settings, upstream.clone());
    if settings.validates_key {
        let upstream = upstream.clone();
        ctx.on_session(move |session| key_check::check(upstream.clone(), session));
    }
    let store = store::open(settings.store, &ctx).await?;
    let feed = Feed::new(Arc::clone(&store));
    let limits = settings.attachments.clone();
    let attachments = attachments::start(&mut ctx, limits, Arc::clone(&store))?;
    let usage = usage::router(Arc::clone(&store));
    let conversations = Conversations::new(
        settings,
        upstream,
        store,
        attachments.clone(),
        meter,
        ctx.draining(),
    );
    ctx.on_shutdown(conversations.saves().finish());
    Ok(routes::router(conversations)
        .merge(attachments::router(attachments))
        .merge(changes::router(feed, ctx.draining()))
        .merge(gateway::router(gateway))
        .merge(hosted::router(hosted))
        .merge(usage))
}

#[cfg(test)]
mod tests;
