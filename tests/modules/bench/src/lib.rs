//! What scripts/bench and the socket tests drive: a private and a public hello, an echo and a stream.
//!
//! Written the way an author would write it, without a thought for speed: what is measured is what authors get. Keep it
//! in step with the servers under tests/bench/peers, which do the same job.

use std::convert::Infallible;
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use axum::extract::Query;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use midplane_sdk::{Context, Result, Session};
use serde::Deserialize;

/// A client could ask for a stream without end.
const EVENTS_MAX: u32 = 1_000_000;

#[midplane_sdk::module(name = "bench", public = ["/public/*"])]
async fn bench(_ctx: Context) -> Result<Router> {
    Ok(Router::new()
        .route("/hello", get(hello))
        .route("/public/hello", get(async || "hello bench"))
        .route("/echo", post(echo))
        .route("/stream", get(stream)))
}

async fn hello(session: Session) -> String {
    format!("hello {}", session.user())
}

async fn echo(body: Body) -> Body {
    body
}

#[derive(Deserialize)]
struct StreamQuery {
    n: u32,
    /// All events are there at once, instead of one after the other as from a provider.
    #[serde(default)]
    burst: bool,
}

async fn stream(Query(StreamQuery { n, burst }): Query<StreamQuery>) -> impl IntoResponse {
    let events = events(n.min(EVENTS_MAX), burst);
    (
        [(CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(events),
    )
}

/// Pending before each event but the first, unless in a burst: so each is a frame and a write of its own.
fn events(n: u32, burst: bool) -> impl Stream<Item = std::result::Result<Bytes, Infallible>> {
    let mut sent = 0;
    let mut ready = true;
    stream::poll_fn(move |cx| {
        if sent == n {
            return Poll::Ready(None);
        }
        if !ready {
            ready = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready = burst;
        let event = format!("data: {{\"delta\":\"token-{sent}\"}}\n\n");
        sent += 1;
        Poll::Ready(Some(Ok(Bytes::from(event))))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{Request, StatusCode};
    use futures_util::StreamExt as _;
    use midplane_sdk::testing::{self, SessionBuilder};

    use super::*;

    async fn check(
        session: Option<SessionBuilder>,
        request: Request<Body>,
        expect: (StatusCode, &str),
    ) {
        let module = testing::start(bench, serde_json::json!({})).await.unwrap();
        let target = request.uri().clone();
        let response = module.call(session, request).await;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        assert_eq!((status, str::from_utf8(&body).unwrap()), expect, "{target}");
    }

    fn get(target: &str) -> Request<Body> {
        Request::get(target).body(Body::empty()).unwrap()
    }

    fn ada() -> Option<SessionBuilder> {
        Some(testing::session("ada"))
    }

    #[tokio::test]
    async fn hello_names_the_user() {
        check(ada(), get("/hello"), (StatusCode::OK, "hello ada")).await;
        check(None, get("/public/hello"), (StatusCode::OK, "hello bench")).await;
    }

    #[tokio::test]
    async fn echo_gives_back_what_it_got() {
        for text in ["", "one", &"long ".repeat(40_000)] {
            let request = Request::post("/echo")
                .body(Body::from(text.to_owned()))
                .unwrap();
            check(ada(), request, (StatusCode::OK, text)).await;
        }
    }

    #[tokio::test]
    async fn a_stream_has_the_events_asked_for() {
        let two = "data: {\"delta\":\"token-0\"}\n\ndata: {\"delta\":\"token-1\"}\n\n";
        check(ada(), get("/stream?n=2"), (StatusCode::OK, two)).await;
        check(ada(), get("/stream?n=2&burst=true"), (StatusCode::OK, two)).await;
        check(ada(), get("/stream?n=0"), (StatusCode::OK, "")).await;
    }

    #[tokio::test]
    async fn every_event_is_a_frame() {
        for burst in [false, true] {
            let frames: Vec<_> = events(2, burst).map(|frame| frame.unwrap()).collect().await;
            let expect = [0, 1].map(|i| format!("data: {{\"delta\":\"token-{i}\"}}\n\n"));
            assert_eq!(frames, expect, "burst {burst}");
        }
    }
}
