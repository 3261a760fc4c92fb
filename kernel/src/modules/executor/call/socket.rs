//! A call as a WebSocket: what the wire's side needs of it once the handshake has been taken.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Call, Fault, POLLS_IN_ROW_MAX};
use crate::modules::exchange::socket::{Close, Message, Socket};
use crate::modules::generation::Generation;

impl Call {
    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// The answer has begun.
    pub(crate) fn set_streaming(&mut self) {
        if let Some(task) = &mut self.task {
            task.set_streaming();
        }
    }

    /// Polls the module, if it is to be; ready when its task has ended.
    pub(crate) fn poll_woken(&mut self, cx: &Context<'_>) -> Option<Poll<Result<(), Fault>>> {
        if self.task.is_none() {
            return Some(Poll::Ready(Ok(())));
        }
        let why = self.take_why(cx)?;
        Some(self.poll_task(why))
    }

    /// Polls the module as long as it is to be; ready when its task has ended.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        for _ in 0..POLLS_IN_ROW_MAX {
            match self.poll_woken(cx) {
                None => return Poll::Pending,
                Some(Poll::Ready(outcome)) => return Poll::Ready(outcome),
                Some(Poll::Pending) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the module has room for another message.
    pub(crate) fn has_room(&self) -> bool {
        self.with_socket(|socket| socket.has_room())
    }

    /// Puts a message down for the module.
    pub(crate) fn deliver(&mut self, message: Message) {
        let mut exchange = self.lease.lock();
        if let Some(socket) = &mut exchange.socket {
            let waits = socket.deliver(message);
            exchange.woken |= waits;
        }
    }

    /// The next message of the module's.
    pub(crate) fn take_outbound(&mut self) -> Option<Message> {
        let (message, writable) =
            self.with_socket(|socket| (socket.take_outbound(), socket.take_writable()));
        self.writable |= writable;
        message
    }

    /// How the module closes it, if it does.
    pub(crate) fn closing(&self) -> Option<Close> {
        self.with_socket(|socket| socket.closing().cloned())
    }

    /// Ends it: the module finds `told`. What it sent before, if that is still wanted.
    pub(crate) fn end_socket(&mut self, told: Close, unsent_wanted: bool) -> Vec<Message> {
        let mut exchange = self.lease.lock();
        let Some(socket) = &mut exchange.socket else {
            return Vec::new();
        };
        let waits = socket.end(told);
        let unsent = std::iter::from_fn(|| socket.take_outbound()).collect();
        exchange.woken |= waits;
        if unsent_wanted { unsent } else { Vec::new() }
    }

    fn with_socket<T>(&self, act: impl FnOnce(&mut Socket) -> T) -> T {
        let mut exchange = self.lease.lock();
        let socket = exchange.socket.as_mut();
        act(socket.expect("the handshake was put down before the call began"))
    }
}
