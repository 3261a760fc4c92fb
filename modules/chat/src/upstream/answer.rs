//! The body of the provider's answer, which may not fall silent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::UpstreamError;

/// Ends in an error when the provider sends nothing for the stall timeout, or breaks off. Only waiting counts: a reader that
/// is slow does not make the provider late.
pub(crate) struct Answer<B = Incoming> {
    body: B,
    limit: Duration,
    silence: Pin<Box<Sleep>>,
    /// Whether `silence` runs since the last part.
    waiting: bool,
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, limit: Duration) -> Answer<B> {
        Answer {
            body,
            limit,
            silence: Box::pin(tokio::time::sleep(limit)),
            waiting: false,
        }
    }
}

impl<B: Body<Data = Bytes, Error: std::fmt::Debug> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(|_| UpstreamError::BrokenOff)));
        }
        if !self.waiting {
            self.waiting = true;
            let end = Instant::now() + self.limit;
            self.silence.as_mut().reset(end);
        }
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Some(Err(UpstreamError::Silent(self.limit))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(7);

    fn part(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    #[tokio::test(start_paused = true)]
    async fn each_part_starts_the_silence_anew_and_a_slow_reader_does_not_count() {
        let slow = stream::iter(["a", "b"]).then(|text| async move {
            sleep(Duration::from_secs(6)).await;
            part(text)
        });
        let mut answer = Answer::new(
            StreamBody::new(slow.chain(stream::pending()).boxed()),
            LIMIT,
        );
        assert!(answer.frame().await.unwrap().is_ok());
        sleep(Duration::from_secs(600)).await;
        assert!(answer.frame().await.unwrap().is_ok());
        let start = Instant::now();
        let error = answer.frame().await.unwrap().unwrap_err();
        assert_eq!(
            (error, start.elapsed()),
            (UpstreamError::Silent(LIMIT), LIMIT)
        );
    }

    #[tokio::test]
    async fn a_broken_connection_is_an_error_without_its_words() {
        let broken = stream::iter([part("a"), Err("reset by sk-secret")]);
        let mut answer = Answer::new(StreamBody::new(broken), LIMIT);
        assert!(answer.frame().await.unwrap().is_ok());
        let error = answer.frame().await.unwrap().unwrap_err();
        assert_eq!(error, UpstreamError::BrokenOff);
    }
}
