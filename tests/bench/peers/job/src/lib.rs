//! The job of every server in the comparison, but for its routes and its credential: keep it in step with
//! tests/modules/bench and tests/bench/fastify.

use std::convert::Infallible;
use std::task::Poll;

use bytes::Bytes;
use futures_util::stream::{self, Stream};

/// What both hellos answer.
pub const HELLO: &str = "hello bench";

/// Server-sent events. Pending before each but the first, unless in a burst: so each is a frame and a write of its own.
pub fn events(n: u32, burst: bool) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
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

/// The socket to serve, from the command line.
pub fn socket() -> std::path::PathBuf {
    std::env::args_os()
        .nth(1)
        .expect("the socket's path is the only argument")
        .into()
}
