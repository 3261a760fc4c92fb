//! A WebSocket of a request in a module process: the kernel's side of it, where the loader's host functions are for others.

use midplane_abi::Request;

use super::lanes::RequestLane;
use super::task::Task;
use crate::isolation::lane::ReadError;
use crate::isolation::wire::{Field, ToModule, pieces, socket_cost};
use crate::modules::exchange::socket::{Close, Done, Kind, Received};
use crate::modules::exchange::{self, Exchange, INPUT_WINDOW_LEN};

/// How far a socket has come over the lane.
#[derive(Default)]
pub(super) struct Progress {
    /// What has been sent to the module, in the window's measure.
    sent: usize,
    /// It was told how the socket ends.
    ended: bool,
}

impl Task {
    /// Moves what the client has sent over the lane, as far as the module has room.
    pub(super) fn queue_messages(&mut self, exchange: &mut Exchange) {
        let granted = INPUT_WINDOW_LEN.saturating_add(exchange.input.granted);
        let Some(socket) = &mut exchange.socket else {
            return;
        };
        let request = self.request().0;
        // What comes before the end goes with it: the module is to know at once.
        while self.socket.sent < granted || socket.is_ended() {
            match socket.receive(usize::MAX) {
                Some(Received::Message(message)) => {
                    self.socket.sent += socket_cost(message.bytes.len());
                    for (bytes, last) in pieces(&message.bytes) {
                        let text = message.kind == Kind::Text;
                        self.queue(&ToModule::Message {
                            request,
                            text,
                            bytes,
                            last,
                        });
                    }
                }
                Some(Received::End(close)) => {
                    if !std::mem::replace(&mut self.socket.ended, true) {
                        self.queue(&ToModule::SocketEnd {
                            request,
                            code: close.code,
                            reason: &close.reason,
                        });
                    }
                    return;
                }
                Some(Received::Nothing | Received::TooSmall(_)) | None => return,
            }
        }
    }
}

/// The module takes the handshake.
pub(super) fn accept(
    exchange: &mut Exchange,
    protocol: Option<&[u8]>,
    headers: &[(&str, Field<'_>)],
    message_len_max: usize,
) -> Result<(), ReadError> {
    let fields = headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.0));
    let headers = exchange::header_map(fields)
        .ok_or(ReadError::Forbidden("header fields that are not valid"))?;
    match exchange.accept_socket(protocol, headers, message_len_max) {
        Done::Yes => Ok(()),
        _ => Err(ReadError::Forbidden("a handshake that cannot be taken")),
    }
}

/// The module sends a message, or a piece of one.
pub(super) fn send(
    lane: &RequestLane,
    request: Request,
    exchange: &mut Exchange,
    kind: Kind,
    bytes: &[u8],
    last: bool,
) -> Result<(), ReadError> {
    let Some(socket) = &mut exchange.socket else {
        return Err(ReadError::Forbidden("a message without a socket"));
    };
    let Some(message) = lane.join(request, bytes, last, socket.message_len_max()) else {
        return Err(ReadError::Forbidden("a message that is too large"));
    };
    let Some(message) = message else {
        // Not whole yet.
        return Ok(());
    };
    match socket.send(kind, &message) {
        Done::Yes => {
            exchange.output.received += socket_cost(message.len());
            // So that the task is polled when it has been taken, and makes room in the other process.
            socket.tell_when_empty();
            Ok(())
        }
        // It was closed meanwhile.
        Done::Gone => Ok(()),
        Done::Full | Done::TooLarge | Done::Invalid => {
            Err(ReadError::Forbidden("a message that may not be sent now"))
        }
    }
}

/// The module closes the socket.
pub(super) fn close(exchange: &mut Exchange, code: u16, reason: &str) -> Result<(), ReadError> {
    let Some(socket) = &mut exchange.socket else {
        return Err(ReadError::Forbidden(
            "the end of a socket that is not there",
        ));
    };
    match socket.close(Close::because(code, reason.to_owned())) {
        // It may have been closed meanwhile.
        Done::Yes | Done::Gone => Ok(()),
        Done::Full | Done::TooLarge | Done::Invalid => Err(ReadError::Forbidden(
            "the end of a socket that is not valid",
        )),
    }
}
