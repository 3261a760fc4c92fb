//! `GET /changes`: tells a window which of its user's threads changed, whichever window or kernel changed them.
//!
//! An event stream. `ready` means that every change from now on is told, so that what the client lists now stays right; it
//! comes again when some may have been missed. Then `thread.changed` and `thread.deleted`, once for a burst of the same
//! thread's. `drained` is the last event: this generation takes no more requests, and the next one is there to be asked.
//!
//! One task watches the store for all who listen, and only while somebody does. What a listener has not read yet is
//! merged, so that a slow one costs a bounded amount of memory and nobody else.

mod feed;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use midplane_sdk::{Draining, Problem, Session};
use serde::Serialize;

use crate::protocol::id::ThreadId;
pub(crate) use feed::{Feed, Listener};

/// Relays and browsers take a silent connection for a dead one after 30 s or more.
const COMMENT_EVERY: Duration = Duration::from_secs(20);
/// A line that no client shows.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type")]
pub(crate) enum Told {
    #[serde(rename = "ready")]
    Ready,
    #[serde(rename = "thread.changed")]
    Changed { thread_id: ThreadId },
    #[serde(rename = "thread.deleted")]
    Deleted { thread_id: ThreadId },
    #[serde(rename = "drained")]
    Drained,
}

pub(crate) fn router(feed: Feed, draining: Draining) -> Router {
    Router::new()
        .route("/changes", get(changes))
        .with_state((feed, draining))
}

async fn changes(
    State((feed, draining)): State<(Feed, Draining)>,
    session: Session,
) -> Result<Response, Problem> {
    let frames = frames(feed.listen(session.user())?, draining);
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

fn frames(
    listener: Listener,
    draining: Draining,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::unfold(Some((listener, draining)), async |state| {
        let (listener, draining) = state?;
        // Cancel-safe, each: what is told stays with the listener until it is taken.
        tokio::select! {
            biased; // what is known goes out before the end
            told = listener.next() => Some((Ok(frame(&told)), Some((listener, draining)))),
            () = draining.wait() => Some((Ok(frame(&[Told::Drained])), None)),
            () = tokio::time::sleep(COMMENT_EVERY) => Some((Ok(COMMENT), Some((listener, draining)))),
        }
    })
}

/// JSON holds no line ending.
fn frame(told: &[Told]) -> Bytes {
    let events = told.iter().map(|event| {
        let json = serde_json::to_string(event).expect("the events have string keys only");
        format!("data: {json}\n\n")
    });
    events.collect::<String>().into()
}

#[cfg(test)]
mod tests;
