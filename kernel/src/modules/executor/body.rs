//! The part of a response that the module still makes, and how it ends.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Frame;

use super::call::{Call, End, Turn};

/// The rest of a response, as the module makes it.
pub(crate) struct ModuleBody {
    pub(super) call: Call,
    pub(super) event_stream: bool,
    pub(super) tail: Tail,
    pub(super) over: bool,
}

/// The last bytes of a body, as many as tell whether an event is complete.
#[derive(Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    const LEN: usize = 4;

    fn push(&mut self, bytes: &[u8]) {
        self.0
            .extend_from_slice(&bytes[bytes.len().saturating_sub(Tail::LEN)..]);
        let excess = self.0.len().saturating_sub(Tail::LEN);
        self.0.drain(..excess);
    }

    /// Whether nothing has come yet, or the last line is empty.
    fn ends_event(&self) -> bool {
        self.0.is_empty()
            || [&b"\n\n"[..], b"\r\r", b"\r\n\r\n"]
                .iter()
                .any(|end| self.0.ends_with(end))
    }
}

/// A response that could not be finished: the connection is cut, so that the client cannot take it for whole.
#[derive(Debug, thiserror::Error)]
#[error("the response was cut: {0}")]
pub(crate) struct Cut(&'static str);

impl ModuleBody {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let turn = match self.call.end_now() {
            Some(end) => Turn::End(end),
            None => ready!(self.call.poll_turn(cx)),
        };
        if let Turn::Bytes(bytes) = turn {
            self.tail.push(&bytes);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        self.over = true;
        Poll::Ready(match turn {
            Turn::Finished => None,
            Turn::End(end) if self.event_stream && self.tail.ends_event() => {
                Some(Ok(Frame::data(final_event(end))))
            }
            Turn::End(_) => Some(Err(Cut("the session or the module ended"))),
            Turn::Fault(_) => Some(Err(Cut("the module failed"))),
            Turn::Head(..) | Turn::Accepted(_) | Turn::Bytes(_) => {
                Some(Err(Cut("the module answered twice")))
            }
        })
    }
}

/// The last event of a stream that the kernel ends. Its name is not one of any module's, so that clients that do not know it
/// ignore it (WHATWG HTML, "server-sent events").
fn final_event(end: End) -> Bytes {
    let reason = match end {
        End::SessionRevoked => "session_revoked",
        End::SessionExpired => "session_expired",
        End::Drained => "draining",
    };
    Bytes::from(format!(
        "event: midplane.end\ndata: {{\"reason\":\"{reason}\"}}\n\n"
    ))
}

pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_end_is_found_however_it_is_cut() {
        for (pieces, expect) in [
            (&[][..], true),
            (&["data: a\n\n"], true),
            (&["data: a\n", "\n"], true),
            (&["data: a\r\n", "\r", "\n"], true),
            (&["data: a\r\r"], true),
            (&["data: a\n"], false),
            (&["data: a\n\n", "data: b"], false),
            (&["data: a\n\n", "x"], false),
        ] {
            let mut tail = Tail::default();
            pieces.iter().for_each(|piece| tail.push(piece.as_bytes()));
            assert_eq!(tail.ends_event(), expect, "{pieces:?}");
        }
    }
}
