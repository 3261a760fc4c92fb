//! The job of every server in the comparison, but for its routes and its credential: keep it in step with
//! tests/modules/bench and tests/bench/fastify.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use serde::Deserialize;
use tokio::sync::mpsc;

/// What a slow client makes wait.
const CHANNEL_LEN: usize = 16;

/// What both hellos answer.
pub const HELLO: &str = "hello bench";

/// Where a stream's events come from.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The handler, which lets others have their turn before each next one.
    #[default]
    Turns,
    /// The handler, with all of them ready at once.
    Burst,
    /// A task of its own, one by one, as a provider's answer comes.
    Task,
}

/// Server-sent events, each a frame.
pub fn events(n: u32, from: Source) -> BoxStream<'static, Result<Bytes, Infallible>> {
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

/// The socket to serve, from the command line.
pub fn socket() -> std::path::PathBuf {
    std::env::args_os()
        .nth(1)
        .expect("the socket's path is the only argument")
        .into()
}
