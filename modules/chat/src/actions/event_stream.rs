//! Another module's server-sent events, bounded in size.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use futures_util::stream::{Stream, StreamExt};
use sse_stream::SseByteStream;

/// Of one event: a widget with a picture in it.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

type Events = Pin<Box<dyn Stream<Item = Result<sse_stream::Sse, sse_stream::Error>> + Send>>;

pub(super) struct EventStream {
    events: Events,
    /// Bytes that came since the last event: what the parser can be holding.
    held: Arc<AtomicUsize>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("sent an event larger than {EVENT_BYTES_MAX} bytes")]
    TooLarge,
    #[error("sent what is no event stream: {0}")]
    Malformed(String),
    #[error("broke off its answer")]
    BrokenOff,
}

#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("too large")]
    TooLarge,
    #[error(transparent)]
    Body(#[from] axum::Error),
}

impl EventStream {
    pub(super) fn new(body: Body) -> EventStream {
        let held = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&held);
        let bytes = body.into_data_stream().map(move |chunk| {
            let chunk = chunk?;
            // One task reads the stream: the order of this counter with other memory does not matter.
            match count.fetch_add(chunk.len(), Ordering::Relaxed) {
                ..=EVENT_BYTES_MAX => Ok(chunk),
                _ => Err(BodyError::TooLarge),
            }
        });
        EventStream {
            events: Box::pin(SseByteStream::new(Box::pin(bytes))),
            held,
        }
    }

    /// The data of the next event; nothing at the stream's end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<String>, ReadError> {
        loop {
            let event = self.events.next().await;
            self.held.store(0, Ordering::Relaxed);
            match event {
                None => return Ok(None),
                Some(Ok(event)) => {
                    if let Some(data) = event.data {
                        return Ok(Some(data));
                    }
                }
                Some(Err(sse_stream::Error::Body(cause))) => {
                    return Err(match cause.downcast_ref() {
                        Some(BodyError::TooLarge) => ReadError::TooLarge,
                        _ => ReadError::BrokenOff,
                    });
                }
                Some(Err(other)) => return Err(ReadError::Malformed(other.to_string())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    fn events(chunks: Vec<String>) -> EventStream {
        EventStream::new(Body::from_stream(stream::iter(
            chunks.into_iter().map(Ok::<_, Infallible>),
        )))
    }

    #[tokio::test]
    async fn events_are_read_however_they_are_cut() {
        let mut events = events(vec![
            ": hello\n\nda".to_owned(),
            "ta: {\"a\":1}\n".to_owned(),
            "\ndata: b\n\n".to_owned(),
        ]);
        assert_eq!(events.next().await.unwrap().as_deref(), Some("{\"a\":1}"));
        assert_eq!(events.next().await.unwrap().as_deref(), Some("b"));
        assert_eq!(events.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_endless_event_is_not_held() {
        let piece = "x".repeat(64 * 1024);
        let mut events = events(vec![piece; 20]);
        assert!(matches!(events.next().await, Err(ReadError::TooLarge)));
    }

    #[tokio::test]
    async fn a_body_that_fails_broke_off() {
        let failure = stream::iter([Ok("data: a\n\n"), Err(std::io::Error::other("spoilt"))]);
        let mut events = EventStream::new(Body::from_stream(failure));
        assert_eq!(events.next().await.unwrap().as_deref(), Some("a"));
        assert!(matches!(events.next().await, Err(ReadError::BrokenOff)));
    }
}
