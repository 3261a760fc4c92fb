//! The body of every response.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::bridge::upgrade::OpenBridge;
use crate::events::EventStream;
use crate::modules::executor::{Answer, Cut, ModuleBody, OpenSocket};
use crate::progress::UnderWay;

pub(crate) struct Body {
    kind: Kind,
    /// The connection has a request for as long as this lives.
    _under_way: Option<UnderWay>,
}

enum Kind {
    /// `None` once it has been taken.
    Whole(Option<Bytes>),
    Module(Box<ModuleBody>),
    /// Nothing: the connection goes on as something else. `None` once it has been taken.
    Opened(Option<Opened>),
    Events(Box<EventStream>),
}

/// What a connection becomes with a response that switches protocols.
pub(crate) enum Opened {
    Socket(Box<OpenSocket>),
    Bridge(OpenBridge),
}

impl Body {
    fn of(kind: Kind) -> Body {
        Body {
            kind,
            _under_way: None,
        }
    }

    /// Has `under_way` end with the body.
    pub(crate) fn hold(mut self, under_way: UnderWay) -> Body {
        self._under_way = Some(under_way);
        self
    }

    /// What the connection becomes with this response.
    pub(crate) fn take_opened(&mut self) -> Option<Opened> {
        match &mut self.kind {
            Kind::Opened(opened) => opened.take(),
            _ => None,
        }
    }

    pub(crate) fn empty() -> Body {
        Body::of(Kind::Whole(None))
    }

    pub(crate) fn bridge(bridge: OpenBridge) -> Body {
        Body::of(Kind::Opened(Some(Opened::Bridge(bridge))))
    }

    pub(crate) fn events(stream: EventStream) -> Body {
        Body::of(Kind::Events(Box::new(stream)))
    }
}

impl From<Answer> for Body {
    fn from(answer: Answer) -> Body {
        match answer {
            Answer::Whole(bytes) => Body::from(bytes),
            Answer::Streaming(body) => Body::of(Kind::Module(body)),
            Answer::Socket(socket) => Body::of(Kind::Opened(Some(Opened::Socket(socket)))),
        }
    }
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(bytes: B) -> Body {
        let bytes = bytes.into();
        Body::of(Kind::Whole((!bytes.is_empty()).then_some(bytes)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.kind {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Module(body) => body.poll_frame(cx),
            Kind::Opened(_) => Poll::Ready(None),
            Kind::Events(stream) => stream
                .poll_next(cx)
                .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Whole(None) | Kind::Opened(_))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Opened(_) => SizeHint::with_exact(0),
            Kind::Module(_) | Kind::Events(_) => SizeHint::default(),
        }
    }
}
