//! The functions that a module under test calls; those of its calls and WebSockets are in files of their own.

use std::ffi::c_void;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use midplane_abi::{self as abi, Header, Request, Slice, Status, status};

use super::calls;
use super::exchange::with_call;
use super::metrics;
use super::socket::{ws_accept, ws_close, ws_recv, ws_send};

/// The response window, as the kernel's default.
const WINDOW_LEN: usize = 64 * 1024;

thread_local! {
    /// What `save` has written.
    static SAVED: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    static FAILURE: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

/// What `save` has written on this thread.
pub(super) fn take_saved() -> Vec<u8> {
    SAVED.take()
}

pub(super) fn take_failure() -> String {
    FAILURE
        .take()
        .unwrap_or_else(|| "no reason was given".to_owned())
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

unsafe extern "C" fn fail(message: Slice) {
    // SAFETY: borrowed for the call.
    let text = unsafe { message.bytes() }.unwrap_or_default();
    FAILURE.set(Some(String::from_utf8_lossy(text).into_owned()));
}

unsafe extern "C" fn log(
    _owner: u64,
    _request: Request,
    _level: u32,
    _target: Slice,
    _message: Slice,
    _fields: Slice,
) {
}

unsafe extern "C" fn log_level(_owner: u64) -> u32 {
    u32::MAX
}

unsafe extern "C" fn wake(request: Request) -> Status {
    with_call(request, |call, _state| {
        call.changed.notify_one();
        status::OK
    })
}

unsafe extern "C" fn body_read(
    request: Request,
    dst: *mut u8,
    cap: usize,
    len: *mut usize,
) -> Status {
    with_call(request, |_call, state| match state.input.pop_front() {
        Some(mut bytes) => {
            let taken = bytes.split_to(cap.min(bytes.len()));
            // SAFETY: `dst` has room for `cap` bytes, and `taken` is no longer.
            unsafe { std::ptr::copy_nonoverlapping(taken.as_ptr(), dst, taken.len()) };
            // SAFETY: the caller's place for the length.
            unsafe { *len = taken.len() };
            if !bytes.is_empty() {
                state.input.push_front(bytes);
            }
            status::OK
        }
        None if state.input_ended => status::END,
        None => status::PENDING,
    })
}

unsafe extern "C" fn respond(
    request: Request,
    code: u16,
    headers: *const Header,
    headers_len: usize,
    body: Slice,
) -> Status {
    // SAFETY: handed on.
    let started = unsafe { respond_start(request, code, headers, headers_len) };
    if started != status::OK {
        return started;
    }
    // SAFETY: handed on.
    unsafe { body_write(request, body) };
    // SAFETY: nothing is borrowed.
    unsafe { body_end(request) }
}

unsafe extern "C" fn respond_start(
    request: Request,
    code: u16,
    headers: *const Header,
    headers_len: usize,
) -> Status {
    with_call(request, |_call, state| {
        let Ok(code) = StatusCode::from_u16(code) else {
            return status::INVALID;
        };
        // SAFETY: the caller's array, valid for the call.
        let Some(map) = (unsafe { header_map(headers, headers_len) }) else {
            return status::INVALID;
        };
        state.head = Some((code, map));
        status::OK
    })
}

/// The fields as a map; `None` when one is not valid HTTP.
///
/// # Safety
/// `headers` points to `len` fields that are valid for the call.
pub(super) unsafe fn header_map(headers: *const Header, len: usize) -> Option<HeaderMap> {
    let fields: &[Header] = match len {
        0 => &[],
        // SAFETY: by the contract.
        len => unsafe { std::slice::from_raw_parts(headers, len) },
    };
    let mut map = HeaderMap::new();
    for field in fields {
        // SAFETY: by the contract.
        let (name, value) = unsafe { (field.name.bytes(), field.value.bytes()) };
        let name = HeaderName::from_bytes(name.unwrap_or_default()).ok()?;
        map.append(
            name,
            HeaderValue::from_bytes(value.unwrap_or_default()).ok()?,
        );
    }
    Some(map)
}

unsafe extern "C" fn body_write(request: Request, bytes: Slice) -> Status {
    with_call(request, |_call, state| {
        // SAFETY: borrowed for the call.
        let bytes = Bytes::copy_from_slice(unsafe { bytes.bytes() }.unwrap_or_default());
        state.output_len += bytes.len();
        if !bytes.is_empty() {
            state.output.push_back(bytes);
        }
        if state.output_len > WINDOW_LEN {
            status::FULL
        } else {
            status::OK
        }
    })
}

unsafe extern "C" fn body_end(request: Request) -> Status {
    with_call(request, |_call, _state| status::OK)
}

unsafe extern "C" fn secret_get(
    request: Request,
    dst: *mut u8,
    cap: usize,
    len: *mut usize,
) -> Status {
    with_call(request, |_call, state| {
        let Some(secret) = &state.secret else {
            return status::GONE;
        };
        // SAFETY: the caller's place for the length.
        unsafe { *len = secret.len() };
        if secret.len() > cap {
            return status::TOO_SMALL;
        }
        // SAFETY: `dst` has room for `cap` bytes, and the secret is no longer.
        unsafe { std::ptr::copy_nonoverlapping(secret.as_ptr(), dst, secret.len()) };
        status::OK
    })
}

unsafe extern "C" fn secret_refresh(
    request: Request,
    dst: *mut u8,
    cap: usize,
    len: *mut usize,
) -> Status {
    with_call(request, |_call, state| match state.refreshed.clone() {
        Some(Ok(secret)) => {
            state.secret = Some(secret);
            status::OK
        }
        Some(Err(reason)) => {
            let taken = reason.len().min(cap);
            // SAFETY: `dst` has room for `cap` bytes, and `taken` is no more.
            unsafe { std::ptr::copy_nonoverlapping(reason.as_ptr(), dst, taken) };
            // SAFETY: the caller's place for the length.
            unsafe { *len = taken };
            status::FAILED
        }
        None if state.secret.is_some() => status::OK,
        None => status::GONE,
    })
}

unsafe extern "C" fn body_limit(_owner: u64, pattern: Slice, _bytes: u64) -> Status {
    // SAFETY: borrowed for the call.
    let starts_well = unsafe { pattern.bytes() }.is_some_and(|pattern| pattern.starts_with(b"/"));
    if starts_well {
        status::OK
    } else {
        status::INVALID
    }
}

unsafe extern "C" fn state_write(_owner: u64, bytes: Slice) -> Status {
    // SAFETY: borrowed for the call.
    let bytes = unsafe { bytes.bytes() }.unwrap_or_default();
    SAVED.with_borrow_mut(|saved| saved.extend_from_slice(bytes));
    status::OK
}

unsafe extern "C" fn get_api(name: Slice, version: u32) -> *const c_void {
    // SAFETY: borrowed for the call.
    let name = unsafe { name.bytes() }.unwrap_or_default();
    if name == abi::CALL_API.as_bytes() && version == abi::CALL_API_VERSION {
        return std::ptr::from_ref(&calls::TABLE).cast();
    }
    if name == abi::METRICS_API.as_bytes() && version == abi::METRICS_API_VERSION {
        return std::ptr::from_ref(&metrics::TABLE).cast();
    }
    std::ptr::null()
}
