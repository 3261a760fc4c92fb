//! Another module's server-sent events.

use axum::body::Body;

use crate::bounded_events::{self, BoundedEvents};

/// Of one event: a widget with a picture in it.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

pub(super) struct EventStream(BoundedEvents<axum::Error>);

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("sent an event larger than {EVENT_BYTES_MAX} bytes")]
    TooLarge,
    #[error("sent what is no event stream: {0}")]
    Malformed(String),
    #[error("broke off its answer")]
    BrokenOff,
}

impl EventStream {
    pub(super) fn new(body: Body) -> EventStream {
        EventStream(BoundedEvents::new(body.into_data_stream(), EVENT_BYTES_MAX))
    }

    /// The data of the next event; nothing at the stream's end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<String>, ReadError> {
        self.0.next().await.map_err(|error| match error {
            bounded_events::ReadError::TooLarge => ReadError::TooLarge,
            bounded_events::ReadError::Malformed(why) => ReadError::Malformed(why),
            bounded_events::ReadError::Body(_) => ReadError::BrokenOff,
        })
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
