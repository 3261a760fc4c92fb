//! A provider's server-sent events, bounded in size.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use sse_stream::SseByteStream;

use super::error::ProviderError;
use crate::upstream::UpstreamError;

/// Of one event. The largest is the Responses API's last, which repeats the whole answer.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

type Events = Pin<Box<dyn Stream<Item = Result<sse_stream::Sse, sse_stream::Error>> + Send>>;

pub(super) struct EventStream {
    events: Events,
    /// Bytes taken from the network since the last event: what the parser can be holding.
    unparsed: Arc<AtomicUsize>,
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("an event is larger than {EVENT_BYTES_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Connection(UpstreamError),
}

impl EventStream {
    pub(super) fn new(
        bytes: impl Stream<Item = Result<Bytes, UpstreamError>> + Send + 'static,
    ) -> EventStream {
        let unparsed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&unparsed);
        let bounded = bytes.map(move |chunk| {
            let chunk = chunk.map_err(ReadError::Connection)?;
            // One task reads the stream: the order of this counter with other memory does not matter.
            let held = count.fetch_add(chunk.len(), Ordering::Relaxed);
            if held > EVENT_BYTES_MAX {
                Err(ReadError::TooLarge)
            } else {
                Ok(chunk)
            }
        });
        EventStream {
            events: Box::pin(SseByteStream::new(Box::pin(bounded))),
            unparsed,
        }
    }

    /// The data of the next event; nothing at the stream's end.
    pub(super) async fn next(&mut self) -> Result<Option<String>, ProviderError> {
        loop {
            let event = self.events.next().await;
            self.unparsed.store(0, Ordering::Relaxed);
            match event {
                None => return Ok(None),
                Some(Ok(event)) => {
                    if let Some(data) = event.data {
                        return Ok(Some(data));
                    }
                }
                Some(Err(sse_stream::Error::Body(cause))) => {
                    tracing::warn!(%cause, "the provider's stream ended early");
                    return Err(match cause.downcast() {
                        Ok(cause) => match *cause {
                            ReadError::TooLarge => ProviderError::Malformed,
                            ReadError::Connection(cause) => cause.into(),
                        },
                        Err(_) => ProviderError::BrokenOff,
                    });
                }
                Some(Err(_)) => return Err(ProviderError::Malformed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

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
