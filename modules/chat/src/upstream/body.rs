//! The body of a request to the provider, and how long the provider may take over it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is sent to the provider.
pub(crate) enum UpstreamBody {
    /// Can be sent again, so that a refused key can be asked for again.
    Bytes(Bytes),
    /// Passed on as it comes, and sent once.
    Stream(UnsyncBoxBody<Bytes, BoxError>),
}

impl UpstreamBody {
    pub(crate) fn empty() -> UpstreamBody {
        UpstreamBody::Bytes(Bytes::new())
    }

    pub(crate) fn stream<B>(body: B) -> UpstreamBody
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        UpstreamBody::Stream(body.map_err(Into::into).boxed_unsync())
    }

    /// The same once more, if that can be had.
    pub(super) fn again(&self) -> Option<UpstreamBody> {
        match self {
            UpstreamBody::Bytes(bytes) => Some(UpstreamBody::Bytes(bytes.clone())),
            UpstreamBody::Stream(_) => None,
        }
    }
}

impl From<Vec<u8>> for UpstreamBody {
    fn from(bytes: Vec<u8>) -> UpstreamBody {
        UpstreamBody::Bytes(bytes.into())
    }
}

/// Whom a request waits for. The end of the channel means that the whole request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The connection, or whoever gives the body.
    NotProvider,
    Provider,
}

/// A body that tells whom it waits for.
pub(super) struct Outgoing {
    body: UpstreamBody,
    turn: watch::Sender<Turn>,
}

/// Where a request stands.
pub(super) struct Progress(watch::Receiver<Turn>);

impl Outgoing {
    pub(super) fn new(body: UpstreamBody) -> (Outgoing, Progress) {
        let (turn, progress) = watch::channel(Turn::NotProvider);
        (Outgoing { body, turn }, Progress(progress))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match &mut self.body {
            UpstreamBody::Bytes(bytes) => Poll::Ready(match std::mem::take(bytes) {
                none if none.is_empty() => None,
                bytes => Some(Ok(Frame::data(bytes))),
            }),
            UpstreamBody::Stream(body) => Pin::new(body).poll_frame(context),
        };
        // Each frame starts the provider's time anew.
        self.turn.send_replace(match frame {
            Poll::Ready(_) => Turn::Provider,
            Poll::Pending => Turn::NotProvider,
        });
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            UpstreamBody::Bytes(bytes) => bytes.is_empty(),
            UpstreamBody::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            UpstreamBody::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            UpstreamBody::Stream(body) => body.size_hint(),
        }
    }
}

/// Resolves when the provider has held up the request for `limit`: took no more of it, or did not answer it.
pub(super) async fn overdue(Progress(mut turn): Progress, limit: Duration) {
    loop {
        let is_provider = *turn.borrow_and_update() == Turn::Provider;
        tokio::select! {
            changed = turn.changed() => if changed.is_err() {
                return tokio::time::sleep(limit).await;
            },
            () = tokio::time::sleep(limit), if is_provider => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};
    use http_body_util::StreamBody;
    use tokio::sync::mpsc;
    use tokio::time::{Instant, sleep};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(7);

    #[tokio::test(start_paused = true)]
    async fn the_provider_s_time_starts_behind_the_last_byte() {
        let (mut body, progress) = Outgoing::new(vec![b'x'; 3].into());
        assert_eq!(body.size_hint().exact(), Some(3));
        let start = Instant::now();
        let sent = async {
            sleep(Duration::from_secs(60)).await; // connecting has a limit of its own
            assert!(body.frame().await.is_some());
            sleep(Duration::from_secs(5)).await;
            assert!(body.is_end_stream());
            drop(body);
        };
        tokio::join!(sent, overdue(progress, LIMIT));
        assert_eq!(start.elapsed(), Duration::from_secs(65) + LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_sender_is_no_slow_provider() {
        let (frames, given) = mpsc::channel::<Bytes>(1);
        let given = stream::unfold(given, |mut given| async {
            let bytes = given.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(bytes)), given))
        });
        let (mut body, progress) =
            Outgoing::new(UpstreamBody::stream(StreamBody::new(given.boxed())));
        let start = Instant::now();
        let giving = async {
            for _ in 0..3 {
                sleep(Duration::from_secs(60)).await;
                frames.send(Bytes::from_static(b"x")).await.unwrap();
            }
            drop(frames);
        };
        let taking = async {
            while body.frame().await.is_some() {}
            std::future::pending::<()>().await; // the provider takes what there is, and no more
        };
        tokio::select! {
            () = async { tokio::join!(giving, taking); } => unreachable!("taking never ends"),
            () = overdue(progress, LIMIT) => {}
        }
        assert_eq!(start.elapsed(), Duration::from_secs(180) + LIMIT);
    }
}
