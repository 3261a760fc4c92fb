//! WebSockets in unit tests: what a kernel and its client are to the module, without frames.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use midplane_abi::{Header, Request, Slice, Status, message, status};

use super::Frames;
use super::exchange::{Call, State, with_call};
use crate::ws::{CloseFrame, Message, Utf8Bytes};

/// As the kernel's.
const OUTBOUND_MESSAGES_MAX: usize = 64;

/// What kernel and module both touch.
#[derive(Default)]
pub(super) struct Socket {
    open: bool,
    accepted: Option<(StatusCode, HeaderMap)>,
    inbound: VecDeque<Message>,
    outbound: VecDeque<Message>,
    full: bool,
    writable: bool,
    /// What the client is told in the end.
    closing: Option<CloseFrame>,
    /// What the module is.
    ended: Option<Option<CloseFrame>>,
}

impl Socket {
    pub(super) fn take_accepted(&mut self) -> Option<(StatusCode, HeaderMap)> {
        self.accepted.take()
    }

    /// Whether the module is to be polled since there is room again.
    pub(super) fn take_writable(&mut self) -> bool {
        std::mem::take(&mut self.writable)
    }

    /// The module's task has ended.
    pub(super) fn end_by_module(&mut self, code: u16, reason: &'static str) {
        self.close(CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        });
    }

    fn close(&mut self, frame: CloseFrame) {
        self.open = false;
        self.ended.get_or_insert_with(|| Some(frame.clone()));
        self.closing.get_or_insert(frame);
    }
}

/// The client's end.
pub(crate) struct ClientSocket {
    call: Arc<Call>,
    headers: HeaderMap,
    over: bool,
    /// Dropping it is the client leaving.
    _frames: Frames,
}

impl ClientSocket {
    pub(super) fn new(call: Arc<Call>, headers: HeaderMap, frames: Frames) -> ClientSocket {
        ClientSocket {
            call,
            headers,
            over: false,
            _frames: frames,
        }
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn send(&self, message: Message) {
        if let Some(socket) = &mut self.call.state().socket
            && socket.ended.is_none()
        {
            match message {
                Message::Close(frame) => {
                    socket.open = false;
                    // A close frame is answered with its own code (RFC 6455 section 5.5.1).
                    socket.closing = Some(frame.clone().unwrap_or(CloseFrame {
                        code: 1005,
                        reason: Utf8Bytes::default(),
                    }));
                    socket.ended = Some(frame);
                }
                message => socket.inbound.push_back(message),
            }
        }
        self.call.changed.notify_one();
        self.call.told.notify_one();
    }

    pub(crate) async fn recv(&mut self) -> Option<Message> {
        while !self.over {
            let told = self.call.told.notified();
            if let Some(message) = self.take() {
                self.over = matches!(message, Message::Close(_));
                return Some(message);
            }
            told.await;
        }
        None
    }

    fn take(&self) -> Option<Message> {
        let mut state = self.call.state();
        let socket = state.socket.as_mut()?;
        let message = socket.outbound.pop_front();
        if socket.outbound.is_empty() && std::mem::take(&mut socket.full) {
            socket.writable = true;
            self.call.changed.notify_one();
        }
        message.or_else(|| {
            socket
                .closing
                .take()
                .map(|frame| Message::Close(Some(frame)))
        })
    }
}

pub(super) unsafe extern "C" fn ws_accept(
    request: Request,
    protocol: Slice,
    headers: *const Header,
    headers_len: usize,
    _message_bytes: usize,
) -> Status {
    // SAFETY: borrowed for the call.
    let protocol = unsafe { protocol.bytes() };
    let fields = match headers_len {
        0 => &[],
        // SAFETY: the caller's array, valid for the call.
        len => unsafe { std::slice::from_raw_parts(headers, len) },
    };
    let mut map = HeaderMap::new();
    for field in fields {
        // SAFETY: borrowed for the call.
        let (name, value) = unsafe { (field.name.bytes(), field.value.bytes()) };
        let name = HeaderName::from_bytes(name.unwrap_or_default());
        let value = HeaderValue::from_bytes(value.unwrap_or_default());
        let (Ok(name), Ok(value)) = (name, value) else {
            return status::INVALID;
        };
        map.append(name, value);
    }
    if let Some(protocol) = protocol.and_then(|name| HeaderValue::from_bytes(name).ok()) {
        map.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    with_socket(request, |socket, _call| {
        if socket.open || socket.accepted.is_some() {
            return status::INVALID;
        }
        socket.open = true;
        socket.accepted = Some((StatusCode::SWITCHING_PROTOCOLS, map));
        status::OK
    })
}

pub(super) unsafe extern "C" fn ws_recv(
    request: Request,
    kind: *mut u32,
    dst: *mut u8,
    cap: usize,
    len: *mut usize,
) -> Status {
    with_socket(request, |socket, _call| {
        let (answer, code, bytes) = match (socket.inbound.front(), &socket.ended) {
            (Some(Message::Text(text)), _) => {
                (status::OK, message::TEXT, Bytes::from(text.clone()))
            }
            (Some(Message::Binary(bytes)), _) => (status::OK, message::BINARY, bytes.clone()),
            (Some(Message::Close(_)), _) => return status::INVALID,
            (None, None) => return status::PENDING,
            (None, Some(None)) => (status::END, 1005, Bytes::new()),
            (None, Some(Some(frame))) => {
                let mut reason = Bytes::from(frame.reason.clone());
                reason.truncate(frame.reason.floor_char_boundary(cap));
                (status::END, u32::from(frame.code), reason)
            }
        };
        // SAFETY: the caller's place for the length.
        unsafe { *len = bytes.len() };
        if bytes.len() > cap {
            return status::TOO_SMALL;
        }
        socket.inbound.pop_front();
        // SAFETY: `dst` has room for `cap` bytes, and there are no more.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), dst, bytes.len()) };
        // SAFETY: the caller's place for the kind.
        unsafe { *kind = code };
        answer
    })
}

pub(super) unsafe extern "C" fn ws_send(request: Request, kind: u32, bytes: Slice) -> Status {
    // SAFETY: borrowed for the call.
    let bytes = Bytes::copy_from_slice(unsafe { bytes.bytes() }.unwrap_or_default());
    let sent = match kind {
        message::TEXT => Utf8Bytes::try_from(bytes).ok().map(Message::Text),
        message::BINARY => Some(Message::Binary(bytes)),
        _ => None,
    };
    with_socket(request, |socket, call| {
        let Some(sent) = sent else {
            return status::INVALID;
        };
        if !socket.open {
            return status::GONE;
        }
        if socket.outbound.len() >= OUTBOUND_MESSAGES_MAX {
            socket.full = true;
            return status::FULL;
        }
        socket.outbound.push_back(sent);
        call.told.notify_one();
        status::OK
    })
}

pub(super) unsafe extern "C" fn ws_close(request: Request, code: u16, reason: Slice) -> Status {
    // SAFETY: borrowed for the call.
    let reason = Bytes::copy_from_slice(unsafe { reason.bytes() }.unwrap_or_default());
    with_socket(request, |socket, call| {
        let Ok(reason) = Utf8Bytes::try_from(reason) else {
            return status::INVALID;
        };
        if !socket.open {
            return status::GONE;
        }
        if !matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999) || reason.len() > 123 {
            return status::INVALID;
        }
        socket.close(CloseFrame { code, reason });
        call.told.notify_one();
        status::OK
    })
}

fn with_socket(request: Request, act: impl FnOnce(&mut Socket, &Call) -> Status) -> Status {
    with_call(request, |call, state: &mut State| match &mut state.socket {
        Some(socket) => act(socket, call),
        None => status::INVALID,
    })
}
