//! The functions that a module may call for a WebSocket. They only translate: what may be done when is the exchange's
//! [`Socket`](crate::modules::exchange::socket::Socket) to say.

use http::HeaderMap;
use http::header::{
    CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
};
use midplane_abi::{Header, Request, Slice, Status, message, status};

use super::read::fields;
use crate::modules::exchange::socket::{Close, Done, Kind, Received};
use crate::modules::exchange::{self, Guard};

pub(super) unsafe extern "C" fn ws_accept(
    request: Request,
    protocol: Slice,
    headers: *const Header,
    headers_len: usize,
    message_bytes: usize,
) -> Status {
    // SAFETY: borrowed for the call, by the ABI.
    let (protocol, headers) = unsafe { (protocol.bytes(), fields(headers, headers_len)) };
    let Some(mut exchange) = exchange::find(request) else {
        return status::GONE;
    };
    let Some(headers) = headers else {
        return status::INVALID;
    };
    let done = exchange.accept_socket(protocol, without_handshake(headers), message_bytes);
    if done == Done::Yes {
        wake_outside_poll(exchange);
    }
    answer(done)
}

pub(super) unsafe extern "C" fn ws_recv(
    request: Request,
    kind: *mut u32,
    dst: *mut u8,
    cap: usize,
    len: *mut usize,
) -> Status {
    let Some(mut exchange) = exchange::find(request) else {
        return status::GONE;
    };
    let Some(socket) = exchange.socket.as_mut() else {
        return status::INVALID;
    };
    if kind.is_null() || len.is_null() || (dst.is_null() && cap > 0) {
        return status::INVALID;
    }
    let had_room = socket.has_room();
    let (answer, code, bytes) = match socket.receive(cap) {
        None => return status::INVALID,
        Some(Received::Nothing) => return status::PENDING,
        Some(Received::TooSmall(needed)) => {
            // SAFETY: `len` is the caller's place for the length, by the ABI.
            unsafe { len.write(needed) };
            return status::TOO_SMALL;
        }
        Some(Received::Message(message)) => (status::OK, number(message.kind), message.bytes),
        Some(Received::End(close)) => {
            let reason = &close.reason[..close.reason.floor_char_boundary(cap)];
            let reason = bytes::Bytes::copy_from_slice(reason.as_bytes());
            (status::END, u32::from(close.code), reason)
        }
    };
    let reopened = !had_room && socket.has_room();
    if reopened {
        wake_outside_poll(exchange);
    } else {
        drop(exchange);
    }
    if !bytes.is_empty() {
        // SAFETY: `dst` has room for `cap` bytes by the ABI, and there are no more.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), dst, bytes.len()) };
    }
    // SAFETY: `len` is the caller's place for the length, by the ABI.
    unsafe { len.write(bytes.len()) };
    // SAFETY: `kind` is the caller's place for the kind, by the ABI.
    unsafe { kind.write(code) };
    answer
}

pub(super) unsafe extern "C" fn ws_send(request: Request, kind: u32, bytes: Slice) -> Status {
    let Some(mut exchange) = exchange::find(request) else {
        return status::GONE;
    };
    let kind = match kind {
        message::TEXT => Kind::Text,
        message::BINARY => Kind::Binary,
        _ => return status::INVALID,
    };
    let Some(socket) = exchange.socket.as_mut() else {
        return status::INVALID;
    };
    // SAFETY: borrowed for the call, by the ABI.
    let done = socket.send(kind, unsafe { bytes.bytes() }.unwrap_or_default());
    if done == Done::Yes {
        wake_outside_poll(exchange);
    }
    answer(done)
}

pub(super) unsafe extern "C" fn ws_close(request: Request, code: u16, reason: Slice) -> Status {
    // SAFETY: borrowed for the call, by the ABI.
    let reason = unsafe { reason.bytes() }.unwrap_or_default();
    let Some(mut exchange) = exchange::find(request) else {
        return status::GONE;
    };
    let (Some(socket), Ok(reason)) = (exchange.socket.as_mut(), std::str::from_utf8(reason)) else {
        return status::INVALID;
    };
    let done = socket.close(Close {
        code,
        reason: reason.to_owned().into(),
    });
    if done == Done::Yes {
        wake_outside_poll(exchange);
    }
    answer(done)
}

fn answer(done: Done) -> Status {
    match done {
        Done::Yes => status::OK,
        Done::Full => status::FULL,
        Done::TooLarge => status::TOO_LARGE,
        Done::Invalid => status::INVALID,
        Done::Gone => status::GONE,
    }
}

fn number(kind: Kind) -> u32 {
    match kind {
        Kind::Text => message::TEXT,
        Kind::Binary => message::BINARY,
    }
}

/// The handshake's own fields are the kernel's, and a 101 has no content (RFC 9110 section 8.6).
fn without_handshake(mut headers: HeaderMap) -> HeaderMap {
    for name in [
        CONTENT_LENGTH,
        SEC_WEBSOCKET_ACCEPT,
        SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION,
    ] {
        headers.remove(name);
    }
    headers
}

/// What was put down is looked at after the poll that it was put down in; at another time the task has to be woken for it.
fn wake_outside_poll(exchange: Guard<'_>) {
    let waker = exchange.waker_outside_poll();
    // Outside the lock: waking runs code of the runtime.
    drop(exchange);
    if let Some(waker) = waker {
        waker.wake();
    }
}
