//! A WebSocket in a module process: between the lane and the executor's call, as the wire is in the kernel.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::BytesMut;

use super::stream::Stream;
use crate::isolation::lane::Lane;
use crate::isolation::wire::{FromModule, pieces, socket_cost};
use crate::modules::exchange::socket::{Close, Kind, Message};
use crate::modules::executor::{Call, Fault};

/// What has come over the lane for a socket.
#[derive(Default)]
pub(super) struct Inbound {
    messages: VecDeque<Message>,
    /// Of a message that is not whole.
    partial: BytesMut,
    end: Option<Close>,
}

impl Inbound {
    pub(super) fn push(&mut self, kind: Kind, bytes: &[u8], last: bool) {
        self.partial.extend_from_slice(bytes);
        if last {
            self.messages.push_back(Message {
                kind,
                bytes: self.partial.split().freeze(),
            });
        }
    }

    pub(super) fn end(&mut self, close: Close) {
        self.end.get_or_insert(close);
    }
}

/// Moves messages both ways until the module has finished; `None` when the kernel has cancelled it.
pub(super) async fn drive(
    call: &mut Call,
    request: u64,
    stream: &Stream,
    lane: &Lane,
) -> Option<Result<(), Fault>> {
    let mut socket = Socket {
        call,
        request,
        stream,
        lane,
        over: false,
        told_closing: false,
    };
    poll_fn(|cx| socket.poll(cx)).await
}

struct Socket<'a> {
    call: &'a mut Call,
    request: u64,
    stream: &'a Stream,
    lane: &'a Lane,
    /// The kernel has ended it.
    over: bool,
    /// The module has closed it.
    told_closing: bool,
}

impl Socket<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), Fault>>> {
        if self.stream.poll_cancelled(cx).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            let moved = self.pass_in() | self.pass_out();
            match self.call.poll_woken(cx) {
                Some(Poll::Ready(outcome)) => {
                    self.pass_out();
                    return Poll::Ready(Some(outcome));
                }
                None if !moved => return Poll::Pending,
                Some(Poll::Pending) | None => {}
            }
        }
    }

    /// Puts down for the module what has come, as far as it has room; whether that was anything.
    fn pass_in(&mut self) -> bool {
        let mut taken = 0;
        let ended = self.stream.lock().inbound.end.take();
        while ended.is_some() || self.call.has_room() {
            let Some(message) = self.stream.lock().inbound.messages.pop_front() else {
                break;
            };
            taken += socket_cost(message.bytes.len());
            self.call.deliver(message);
        }
        if taken > 0 {
            let request = self.request;
            // A lane that is closed ends the process.
            let _ = self.lane.send(&FromModule::Room {
                request,
                bytes: taken,
            });
        }
        if let Some(close) = ended {
            self.over = true;
            for message in self.call.end_socket(close, true) {
                self.send(&message);
            }
            return true;
        }
        taken > 0
    }

    /// Passes on what the module sends, as far as the kernel has room; whether that was anything.
    fn pass_out(&mut self) -> bool {
        let mut moved = false;
        while !self.over && self.stream.has_credit() {
            let Some(message) = self.call.take_outbound() else {
                break;
            };
            self.stream.spend(socket_cost(message.bytes.len()));
            self.send(&message);
            moved = true;
        }
        if !self.told_closing
            && !self.over
            && let Some(close) = self.call.closing()
            && self.stream.has_credit()
        {
            self.told_closing = true;
            let _ = self.lane.send(&FromModule::Close {
                request: self.request,
                code: close.code,
                reason: &close.reason,
            });
        }
        moved
    }

    fn send(&self, message: &Message) {
        for (bytes, last) in pieces(&message.bytes) {
            // A lane that is closed ends the process.
            let _ = self.lane.send(&FromModule::Message {
                request: self.request,
                text: message.kind == Kind::Text,
                bytes,
                last,
            });
        }
    }
}
