//! The functions that a module may call. Each finds what the handle names, puts down what is asked, and returns.

use std::cell::RefCell;
use std::ffi::c_void;

use midplane_abi::{self as abi, Header, Request, Slice, Status, status};

use super::host_call;
use super::host_metrics;
use super::host_socket::{ws_accept, ws_close, ws_recv, ws_send};
use super::owner::Owner;
use super::read::{pairs, text};
use crate::modules::descriptor::RoutePattern;
use crate::modules::exchange::{self, Head, InputEnd, OUTPUT_WINDOW_LEN, Refresh};
use crate::telemetry;

/// A failure's text is for a person: more than this is not read.
const MESSAGE_LEN_MAX: usize = 8 * 1024;
/// A log line's fields.
const FIELDS_LEN_MAX: usize = 32 * 1024;

thread_local! {
    /// What the call that is on this thread's stack said of its failure.
    static FAILURE: RefCell<String> = const { RefCell::new(String::new()) };
}

pub(super) static TABLE: abi::Host = abi::Host {
    size: size_of::<abi::Host>() as u32,
    abi_major: abi::MAJOR,
    abi_minor: abi::MINOR,
    fail,
    log,
    log_level,
    wake,
    body_read,
    respond,
    respond_start,
    body_write,
    body_end,
    secret_get,
    secret_refresh,
    body_limit,
    state_write,
    get_api,
    ws_accept,
    ws_recv,
    ws_send,
    ws_close,
};

pub(super) fn clear_failure() {
    FAILURE.with_borrow_mut(String::clear);
}

pub(super) fn take_failure() -> String {
    let text = FAILURE.take();
    if text.is_empty() {
        "the module gave no reason".to_owned()
    } else {
        text
    }
}

unsafe extern "C" fn fail(message: Slice) {
    // SAFETY: borrowed for the call, by the ABI.
    let text = unsafe { text(message, MESSAGE_LEN_MAX) };
    // A module's thread may call this while its own thread-locals are being destroyed.
    let _ = FAILURE.try_with(|failure| failure.replace(text));
}

unsafe extern "C" fn log(
    owner: u64,
    request: Request,
    level: u32,
    target: Slice,
    message: Slice,
    fields: Slice,
) {
    let Some(owner) = Owner::find(owner) else {
        return;
    };
    // SAFETY: borrowed for the call, by the ABI.
    let (target, message, fields) = unsafe {
        (
            text(target, 256),
            text(message, MESSAGE_LEN_MAX),
            fields.bytes().map(|_| text(fields, FIELDS_LEN_MAX)),
        )
    };
    let (request_id, session) = match exchange::find(request)
        .as_ref()
        .and_then(|exchange| exchange.context.as_ref())
    {
        Some(context) => (
            context.request_id.to_str().ok().map(str::to_owned),
            context.session.clone(),
        ),
        None => (None, None),
    };
    let line = telemetry::ModuleLine {
        module: &owner.name,
        generation: owner.number,
        request_id: request_id.as_deref(),
        session: session.as_ref().map(|session| session.id()),
        level: telemetry::level_of(level),
        target: &target,
        message: &message,
        fields: fields.as_deref(),
    };
    owner.log.line(line);
}

unsafe extern "C" fn log_level(owner: u64) -> u32 {
    Owner::find(owner).map_or(u32::MAX, |owner| owner.log.max_level(&owner.name))
}

unsafe extern "C" fn wake(request: Request) -> Status {
    let waker = match exchange::find(request) {
        Some(mut exchange) => {
            exchange.woken = true;
            exchange.waker.clone()
        }
        None => return status::GONE,
    };
    // Outside the lock: waking runs code of the runtime.
    if let Some(waker) = waker {
        waker.wake();
    }
    status::OK
}

unsafe extern "C" fn body_read(
    request: Request,
    dst: *mut u8,
    cap: usize,
    len: *mut usize,
) -> Status {
    let Some(mut exchange) = exchange::find(request) else {
        return status::GONE;
    };
    if exchange.input.chunks.is_empty() {
        return match exchange.input.end {
            InputEnd::Whole => status::END,
            InputEnd::TooLarge => status::TOO_LARGE,
            InputEnd::Disconnected => status::DISCONNECTED,
            InputEnd::Open => {
                exchange.input.wanted = true;
                let waker = exchange.waker_outside_poll();
                drop(exchange);
                // Outside the lock: waking runs code of the runtime.
                if let Some(waker) = waker {
                    waker.wake();
                }
                status::PENDING
            }
        };
    }
    let input = &mut exchange.input;
    if dst.is_null() || len.is_null() || cap == 0 {
        return status::INVALID;
    }
    let Some(chunk) = input.chunks.front_mut() else {
        return status::INVALID;
    };
    let taken = chunk.split_to(cap.min(chunk.len()));
    if chunk.is_empty() {
        input.chunks.pop_front();
    }
    input.len -= taken.len();
    // SAFETY: `dst` has room for `cap` bytes by the ABI, and `taken` is no longer.
    unsafe { std::ptr::copy_nonoverlapping(taken.as_ptr(), dst, taken.len()) };
    // SAFETY: `len` is the caller's place for the length, by the ABI.
    unsafe { len.write(taken.len()) };
    status::OK
}

unsafe extern "C" fn respond(
    request: Request,
    code: u16,
    headers: *const Header,
    headers_len: usize,
    body: Slice,
) -> Status {
    // SAFETY: borrowed for the call, by the ABI.
    let (head, body) = unsafe {
        (
            head(code, headers, headers_len),
            body.bytes().unwrap_or_default(),
        )
    };
    let Some(mut head) = head else {
        return status::INVALID;
    };
    head.headers.remove(http::header::CONTENT_LENGTH);
    let Some(mut exchange) = exchange::find(request) else {
        return status::GONE;
    };
    let output = &mut exchange.output;
    if output.started {
        return status::INVALID;
    }
    output.head = Some(head);
    output.started = true;
    output.bytes.extend_from_slice(body);
    output.ended = true;
    status::OK
}

unsafe extern "C" fn respond_start(
    request: Request,
    code: u16,
    headers: *const Header,
    headers_len: usize,
) -> Status {
    // SAFETY: borrowed for the call, by the ABI.
    let Some(head) = (unsafe { head(code, headers, headers_len) }) else {
        return status::INVALID;
    };
    let Some(mut exchange) = exchange::find(request) else {
        return status::GONE;
    };
    let output = &mut exchange.output;
    if output.started {
        return status::INVALID;
    }
    output.head = Some(head);
    output.started = true;
    status::OK
}

unsafe extern "C" fn body_write(request: Request, bytes: Slice) -> Status {
    let Some(mut exchange) = exchange::find(request) else {
        return status::GONE;
    };
    let output = &mut exchange.output;
    if !output.started || output.ended || output.full {
        return status::INVALID;
    }
    // SAFETY: borrowed for the call, by the ABI.
    output
        .bytes
        .extend_from_slice(unsafe { bytes.bytes() }.unwrap_or_default());
    output.full = output.bytes.len() >= OUTPUT_WINDOW_LEN;
    if output.full {
        status::FULL
    } else {
        status::OK
    }
}

unsafe extern "C" fn body_end(request: Request) -> Status {
    let Some(mut exchange) = exchange::find(request) else {
        return status::GONE;
    };
    let output = &mut exchange.output;
    if !output.started || output.ended {
        return status::INVALID;
    }
    output.ended = true;
    status::OK
}

unsafe extern "C" fn secret_get(
    request: Request,
    dst: *mut u8,
    cap: usize,
    len: *mut usize,
) -> Status {
    let session = {
        let Some(exchange) = exchange::find(request) else {
            return status::GONE;
        };
        let Some(context) = &exchange.context else {
            return status::GONE;
        };
        if !context.generation.grants.secrets {
            return deny_secret(context);
        }
        context.session.clone()
    };
    let Some(session) = session else {
        return status::GONE;
    };
    let Some(secret) = session.secret() else {
        let changed = session.secret_key_id().is_some() && !session.is_revoked();
        return if changed {
            status::PENDING
        } else {
            status::GONE
        };
    };
    if dst.is_null() || len.is_null() {
        return status::INVALID;
    }
    let bytes = secret.expose().as_bytes();
    // SAFETY: `len` is the caller's place for the length, by the ABI.
    unsafe { len.write(bytes.len()) };
    if bytes.len() > cap {
        return status::TOO_SMALL;
    }
    // SAFETY: `dst` has room for `cap` bytes by the ABI, and the secret is no longer.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), dst, bytes.len()) };
    status::OK
}

fn deny_secret(context: &exchange::Context) -> Status {
    let request_id = context.request_id.to_str().unwrap_or_default();
    context.generation.denied_secret(request_id);
    status::DENIED
}

unsafe extern "C" fn secret_refresh(
    request: Request,
    dst: *mut u8,
    cap: usize,
    len: *mut usize,
) -> Status {
    let Some(mut exchange) = exchange::find(request) else {
        return status::GONE;
    };
    match &exchange.context {
        Some(context) if !context.generation.grants.secrets => return deny_secret(context),
        Some(context)
            if context.session.as_ref().is_some_and(|session| {
                session.secret_key_id().is_some() && !session.is_revoked()
            }) => {}
        _ => return status::GONE,
    }
    match std::mem::take(&mut exchange.refresh) {
        Refresh::Idle | Refresh::Wanted => {
            exchange.refresh = Refresh::Wanted;
            let waker = exchange.waker_outside_poll();
            // It is started after the next poll.
            exchange.woken |= waker.is_some();
            drop(exchange);
            if let Some(waker) = waker {
                waker.wake();
            }
            status::PENDING
        }
        Refresh::Running => {
            exchange.refresh = Refresh::Running;
            status::PENDING
        }
        Refresh::Done(Ok(())) => status::OK,
        Refresh::Done(Err(error)) => {
            drop(exchange);
            let reason = error.to_string();
            if !dst.is_null() && !len.is_null() {
                let taken = reason.floor_char_boundary(cap);
                // SAFETY: `dst` has room for `cap` bytes by the ABI, and `taken` is no more.
                unsafe { std::ptr::copy_nonoverlapping(reason.as_ptr(), dst, taken) };
                // SAFETY: `len` is the caller's place for the length, by the ABI.
                unsafe { len.write(taken) };
            }
            status::FAILED
        }
    }
}

unsafe extern "C" fn body_limit(owner: u64, pattern: Slice, bytes: u64) -> Status {
    // SAFETY: borrowed for the call, by the ABI.
    let pattern = unsafe { text(pattern, 1024) };
    let Some(owner) = Owner::find(owner) else {
        return status::GONE;
    };
    let Some(pattern) = RoutePattern::parse(&pattern) else {
        return status::INVALID;
    };
    if bytes > owner.body_bytes_max {
        return status::DENIED;
    }
    if owner.add_body_limit(pattern, bytes) {
        status::OK
    } else {
        status::INVALID
    }
}

unsafe extern "C" fn state_write(owner: u64, bytes: Slice) -> Status {
    let Some(owner) = Owner::find(owner) else {
        return status::GONE;
    };
    // SAFETY: borrowed for the call, by the ABI.
    owner.add_state(unsafe { bytes.bytes() }.unwrap_or_default())
}

unsafe extern "C" fn get_api(name: Slice, version: u32) -> *const c_void {
    // SAFETY: borrowed for the call, by the ABI.
    let name = unsafe { name.bytes() }.unwrap_or_default();
    if name == abi::CALL_API.as_bytes() && version == abi::CALL_API_VERSION {
        return std::ptr::from_ref(&host_call::TABLE).cast();
    }
    if name == abi::METRICS_API.as_bytes() && version == abi::METRICS_API_VERSION {
        return std::ptr::from_ref(&host_metrics::TABLE).cast();
    }
    std::ptr::null()
}

/// The head of a response; `None` when it is not valid HTTP.
///
/// # Safety
/// `headers` points to `len` fields that are valid for the call.
unsafe fn head(code: u16, headers: *const Header, len: usize) -> Option<Head> {
    // SAFETY: by the contract.
    Head::new(code, unsafe { pairs(headers, len) }?)
}
