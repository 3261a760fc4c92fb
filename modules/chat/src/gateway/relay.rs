//! An answer's body on its way from the provider to the client: each piece as it comes, with the key hidden.
//!
//! Nothing is read before the client wants more, so that a slow reader holds back the provider and fills no memory. An event
//! stream that cannot go on ends with an event that says why, if it stands at the end of an event; every other body is cut,
//! so that no client takes a part for the whole.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::Stream;
use hyper::body::Body;

use super::account::Account;
use super::error::GatewayError;
use super::mask::Mask;
use crate::upstream::UpstreamError;

/// Passes on `body`. Dropping it closes the connection to the provider.
pub(super) struct Relay<B> {
    /// Nothing when it has ended.
    body: Option<B>,
    mask: Mask,
    kind: Kind,
    account: Option<Account>,
}

enum Kind {
    Plain,
    EventStream {
        tail: Tail,
        /// Resolves when the module must not go on.
        drained: BoxFuture<'static, ()>,
    },
}

impl<B> Relay<B> {
    pub(super) fn plain(body: B, mask: Mask) -> Relay<B> {
        Relay {
            body: Some(body),
            mask,
            kind: Kind::Plain,
            account: None,
        }
    }

    pub(super) fn event_stream(body: B, mask: Mask, drained: BoxFuture<'static, ()>) -> Relay<B> {
        Relay {
            body: Some(body),
            mask,
            kind: Kind::EventStream {
                tail: Tail::default(),
                drained,
            },
            account: None,
        }
    }

    /// Has what passes by and how it ends counted.
    pub(super) fn counted(self, account: Option<Account>) -> Relay<B> {
        Relay { account, ..self }
    }

    fn end(&mut self, error: GatewayError) -> Result<Bytes, GatewayError> {
        self.body = None;
        if let Some(account) = &mut self.account {
            account.fail(&error);
        }
        let held = self.mask.finish();
        match &self.kind {
            Kind::EventStream { tail, .. } if held.is_empty() && tail.ends_event() => {
                tracing::info!(%error, "an event stream of the provider could not go on");
                Ok(error.event())
            }
            _ => Err(error),
        }
    }
}

impl<B> Stream for Relay<B>
where
    B: Body<Data = Bytes, Error = UpstreamError> + Unpin,
{
    type Item = Result<Bytes, GatewayError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, GatewayError>>> {
        let relay = &mut *self;
        loop {
            let Some(body) = &mut relay.body else {
                return Poll::Ready(None);
            };
            let piece = match Pin::new(body).poll_frame(context) {
                // What trailers say is of the connection.
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        if let Some(account) = &mut relay.account {
                            account.see(&data);
                        }
                        relay.mask.push(data)
                    }
                    Err(_trailers) => continue,
                },
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(relay.end(GatewayError::Upstream(error))));
                }
                Poll::Ready(None) => {
                    relay.body = None;
                    if let Some(account) = &mut relay.account {
                        account.complete();
                    }
                    relay.mask.finish()
                }
                Poll::Pending => {
                    if let Kind::EventStream { drained, .. } = &mut relay.kind
                        && drained.as_mut().poll(context).is_ready()
                    {
                        return Poll::Ready(Some(relay.end(GatewayError::Drained)));
                    }
                    return Poll::Pending;
                }
            };
            if !piece.is_empty() {
                if let Kind::EventStream { tail, .. } = &mut relay.kind {
                    tail.push(&piece);
                }
                return Poll::Ready(Some(Ok(piece)));
            }
        }
    }
}

/// The last bytes of an event stream, as many as tell whether an event is complete.
#[derive(Default)]
struct Tail {
    bytes: [u8; Tail::LEN],
    len: usize,
}

impl Tail {
    const LEN: usize = 4;

    fn push(&mut self, piece: &[u8]) {
        let new = &piece[piece.len().saturating_sub(Tail::LEN)..];
        let kept = self.len.min(Tail::LEN - new.len());
        self.bytes.copy_within(self.len - kept..self.len, 0);
        self.bytes[kept..kept + new.len()].copy_from_slice(new);
        self.len = kept + new.len();
    }

    /// Whether nothing has come yet, or the last line is empty (WHATWG HTML, "server-sent events": a line ends in any of the
    /// three ways).
    fn ends_event(&self) -> bool {
        let tail = &self.bytes[..self.len];
        tail.is_empty()
            || [&b"\n\n"[..], b"\r\r", b"\n\r", b"\r\n\r\n", b"\n\r\n"]
                .iter()
                .any(|end| tail.ends_with(end))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::FutureExt;
    use futures_util::stream::{self, BoxStream, StreamExt};
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    type Pieces = BoxStream<'static, Result<Frame<Bytes>, UpstreamError>>;

    fn says(pieces: &[&'static str]) -> Pieces {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        stream::iter(pieces).boxed()
    }

    fn breaks() -> Pieces {
        stream::iter([Err(UpstreamError::BrokenOff)]).boxed()
    }

    fn events(pieces: Pieces) -> Relay<StreamBody<Pieces>> {
        let never = std::future::pending().boxed();
        Relay::event_stream(StreamBody::new(pieces), Mask::default(), never)
    }

    async fn passed(relay: Relay<StreamBody<Pieces>>) -> Vec<Result<String, GatewayError>> {
        relay
            .map(|piece| piece.map(|piece| String::from_utf8(piece.to_vec()).unwrap()))
            .collect()
            .await
    }

    #[tokio::test]
    async fn each_piece_is_passed_on_as_it_came() {
        let pieces = ["data: 1\n", "\ndata: [DO", "NE]\n\n"];
        let expect: Vec<_> = pieces.iter().map(|piece| Ok((*piece).to_owned())).collect();
        assert_eq!(passed(events(says(&pieces))).await, expect);
        let plain = Relay::plain(StreamBody::new(says(&pieces)), Mask::default());
        assert_eq!(passed(plain).await, expect);
    }

    #[tokio::test]
    async fn a_stream_that_breaks_between_events_says_why() {
        let relay = events(says(&["data: 1\n\n"]).chain(breaks()).boxed());
        let passed = passed(relay).await;
        assert_eq!(passed.len(), 2);
        let last = passed[1].as_ref().unwrap();
        assert!(last.starts_with("event: error\n"), "{last}");
        assert!(last.contains("provider_broke_off"), "{last}");
    }

    #[tokio::test]
    async fn anything_else_that_breaks_is_cut() {
        let broken = Err(GatewayError::Upstream(UpstreamError::BrokenOff));
        let relay = events(says(&["data: 1\n\nda"]).chain(breaks()).boxed());
        let passed_on = passed(relay).await;
        assert_eq!(passed_on[1..], std::slice::from_ref(&broken)[..]);
        let body = StreamBody::new(says(&["{}\n\n"]).chain(breaks()).boxed());
        let relay = Relay::plain(body, Mask::default());
        assert_eq!(passed(relay).await[1..], [broken]);
    }

    #[tokio::test]
    async fn what_is_held_back_of_a_key_comes_at_the_end_or_not_at_all() {
        let key = [&b"sk-0123456789abcdef"[..]];
        let body = StreamBody::new(says(&["to a", "sk"]));
        let relay = Relay::plain(body, Mask::new(key.into_iter()));
        assert_eq!(
            passed(relay)
                .await
                .into_iter()
                .collect::<Result<String, _>>()
                .unwrap(),
            "to ask"
        );
        let pieces = says(&["data: 1\n\n", "s"]).chain(breaks()).boxed();
        let mut relay = events(pieces);
        relay.mask = Mask::new(key.into_iter());
        assert!(passed(relay).await[1].is_err(), "an event had begun");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_a_stream_that_has_no_more_to_say() {
        let pieces = says(&["data: 1\n\n"]).chain(stream::pending()).boxed();
        let drained = tokio::time::sleep(Duration::from_secs(25)).boxed();
        let relay = Relay::event_stream(StreamBody::new(pieces), Mask::default(), drained);
        let passed = passed(relay).await;
        assert_eq!(passed.len(), 2);
        assert!(passed[1].as_ref().unwrap().contains("draining"));
    }

    #[test]
    fn an_event_s_end_is_found_however_it_is_cut() {
        let check = |pieces: &[&str], expect| {
            let mut tail = Tail::default();
            pieces.iter().for_each(|piece| tail.push(piece.as_bytes()));
            assert_eq!(tail.ends_event(), expect, "{pieces:?}");
        };
        check(&[], true);
        check(&["data: a\n\n"], true);
        check(&["data: a\n", "\n"], true);
        check(&["data: a", "\r\n", "\r", "\n"], true);
        check(&["data: a\r\r"], true);
        check(&["data: a\n"], false);
        check(&["data: a\n\n", "data: b"], false);
        check(&["data: a\r", "\n"], false);
        check(&["d", "a"], false);
        check(&["data: a\n\n", "x"], false);
    }
}
