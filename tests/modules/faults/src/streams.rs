//! Bodies in and out: fast, slow, endless, unread, and those that end when the generation drains.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use midplane_sdk::{Context, Draining};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::Config;
use crate::witness::{Witness, count};

pub(crate) fn routes(ctx: &Context<Config>) -> Router {
    let draining = ctx.draining();
    let label = format!("{}#{}", ctx.name(), ctx.generation());
    Router::new()
        .route("/echo", post(|body: Body| async { body }))
        .route("/large/echo", post(|body: Body| async { body }))
        .route("/count", post(sum))
        .route("/large/count", post(sum))
        .route("/large/spawned-count", post(spawned_sum))
        .route("/large/ignore", post(ignore))
        .route("/large/wait-then-count", post(wait_then_sum))
        .route("/wait", get(wait))
        .route("/yield", get(yield_for_ever))
        .route("/firehose", get(firehose))
        .route("/frames", get(frames))
        .route("/events", get(|| async { events("data: one\n\n") }))
        .route("/half-event", get(|| async { events("data: one") }))
        .route("/fast-events", get(fast_events))
        .route("/lines", get(|| async { Body::from_stream(open("one\n")) }))
        .route(
            "/until-drained",
            get(move || until_drained(draining.clone())),
        )
        .route(
            "/count-to/{steps}/{ms}",
            get(move |Path(pace): Path<Pace>| count_to(label, pace)),
        )
        .route("/timer", get(timer))
        .route("/socket", get(socket))
}

#[derive(Deserialize)]
struct Pace {
    steps: u64,
    /// From one to the next.
    ms: u64,
}

/// A line of the generation's own for each step.
async fn count_to(label: String, Pace { steps, ms }: Pace) -> Body {
    let lines = stream::unfold(0, move |step| {
        let line = format!("{label} {step}\n");
        async move {
            if step == steps {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Some((Ok::<_, std::convert::Infallible>(line), step + 1))
        }
    });
    Body::from_stream(lines)
}

async fn sum(body: Body) -> Result<String, (StatusCode, String)> {
    let mut pieces = body.into_data_stream();
    let mut len = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            count("broken body");
            (StatusCode::BAD_REQUEST, error.to_string())
        })?;
        len += piece.len();
    }
    Ok(len.to_string())
}

async fn spawned_sum(body: Body) -> Result<String, (StatusCode, String)> {
    // By then the kernel has polled the handler and is not about to poll it again.
    let task = tokio::spawn(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        sum(body).await
    });
    task.await
        .unwrap_or_else(|error| Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())))
}

async fn ignore(body: Body) {
    let _witness = Witness::new("ignored upload");
    let _body = body;
    std::future::pending().await
}

async fn wait_then_sum(body: Body) -> Result<String, (StatusCode, String)> {
    tokio::time::sleep(Duration::from_millis(300)).await;
    sum(body).await
}

async fn wait() {
    let _witness = Witness::new("waiting");
    count("began to wait");
    std::future::pending().await
}

/// Always ready to go on, and never done.
async fn yield_for_ever() {
    let _witness = Witness::new("yielding");
    count("began to yield");
    loop {
        let mut yielded = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return std::task::Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    }
}

fn endless(
    piece: Bytes,
    witness: Witness,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    stream::repeat(piece).map(move |piece| {
        let _held = &witness;
        Ok(piece)
    })
}

/// As many bytes as anyone takes.
async fn firehose() -> Body {
    Body::from_stream(endless(
        Bytes::from_static(&[b'x'; 16 * 1024]),
        Witness::new("firehose"),
    ))
}

#[derive(Deserialize)]
struct Frames {
    frames: usize,
}

/// Many small pieces, all ready at once.
async fn frames(Query(Frames { frames }): Query<Frames>) -> Body {
    Body::from_stream(
        stream::repeat_with(|| Ok::<_, std::convert::Infallible>(Bytes::from_static(b"y")))
            .take(frames),
    )
}

/// A first piece, and then nothing for ever.
fn open(first: &'static str) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    let witness = Witness::new("open stream");
    stream::iter([Ok(Bytes::from_static(first.as_bytes()))])
        .chain(stream::pending())
        .map(move |piece| {
            let _held = &witness;
            piece
        })
}

fn events(first: &'static str) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(open(first)),
    )
}

async fn fast_events() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(endless(
            Bytes::from_static(b"data: fast\n\n"),
            Witness::new("fast events"),
        )),
    )
}

/// Ends in good order, in words of its own.
async fn until_drained(draining: Draining) -> impl IntoResponse {
    let first = stream::iter([Ok(Bytes::from_static(b"data: one\n\n"))]);
    let last = stream::once(async move {
        draining.wait().await;
        Ok::<_, std::convert::Infallible>(Bytes::from_static(b"data: goodbye\n\n"))
    });
    (
        [(CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(first.chain(last)),
    )
}

async fn timer() -> &'static str {
    tokio::time::sleep(Duration::from_millis(5)).await;
    let first = tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
    if first.is_err() { "in time" } else { "never" }
}

/// A socket, a spawned task and both ends of a conversation.
async fn socket() -> Result<String, (StatusCode, String)> {
    let talk = async {
        let (mut near, mut far) = tokio::net::UnixStream::pair()?;
        let task = tokio::spawn(async move {
            let mut heard = [0; 4];
            far.read_exact(&mut heard).await?;
            far.write_all(&heard).await
        });
        near.write_all(b"ping").await?;
        let mut heard = String::new();
        near.read_to_string(&mut heard).await?;
        task.await??;
        Ok::<_, std::io::Error>(heard)
    };
    talk.await
        .map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))
}
