//! Heads of all kinds, what the module saw of a request, and log lines.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::routing::{any, get};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::Instrument as _;

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/headers", get(headers))
        .route("/answer", any(answer))
        .route("/block/{ms}", get(block))
        .route("/log", get(log_lines))
        .route("/forge", get(forge))
        .route("/spawned-log", get(spawned_log))
}

async fn headers(headers: HeaderMap) -> Json<Map<String, Value>> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Json(
        headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value).into()))
            .collect(),
    )
}

/// What `/answer` is told to answer, as JSON in the header `x-answer`.
#[derive(Deserialize)]
#[serde(default)]
struct Wanted {
    status: u16,
    headers: Vec<(String, String)>,
    /// This many fields more.
    many: usize,
    body: String,
    /// In pieces, of which the kernel cannot know the sum.
    streamed: bool,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            status: 200,
            headers: Vec::new(),
            many: 0,
            body: String::new(),
            streamed: false,
        }
    }
}

async fn answer(headers: HeaderMap) -> Result<Response<Body>, (StatusCode, String)> {
    let bad = |error: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, error.to_string());
    let wanted = headers
        .get("x-answer")
        .map_or(b"{}".as_slice(), HeaderValue::as_bytes);
    let wanted: Wanted = serde_json::from_slice(wanted).map_err(|error| bad(&error))?;
    let body = if wanted.streamed {
        let pieces: Vec<_> = wanted
            .body
            .into_bytes()
            .chunks(4)
            .map(bytes::Bytes::copy_from_slice)
            .collect();
        Body::from_stream(futures_util::stream::iter(pieces).then(async |piece| {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            Ok::<_, std::convert::Infallible>(piece)
        }))
    } else {
        Body::from(wanted.body)
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(wanted.status).map_err(|error| bad(&error))?;
    for (name, value) in &wanted.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| bad(&error))?;
        let value = HeaderValue::from_str(value).map_err(|error| bad(&error))?;
        response.headers_mut().append(name, value);
    }
    for _ in 0..wanted.many {
        response
            .headers_mut()
            .append("x-many", HeaderValue::from_static("1"));
    }
    Ok(response)
}

async fn log_lines() {
    tracing::debug!("a line of debug");
    tracing::info!(answer = 42, "a line of info");
    log::warn!("a record of the log crate");
}

async fn forge() {
    tracing::info!("first\n2026-01-01T00:00:00.000Z ERROR kernel: forged");
}

async fn spawned_log() {
    let work = async { tracing::info!("a line of a spawned task") };
    // How it ends shows in the log.
    let _ = tokio::spawn(work.instrument(tracing::info_span!("background", step = 3))).await;
}

/// Holds up its worker.
async fn block(Path(ms): Path<u64>) -> &'static str {
    std::thread::sleep(Duration::from_millis(ms));
    "blocked"
}
