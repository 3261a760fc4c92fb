//! Panics and failures in every place that runs an author's code.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;

use crate::witness::Witness;

pub(crate) fn routes() -> Router {
    Router::new()
        .route(
            "/panic",
            get(|| async { panic!("the handler panics on purpose") as &str }),
        )
        .route("/panic-with-a-number", get(panic_with_a_number))
        .route("/panic-in-stream", get(panic_in_stream))
        .route("/fail-in-stream", get(fail_in_stream))
        .route(
            "/panic-in-body-drop",
            get(|| async { Body::new(DropPanics::new("whole body", false)) }),
        )
        .route(
            "/panic-in-open-body-drop",
            get(|| async { Body::new(DropPanics::new("open body", true)) }),
        )
        .route("/panic-in-future-drop", get(panic_in_future_drop))
        .route("/panic-in-task", get(panic_in_task))
}

async fn panic_with_a_number() -> &'static str {
    std::panic::panic_any(7_u8)
}

fn first_then(then: impl Future<Output = Result<Bytes, std::io::Error>> + Send + 'static) -> Body {
    let first = stream::iter([Ok(Bytes::from_static(b"one\n"))]);
    Body::from_stream(first.chain(stream::once(async {
        // So that the first piece is on its way.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        then.await
    })))
}

async fn panic_in_stream() -> Body {
    first_then(async { panic!("the stream panics on purpose") })
}

async fn fail_in_stream() -> Body {
    first_then(async { Err(std::io::Error::other("the stream fails on purpose")) })
}

async fn panic_in_future_drop() {
    let _witness = Witness::that_panics("future");
    std::future::pending().await
}

async fn panic_in_task() {
    let task = tokio::spawn(async { panic!("the task panics on purpose") as () });
    task.await.expect("the task ends well");
}

/// A body whose drop panics.
struct DropPanics {
    first: Option<Bytes>,
    open: bool,
    _witness: Witness,
}

impl DropPanics {
    fn new(name: &'static str, open: bool) -> DropPanics {
        DropPanics {
            first: Some(Bytes::from_static(b"one\n")),
            open,
            _witness: Witness::that_panics(name),
        }
    }
}

impl http_body::Body for DropPanics {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None if self.open => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}
