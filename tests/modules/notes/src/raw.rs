//! What a module could send to the store without the SDK, and as much of it at once as it may.

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, FuturesUnordered, StreamExt as _};
use http::StatusCode;
use midplane_sdk::{Calls, Problem};
use serde::Deserialize;

/// More than the store takes.
pub(crate) const BODY_LEN_MAX: u64 = 64 << 20;

/// The same request, to the store: `/raw/kv/aw` is its `/kv/aw`.
pub(crate) async fn pass_on(
    State(calls): State<Calls>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map(ToString::to_string);
    let target = target.unwrap_or_default();
    parts.uri = target
        .trim_start_matches("/raw")
        .parse()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "no_path", "this is no path"))?;
    parts.headers.remove(http::header::AUTHORIZATION);
    // Whole, so that the client has sent all of it before it is refused.
    let body = axum::body::to_bytes(body, usize::MAX).await;
    let body =
        body.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "no_body", error.to_string()))?;
    send(&calls, Request::from_parts(parts, body.into())).await
}

#[derive(Deserialize)]
pub(crate) struct Many {
    n: usize,
    seen: u64,
}

/// Watches, which nothing answers before the next commit: what the first refusal says.
pub(crate) async fn watches(
    State(calls): State<Calls>,
    Query(Many { n, seen }): Query<Many>,
) -> Result<String, Problem> {
    let watch = |_| {
        let mut request = Request::new(Body::empty());
        let path = format!("/changes?seen={seen}");
        *request.uri_mut() = path.parse().expect("digits make a path");
        send(&calls, request)
    };
    refused(stream::iter(0..n).map(watch).collect().await).await
}

/// Bodies that begin and do not go on: what the first refusal says.
pub(crate) async fn uploads(
    State(calls): State<Calls>,
    Query(Many { n, .. }): Query<Many>,
) -> Result<String, Problem> {
    let upload = |_| {
        let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"\x01"))]);
        let mut request = Request::new(Body::from_stream(first.chain(stream::pending())));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = http::Uri::from_static("/commit");
        send(&calls, request)
    };
    refused(stream::iter(0..n).map(upload).collect().await).await
}

/// Keeps all of them under way, and answers with the first that ends.
async fn refused(
    mut under_way: FuturesUnordered<impl Future<Output = Result<Response, Problem>>>,
) -> Result<String, Problem> {
    let first = under_way.next().await;
    let response = first.expect("there is one")?;
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 64 << 10).await;
    let body = body.unwrap_or_default();
    // The others end with this request.
    Ok(format!("{status} {}", String::from_utf8_lossy(&body)))
}

async fn send(calls: &Calls, request: Request) -> Result<Response, Problem> {
    match calls.call("store", request).await {
        Ok(response) => Ok(response.into_response()),
        Err(error) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_call",
            error.to_string(),
        )),
    }
}
