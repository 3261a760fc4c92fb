//! The chat module: the ChatKit server protocol over OpenAI-compatible providers.
//!
//! `routes` speaks HTTP, `protocol` is the data, `conversation` carries out requests, `turn` and `answer` stream one
//! answer, `changes` tells other windows, `provider` talks to models through `upstream`, `store` keeps threads, and
//! `attachments` the files that go with messages. Mounted at `/api/chat` by the kernel, which has authenticated every request before.

mod answer;
mod attachments;
mod changes;
mod config;
mod conversation;
mod credential;
mod protocol;
mod provider;
mod routes;
mod store;
mod title;
mod transcript;
mod transcription;
mod turn;
mod upstream;

use std::sync::Arc;

use axum::Router;
use midplane_sdk::{Context, Result};

use crate::changes::Feed;
use crate::config::{Choice, Config};
use crate::conversation::Conversations;
use crate::upstream::Upstream;

#[midplane_sdk::module(name = "chat", grants = ["secrets", "call:store"])]
async fn chat(mut ctx: Context<Config>) -> Result<Router> {
    let settings = ctx.config().check()?;
    ctx.needs_secret(settings.choice == Choice::OpenAi && settings.upstream.requires_key);
    if settings.choice != Choice::Echo {
        transcription::allow_recordings(&mut ctx);
    }
    let upstream = Upstream::new(settings.upstream.clone());
    let store = store::open(settings.store, &ctx).await?;
    let feed = Feed::new(Arc::clone(&store));
    let limits = settings.attachments.clone();
    let attachments = attachments::start(&mut ctx, limits, Arc::clone(&store))?;
    let conversations = Conversations::new(
        settings,
        upstream,
        store,
        attachments.clone(),
        ctx.draining(),
    );
    ctx.on_shutdown(conversations.saves().finish());
    Ok(routes::router(conversations)
        .merge(attachments::router(attachments))
        .merge(changes::router(feed, ctx.draining())))
}

#[cfg(test)]
mod tests;
