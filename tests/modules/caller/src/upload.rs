//! A body that tells how much of it was asked for.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;

use crate::Caller;

/// Of what the body is made.
const CHUNK: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// Bytes of the last upload that were asked for.
#[derive(Clone, Default)]
pub(crate) struct Produced(Arc<AtomicU64>);

#[derive(Deserialize)]
pub(crate) struct Upload {
    /// The other module's route.
    to: String,
    chunks: u64,
}

/// Sends a body as it is asked for.
pub(crate) async fn start(
    State(caller): State<Caller>,
    Query(Upload { to, chunks }): Query<Upload>,
) -> Response {
    let produced = caller.produced.0;
    produced.store(0, Ordering::SeqCst);
    let body = stream::iter((0..chunks).map(move |_| {
        produced.fetch_add(CHUNK.len() as u64, Ordering::SeqCst);
        Ok::<_, Infallible>(Bytes::from_static(&CHUNK))
    }));
    let mut request = Request::new(Body::from_stream(body));
    *request.method_mut() = axum::http::Method::POST;
    *request.uri_mut() = to.parse::<Uri>().unwrap_or_default();
    match caller.calls.call("callee", request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

pub(crate) async fn produced(State(caller): State<Caller>) -> String {
    caller.produced.0.load(Ordering::SeqCst).to_string()
}
