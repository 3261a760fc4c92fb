//! A provider's server-sent events.

use bytes::Bytes;
use futures_util::stream::Stream;

use super::error::ProviderError;
use crate::bounded_events::{BoundedEvents, ReadError};
use crate::upstream::UpstreamError;

/// Of one event. The largest is the Responses API's last, which repeats the whole answer.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) struct EventStream(BoundedEvents<UpstreamError>);

impl EventStream {
    pub(super) fn new(
        bytes: impl Stream<Item = Result<Bytes, UpstreamError>> + Send + 'static,
    ) -> EventStream {
        EventStream(BoundedEvents::new(bytes, EVENT_BYTES_MAX))
    }

    /// The data of the next event; nothing at the stream's end.
    pub(super) async fn next(&mut self) -> Result<Option<String>, ProviderError> {
        self.0.next().await.map_err(|error| match error {
            // What the provider wrote is not repeated.
            ReadError::Malformed(_) => ProviderError::Malformed,
            ReadError::TooLarge => {
                tracing::warn!(EVENT_BYTES_MAX, "the provider's event is too large");
                ProviderError::Malformed
            }
            ReadError::Body(cause) => {
                tracing::warn!(%cause, "the provider's stream ended early");
                cause.into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, StreamExt as _};

    use super::*;

    fn events(chunks: Vec<Result<&'static [u8], UpstreamError>>) -> EventStream {
        let bytes = stream::iter(chunks).map(|chunk| chunk.map(Bytes::from_static));
        EventStream::new(bytes)
    }

    async fn read(mut events: EventStream) -> (Vec<String>, Option<ProviderError>) {
        let mut all = Vec::new();
        loop {
            match events.next().await {
                Ok(Some(data)) => all.push(data),
                Ok(None) => return (all, None),
                Err(error) => return (all, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn events_may_be_cut_anywhere() {
        let text = b": hi\r\ndata: {\"a\":\"\xc3\xa9\"}\r\n\r\nevent: x\nid: 1\n\ndata: two\ndata: lines\n\n";
        for at in 0..text.len() {
            let (all, error) = read(events(vec![Ok(&text[..at]), Ok(&text[at..])])).await;
            assert_eq!(
                (all, error),
                (
                    vec!["{\"a\":\"é\"}".to_owned(), "two\nlines".to_owned()],
                    None
                ),
                "cut at {at}"
            );
        }
    }

    #[tokio::test]
    async fn a_failure_keeps_what_came_before() {
        let (all, error) = read(events(vec![
            Ok(b"data: one\n\n"),
            Err(UpstreamError::BrokenOff),
        ]))
        .await;
        assert_eq!(
            (all, error),
            (vec!["one".to_owned()], Some(ProviderError::BrokenOff))
        );
        let (_, error) = read(events(vec![Ok(b"data: \xff\n\n")])).await;
        assert_eq!(error, Some(ProviderError::Malformed));
    }

    #[tokio::test]
    async fn an_endless_event_is_not_held() {
        static CHUNK: [u8; 65_536] = [b'x'; 65_536];
        let endless = stream::iter([Ok(Bytes::from_static(b"data: "))])
            .chain(stream::repeat_with(|| Ok(Bytes::from_static(&CHUNK))));
        let (all, error) = read(EventStream::new(endless)).await;
        assert_eq!((all.len(), error), (0, Some(ProviderError::Malformed)));
    }
}
