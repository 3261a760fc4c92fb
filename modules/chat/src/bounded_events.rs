//! Reads server-sent events that somebody else sends, each bounded in size.

use std::error::Error;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use sse_stream::SseByteStream;

type Events = Pin<Box<dyn Stream<Item = Result<sse_stream::Sse, sse_stream::Error>> + Send>>;

/// Of a body that fails with `E`.
pub(crate) struct BoundedEvents<E> {
    events: Events,
    /// Bytes that came since the last event: what the parser can be holding.
    unparsed: Arc<AtomicUsize>,
    body: PhantomData<fn() -> E>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError<E> {
    #[error("an event is too large")]
    TooLarge,
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Body(E),
}

impl<E: Error + Send + Sync + 'static> BoundedEvents<E> {
    pub(crate) fn new(
        bytes: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
        event_bytes_max: usize,
    ) -> BoundedEvents<E> {
        let unparsed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&unparsed);
        let bounded = bytes.map(move |chunk| {
            let chunk = chunk.map_err(ReadError::Body)?;
            // One task reads the stream: the order of this counter with other memory does not matter.
            match count.fetch_add(chunk.len(), Ordering::Relaxed) {
                held if held <= event_bytes_max => Ok(chunk),
                _ => Err(ReadError::TooLarge),
            }
        });
        BoundedEvents {
            events: Box::pin(SseByteStream::new(Box::pin(bounded))),
            unparsed,
            body: PhantomData,
        }
    }

    /// The data of the next event; nothing at the stream's end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, ReadError<E>> {
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
                    return Err(match cause.downcast() {
                        Ok(cause) => *cause,
                        Err(other) => ReadError::Malformed(other.to_string()),
                    });
                }
                Some(Err(other)) => return Err(ReadError::Malformed(other.to_string())),
            }
        }
    }
}
