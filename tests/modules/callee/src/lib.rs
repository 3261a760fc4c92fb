//! Answers other modules: well, slowly, not at all, or by dying.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::BodyExt as _;
use midplane_sdk::{Caller, Calls, Context, Result, Session};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// More than the default, so that windows are seen.
const BODY_LEN_MAX: u64 = 64 * 1024 * 1024;

#[derive(Clone)]
struct Callee {
    generation: u64,
    calls: Calls,
    counts: Arc<Counts>,
    gate: Arc<Notify>,
}

#[derive(Default)]
struct Counts {
    /// Requests that wait, and those of them that were cancelled.
    waiting: AtomicU64,
    cancelled: AtomicU64,
    /// Bytes of streams that were asked for.
    streamed: AtomicU64,
}

/// A request that waits; one that is dropped first was cancelled.
struct Waiting(Arc<Counts>);

impl Waiting {
    fn start(counts: &Arc<Counts>) -> Waiting {
        counts.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(Arc::clone(counts))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}

#[midplane_sdk::module(
    name = "callee",
    grants = ["secrets", "call:caller"],
    public = ["/open", "/in/who"],
    internal = ["/in/*", "/exactly"]
)]
async fn callee(mut ctx: Context) -> Result<Router> {
    ctx.body_limit("/in/*", BODY_LEN_MAX)?;
    let callee = Callee {
        generation: ctx.generation(),
        calls: ctx.calls(),
        counts: Arc::default(),
        gate: Arc::default(),
    };
    Ok(Router::new()
        .route("/open", get(async || "open"))
        .route("/outside", get(async || "outside"))
        .route(
            "/exactly",
            get(async |caller: Caller| caller.module().to_owned()),
        )
        .route("/who", get(who))
        .route("/in/who", any(who))
        .route("/in/echo", post(async |body: Body| body))
        .route("/in/count", post(count))
        .route("/in/ignore", post(async || "ignored"))
        .route("/in/hold", post(hold))
        .route("/in/stream", get(stream_bytes))
        .route("/in/events", get(events))
        .route("/in/never", get(never))
        .route("/in/cut", get(cut))
        .route("/in/panic", get(panics))
        .route("/in/abort", get(aborts))
        .route("/in/again", get(again))
        .route("/counts", get(counts))
        .route("/release", post(release))
        .with_state(callee))
}

/// What it is told of who asks.
async fn who(
    State(callee): State<Callee>,
    caller: Option<Caller>,
    session: Option<Session>,
    request: Request,
) -> Json<Value> {
    let secret = match &session {
        Some(session) => session.secret().await.ok(),
        None => None,
    };
    let caller = caller.map(|caller| {
        json!({
            "module": caller.module(),
            "generation": caller.generation(),
            "user": caller.session().map(Session::user),
        })
    });
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Json(json!({
        "generation": callee.generation,
        "caller": caller,
        "session": session.as_ref().map(|session| json!({"user": session.user(), "scope": session.scope()})),
        "secret": secret.map(|secret| secret.expose().to_owned()),
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "x": header("x"),
        "authorization": header("authorization"),
    }))
}

async fn count(body: Body) -> Response {
    let mut stream = body.into_data_stream();
    let mut len = 0;
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(bytes) => len += bytes.len(),
            Err(error) => return format!("{len}, then {error}").into_response(),
        }
    }
    len.to_string().into_response()
}

/// Reads nothing until it is released, and then all.
async fn hold(State(callee): State<Callee>, body: Body) -> Response {
    let waiting = Waiting::start(&callee.counts);
    callee.gate.notified().await;
    std::mem::forget(waiting);
    match body.collect().await {
        Ok(whole) => whole.to_bytes().len().to_string().into_response(),
        Err(error) => error.to_string().into_response(),
    }
}

#[derive(Deserialize)]
struct Pieces {
    n: u64,
}

/// So many pieces of 16 KiB, each made when it is asked for.
async fn stream_bytes(State(callee): State<Callee>, Query(Pieces { n }): Query<Pieces>) -> Body {
    const PIECE: [u8; 16 * 1024] = [b'y'; 16 * 1024];
    let counts = callee.counts;
    Body::from_stream(stream::iter((0..n).map(move |_| {
        counts
            .streamed
            .fetch_add(PIECE.len() as u64, Ordering::SeqCst);
        Ok::<_, Infallible>(Bytes::from_static(&PIECE))
    })))
}

/// One event, and then none until it is released.
async fn events(State(callee): State<Callee>) -> impl IntoResponse {
    let waiting = Waiting::start(&callee.counts);
    let first = stream::iter(["data: first\n\n"]);
    let rest = stream::once(async move {
        callee.gate.notified().await;
        std::mem::forget(waiting);
        "data: last\n\n"
    });
    let events = first.chain(rest).map(Ok::<_, Infallible>);
    let body = Body::from_stream(events);
    ([(CONTENT_TYPE, "text/event-stream")], body)
}

async fn never(State(callee): State<Callee>) -> &'static str {
    let _waiting = Waiting::start(&callee.counts);
    std::future::pending().await
}

/// A body that fails in the middle, once it is released.
async fn cut(State(callee): State<Callee>) -> Body {
    let first = stream::iter([Ok(Bytes::from("one"))]);
    let failure = stream::once(async move {
        callee.gate.notified().await;
        Err(std::io::Error::other("spoilt"))
    });
    Body::from_stream(first.chain(failure))
}

async fn panics() -> &'static str {
    panic!("on purpose")
}

async fn aborts() -> &'static str {
    std::process::abort()
}

/// Calls the caller, which calls this one, and so on.
async fn again(State(callee): State<Callee>) -> Response {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = axum::http::Uri::from_static("/in/again");
    match callee.calls.call("caller", request).await {
        Ok(response) => response.into_response(),
        Err(error) => format!("callee: {error}").into_response(),
    }
}

async fn counts(State(callee): State<Callee>) -> Json<Value> {
    let count = |of: &AtomicU64| of.load(Ordering::SeqCst);
    Json(json!({
        "waiting": count(&callee.counts.waiting),
        "cancelled": count(&callee.counts.cancelled),
        "streamed": count(&callee.counts.streamed),
    }))
}

async fn release(State(callee): State<Callee>) -> &'static str {
    callee.gate.notify_waiters();
    "released"
}
