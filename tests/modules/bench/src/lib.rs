//! What scripts/bench and the socket tests drive: a private and a public hello, the same by a call between modules, an echo and
//! a stream.
//!
//! Written the way an author would write it, without a thought for speed: what is measured is what authors get. Keep it
//! in step with the servers under tests/bench/peers, which do the same job.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request};
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use midplane_sdk::{CallError, Context, Result, Session};
use serde::Deserialize;
use tokio::sync::mpsc;

/// A client could ask for a stream without end.
const EVENTS_MAX: u32 = 1_000_000;
/// What a slow client makes wait.
const CHANNEL_LEN: usize = 16;

#[midplane_sdk::module(
    name = "bench",
    grants = ["call:bench"],
    public = ["/public/*"],
    internal = ["/inside/*"]
)]
async fn bench(_ctx: Context) -> Result<Router> {
    Ok(Router::new()
        .route("/hello", get(hello))
        .route("/call", get(call))
        .route("/inside/hello", get(hello))
        .route("/public/hello", get(async || "hello bench"))
        .route("/echo", post(echo))
        .route("/stream", get(stream)))
}

async fn hello(session: Session) -> String {
    format!("hello {}", session.user())
}

/// The same by a call between modules, to this one itself.
async fn call(session: Session) -> std::result::Result<Body, CallError> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static("/inside/hello");
    Ok(session.call("bench", request).await?.into_body())
}

async fn echo(body: Body) -> Body {
    body
}

#[derive(Deserialize)]
struct StreamQuery {
    n: u32,
    #[serde(default)]
    from: Source,
}

/// Where a stream's events come from.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    /// The handler, which lets others have their turn before each next one.
    #[default]
    Turns,
    /// The handler, with all of them ready at once.
    Burst,
    /// A task of the module's own, one by one, as a provider's answer comes.
    Task,
}

async fn stream(Query(StreamQuery { n, from }): Query<StreamQuery>) -> impl IntoResponse {
    let body = Body::from_stream(events(n.min(EVENTS_MAX), from));
    ([(CONTENT_TYPE, "text/event-stream")], body)
}

fn events(n: u32, from: Source) -> BoxStream<'static, std::result::Result<Bytes, Infallible>> {
    match from {
        Source::Burst => stream::iter((0..n).map(event).map(Ok)).boxed(),
        Source::Turns => stream::iter(0..n)
            .then(async |i| {
                if i > 0 {
                    tokio::task::yield_now().await;
                }
                Ok(event(i))
            })
            .boxed(),
        Source::Task => {
            let (sender, mut receiver) = mpsc::channel(CHANNEL_LEN);
            tokio::spawn(async move {
                for i in 0..n {
                    // The client has left.
                    if sender.send(Ok(event(i))).await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            });
            stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed()
        }
    }
}

fn event(i: u32) -> Bytes {
    format!("data: {{\"delta\":\"token-{i}\"}}\n\n").into()
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
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
    async fn a_call_passes_the_answer_on() {
        let module =
            testing::prepare(bench, serde_json::json!({})).answer_calls(async |module, request| {
                let target = request.uri().path().to_owned();
                http_response(format!("{module} {target}"))
            });
        let module = module.start().await.unwrap();
        let response = module.call(ada(), get("/call")).await;
        let body = axum::body::to_bytes(response.into_body(), usize::MAX);
        assert_eq!(body.await.unwrap(), "bench /inside/hello");
        let hello = module.call_from("bench", ada(), get("/inside/hello")).await;
        assert_eq!(hello.status(), StatusCode::OK);
    }

    fn http_response(text: String) -> axum::http::Response<Body> {
        axum::http::Response::new(Body::from(text))
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
        check(ada(), get("/stream?n=2&from=burst"), (StatusCode::OK, two)).await;
        check(ada(), get("/stream?n=2&from=task"), (StatusCode::OK, two)).await;
        check(ada(), get("/stream?n=0"), (StatusCode::OK, "")).await;
    }

    #[tokio::test]
    async fn every_event_is_a_frame() {
        for from in [Source::Turns, Source::Burst, Source::Task] {
            let frames: Vec<_> = events(2, from).map(|frame| frame.unwrap()).collect().await;
            let expect = [0, 1].map(|i| format!("data: {{\"delta\":\"token-{i}\"}}\n\n"));
            assert_eq!(frames, expect, "from {from:?}");
        }
    }
}
