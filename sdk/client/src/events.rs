//! An answer read as a stream of events.

use std::collections::VecDeque;

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::error::Error;
use crate::sse::{Event, Parser};

/// The events of one answer. Dropping it closes the connection.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    parser: Parser,
    ready: VecDeque<Event>,
    failed: bool,
}

impl EventStream {
    /// Reads the body of this answer; whether it is one of events is the caller's to know.
    #[must_use]
    pub fn of(response: Response<Incoming>) -> EventStream {
        EventStream {
            body: response.into_body(),
            parser: Parser::new(),
            ready: VecDeque::new(),
            failed: false,
        }
    }

    /// The next event; `None` at the end and after an error. Cancel-safe: an event is not lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.failed {
                return None;
            }
            let read = self.body.frame().await?.map_err(Error::protocol);
            let events = read.and_then(|frame| match frame.into_data() {
                Ok(chunk) => self.parser.push(&chunk).map_err(Error::protocol),
                Err(_trailers) => Ok(Vec::new()),
            });
            match events {
                Ok(events) => self.ready.extend(events),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
