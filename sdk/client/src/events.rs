//! A response as a stream of events.

use std::collections::VecDeque;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::error::Error;
use crate::sse::{Event, Parser};

/// The events of a `text/event-stream` response. Dropping it closes the connection, which ends the request.
pub struct EventStream {
    body: Incoming,
    parser: Parser,
    ready: VecDeque<Event>,
}

impl EventStream {
    /// Reads the body of a response that is known to be an event stream.
    pub fn of(response: http::Response<Incoming>) -> EventStream {
        EventStream {
            body: response.into_body(),
            parser: Parser::new(),
            ready: VecDeque::new(),
        }
    }

    /// The next event; `None` at the end of the stream. Cancel-safe.
    ///
    /// # Errors
    /// When the stream breaks off, or an event is longer than the parser takes. There is nothing after an error.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            let frame = match self.body.frame().await? {
                Ok(frame) => frame,
                Err(error) => {
                    return Some(Err(Error::Exchange {
                        source: Box::new(error),
                    }));
                }
            };
            if let Ok(bytes) = frame.into_data() {
                match self.parser.push(&bytes) {
                    Ok(events) => self.ready.extend(events),
                    Err(error) => {
                        return Some(Err(Error::Exchange {
                            source: Box::new(error),
                        }));
                    }
                }
            }
        }
    }
}
