//! A module that misbehaves on request: each fault is a route, or a word of its configuration.
//!
//! It shows through the kernel only; what a fault must not do stands in `tests/rust/modules`.

mod answers;
mod holds;
mod metrics;
mod panics;
mod sessions;
mod streams;
mod witness;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use midplane_sdk::{Context, Error, Result, Session};
use serde::Deserialize;
use tower_service::Service;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Config {
    /// What the module's function does: `panic`, or `error`.
    init: String,
    /// What a session check does: `panic`, or `refuse`.
    on_session: String,
    /// `panic`, before a second step that behaves.
    on_drain: String,
    /// `panic`, before a second step that behaves.
    on_shutdown: String,
    /// Bytes allowed below `/large/`.
    large: Option<u64>,
    needs_secret: bool,
    /// Answered at `/marker`, to tell one configuration from another.
    marker: String,
}

#[midplane_sdk::module(
    name = "faults",
    grants = ["secrets"],
    public = ["/public", "/assets/*"]
)]
async fn faults(mut ctx: Context<Config>) -> Result<Outer> {
    match ctx.config().init.as_str() {
        "panic" => panic!("init panics on purpose"),
        "error" => return Err(Error::msg("set a better `init`")),
        _ => {}
    }
    if let Some(bytes) = ctx.config().large {
        ctx.body_limit("/large/*", bytes)?;
    }
    if ctx.config().needs_secret {
        ctx.needs_secret(true);
    }
    match ctx.config().on_session.clone().as_str() {
        "panic" => {
            ctx.on_session(|_session: Session| async { panic!("on_session panics on purpose") })
        }
        "refuse" => ctx.on_session(|session: Session| async move {
            Err(Error::msg(format!("{} is not welcome", session.user())))
        }),
        _ => {}
    }
    if ctx.config().on_drain == "panic" {
        ctx.on_drain(|| panic!("on_drain panics on purpose"));
    }
    ctx.on_drain(|| tracing::info!("the last step of on_drain ran"));
    if ctx.config().on_shutdown == "panic" {
        ctx.on_shutdown(async { panic!("on_shutdown panics on purpose") });
    }
    ctx.on_shutdown(async { tracing::info!("the last step of on_shutdown ran") });
    let marker = ctx.config().marker.clone();
    let router = Router::new()
        .route("/marker", axum::routing::get(move || async move { marker }))
        .merge(answers::routes())
        .merge(holds::routes())
        .merge(metrics::routes(ctx.metrics()))
        .merge(panics::routes())
        .merge(sessions::routes())
        .merge(streams::routes(&ctx))
        .merge(witness::routes());
    Ok(Outer(router))
}

/// The router, and one path below which the service itself fails, as a router cannot.
#[derive(Clone)]
struct Outer(Router);

impl Service<Request<Body>> for Outer {
    type Response = Response<Body>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), std::io::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, cx).map_err(|never| match never {})
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() == "/fail" {
            return Box::pin(async { Err(std::io::Error::other("the handler fails on purpose")) });
        }
        let answer = self.0.call(request);
        Box::pin(async move { answer.await.map_err(|never| match never {}) })
    }
}
