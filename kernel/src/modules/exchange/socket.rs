//! A WebSocket as both sides touch it: the messages on their way, and how it ends.
//!
//! Nobody waits here. The module's side ([`Exchange::accept_socket`], [`Socket::receive`], [`Socket::send`], [`Socket::close`]) is told
//! that there is nothing, or no room; the wire's side learns from what it puts down or takes away that the module is to be
//! polled for it.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::Exchange;

/// Messages that wait for the module. More are left in the client's socket.
const INBOUND_MESSAGES_MAX: usize = 16;
/// The same in bytes: no message is read while so much waits, so that it may be exceeded by one.
const INBOUND_WINDOW_LEN: usize = super::INPUT_WINDOW_LEN;
/// Messages that wait for the client before the module is told to stop.
const OUTBOUND_MESSAGES_MAX: usize = 64;
/// The same in bytes, and as above.
const OUTBOUND_WINDOW_LEN: usize = super::OUTPUT_WINDOW_LEN;
/// A control frame has 125 bytes, of which two are the code (RFC 6455 section 5.5).
pub(crate) const REASON_LEN_MAX: usize = 123;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    /// UTF-8 if it is text.
    pub(crate) bytes: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Binary,
}

/// How a WebSocket ends (RFC 6455 section 7.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: Cow<'static, str>,
}

/// What the module takes a handshake with.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) protocol: Option<HeaderValue>,
    pub(crate) headers: HeaderMap,
    pub(crate) message_len_max: usize,
}

/// What the module receives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    Message(Message),
    /// The next message has so many bytes, and stays.
    TooSmall(usize),
    Nothing,
    End(&'a Close),
}

/// What became of something that the module does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Yes,
    /// No room: the module is polled when there is.
    Full,
    TooLarge,
    /// It makes no sense now, or its arguments do not hold.
    Invalid,
    /// The socket is closed.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Socket {
    /// Values of `Sec-WebSocket-Protocol`.
    offered: Vec<HeaderValue>,
    /// `[limits] websocket_message_bytes`
    message_len_max: usize,
    phase: Phase,
    /// Until the kernel takes it.
    accepted: Option<Accepted>,
    inbound: Queue,
    /// The module found nothing and waits.
    wanted: bool,
    ended: Option<Close>,
    outbound: Queue,
    /// The module was told to stop until there is room.
    full: bool,
    closing: Option<Close>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The module has not answered the handshake.
    Offered,
    Open,
    /// The module has closed it, and what it sent before is still on its way.
    Closing,
    Closed,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Message>,
    len: usize,
}

impl Queue {
    fn push(&mut self, message: Message) {
        self.len += message.bytes.len();
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.len -= message.bytes.len();
        Some(message)
    }

    fn has_room(&self, messages_max: usize, len_max: usize) -> bool {
        self.messages.len() < messages_max && self.len < len_max
    }
}

impl Close {
    pub(crate) const fn new(code: u16, reason: &'static str) -> Close {
        Close {
            code,
            reason: Cow::Borrowed(reason),
        }
    }

    /// `reason`, as much as fits of it.
    pub(crate) fn because(code: u16, mut reason: String) -> Close {
        reason.truncate(reason.floor_char_boundary(REASON_LEN_MAX));
        Close {
            code,
            reason: Cow::Owned(reason),
        }
    }

    /// Whether it may be sent (RFC 6455 section 7.4, and the registry of section 11.7).
    fn may_be_sent(&self) -> bool {
        matches!(self.code, 1000..=1003 | 1007..=1013 | 3000..=4999)
            && self.reason.len() <= REASON_LEN_MAX
    }
}

impl Exchange {
    /// Answers the request by taking its handshake; see [`Socket::accept`].
    pub(crate) fn accept_socket(
        &mut self,
        protocol: Option<&[u8]>,
        headers: HeaderMap,
        message_len_max: usize,
    ) -> Done {
        let Some(socket) = self.socket.as_mut().filter(|_| !self.output.started) else {
            return Done::Invalid;
        };
        let done = socket.accept(protocol, headers, message_len_max);
        if done == Done::Yes {
            // There is no other answer, and no body.
            self.output.started = true;
            self.output.ended = true;
        }
        done
    }
}

/// The module's side.
impl Socket {
    /// Takes the handshake. `message_len_max` 0 is the kernel's own, and no other is over it.
    fn accept(
        &mut self,
        protocol: Option<&[u8]>,
        headers: HeaderMap,
        message_len_max: usize,
    ) -> Done {
        if self.phase != Phase::Offered {
            return Done::Invalid;
        }
        let protocol = match protocol {
            None => None,
            Some(name) if self.offers(name) => HeaderValue::from_bytes(name).ok(),
            Some(_) => return Done::Invalid,
        };
        self.phase = Phase::Open;
        self.accepted = Some(Accepted {
            protocol,
            headers,
            message_len_max: match message_len_max {
                0 => self.message_len_max,
                own => own.min(self.message_len_max),
            },
        });
        Done::Yes
    }

    fn offers(&self, protocol: &[u8]) -> bool {
        self.offered
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|name| name.trim_ascii() == protocol)
    }

    /// The next message, if it has up to `len_max` bytes; `None` before the handshake was taken.
    pub(crate) fn receive(&mut self, len_max: usize) -> Option<Received<'_>> {
        if self.phase == Phase::Offered {
            return None;
        }
        Some(match self.inbound.messages.front() {
            Some(message) if message.bytes.len() > len_max => {
                Received::TooSmall(message.bytes.len())
            }
            Some(_) => Received::Message(self.inbound.pop().expect("there is one")),
            None => match &self.ended {
                Some(close) => Received::End(close),
                None => {
                    self.wanted = true;
                    Received::Nothing
                }
            },
        })
    }

    pub(crate) fn send(&mut self, kind: Kind, bytes: &[u8]) -> Done {
        match self.phase {
            Phase::Offered => return Done::Invalid,
            Phase::Closing | Phase::Closed => return Done::Gone,
            Phase::Open => {}
        }
        if bytes.len() > self.message_len_max {
            return Done::TooLarge;
        }
        if kind == Kind::Text && std::str::from_utf8(bytes).is_err() {
            return Done::Invalid;
        }
        if !self
            .outbound
            .has_room(OUTBOUND_MESSAGES_MAX, OUTBOUND_WINDOW_LEN)
        {
            self.full = true;
            return Done::Full;
        }
        self.outbound.push(Message {
            kind,
            bytes: Bytes::copy_from_slice(bytes),
        });
        Done::Yes
    }

    /// Closes it after what was sent.
    pub(crate) fn close(&mut self, close: Close) -> Done {
        match self.phase {
            Phase::Offered => return Done::Invalid,
            Phase::Closing | Phase::Closed => return Done::Gone,
            Phase::Open => {}
        }
        if !close.may_be_sent() {
            return Done::Invalid;
        }
        self.phase = Phase::Closing;
        self.closing = Some(close);
        Done::Yes
    }
}

/// The module's side, for a module in another process.
impl Socket {
    pub(crate) fn message_len_max(&self) -> usize {
        self.message_len_max
    }

    /// Has the module polled when nothing that it sent is left here.
    pub(crate) fn tell_when_empty(&mut self) {
        self.full = true;
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether nothing that it sent is left here.
    pub(crate) fn is_taken(&self) -> bool {
        self.outbound.messages.is_empty()
    }

    /// Values of `Sec-WebSocket-Protocol`.
    pub(crate) fn protocols(&self) -> &[HeaderValue] {
        &self.offered
    }
}

/// The wire's side.
impl Socket {
    /// For a handshake that offers these protocols; messages may have `message_len_max` bytes.
    pub(crate) fn offered(offered: Vec<HeaderValue>, message_len_max: usize) -> Socket {
        Socket {
            offered,
            message_len_max,
            phase: Phase::Offered,
            accepted: None,
            inbound: Queue::default(),
            wanted: false,
            ended: None,
            outbound: Queue::default(),
            full: false,
            closing: None,
        }
    }

    /// What the handshake was taken with; given once.
    pub(crate) fn take_accepted(&mut self) -> Option<Accepted> {
        self.accepted.take()
    }

    /// Whether another message fits for the module.
    pub(crate) fn has_room(&self) -> bool {
        self.inbound
            .has_room(INBOUND_MESSAGES_MAX, INBOUND_WINDOW_LEN)
    }

    /// Puts a message down for the module. Whether that waits for one and is to be polled.
    #[must_use]
    pub(crate) fn deliver(&mut self, message: Message) -> bool {
        self.inbound.push(message);
        std::mem::take(&mut self.wanted)
    }

    /// The next message of the module's.
    pub(crate) fn take_outbound(&mut self) -> Option<Message> {
        self.outbound.pop()
    }

    /// Whether the module is to be polled since there is room again: once, when nothing is left.
    #[must_use]
    pub(crate) fn take_writable(&mut self) -> bool {
        self.outbound.messages.is_empty() && std::mem::take(&mut self.full)
    }

    /// How the module has closed it; what it sent before may still be there.
    pub(crate) fn closing(&self) -> Option<&Close> {
        self.closing.as_ref()
    }

    /// It is closed: nothing is sent any more, and the module finds `close` behind what it has not received. Whether it waits
    /// for that.
    #[must_use]
    pub(crate) fn end(&mut self, close: Close) -> bool {
        self.phase = Phase::Closed;
        self.ended.get_or_insert(close);
        std::mem::take(&mut self.wanted) | std::mem::take(&mut self.full)
    }
}

#[cfg(test)]
mod tests;
