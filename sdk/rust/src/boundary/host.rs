//! The kernel's functions, safe to call.

use std::cell::Cell;
use std::sync::OnceLock;
use std::task::{Poll, RawWaker, RawWakerVTable, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use midplane_abi::{self as abi, Header, Request, Slice, Status, status};
use smallvec::SmallVec;
use zeroize::Zeroizing;

use crate::secret::{Secret, SecretError};

/// Room for any secret (`secret_get` of the ABI).
const SECRET_LEN_MAX: usize = 4 * 1024;
/// Most responses have fewer header fields than this; more spill to the heap.
const HEADERS_INLINE: usize = 8;

/// One per copy of this library, that is, per generation.
static HOST: OnceLock<&'static abi::Host> = OnceLock::new();

thread_local! {
    /// The request whose task this thread is polling, 0 for none. Const and without a destructor, so that it pins nothing.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// Remembers the kernel's table. False when it is of a kernel this module cannot live in.
///
/// # Safety
/// `table` points to a table that stays valid for as long as this library is loaded.
pub(crate) unsafe fn attach(table: *const abi::Host) -> bool {
    // SAFETY: valid by the contract.
    let table: &'static abi::Host = unsafe { &*table };
    if table.abi_major != abi::MAJOR || (table.size as usize) < size_of::<abi::Host>() {
        return false;
    }
    HOST.get_or_init(|| table);
    true
}

fn host() -> &'static abi::Host {
    HOST.get()
        .expect("the kernel calls the entry before anything else")
}

/// Runs `poll` as the task of `request`, for log lines written meanwhile.
pub(crate) fn with_current<T>(request: Request, poll: impl FnOnce() -> T) -> T {
    struct Reset(u64);
    impl Drop for Reset {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _reset = Reset(CURRENT.replace(request.0));
    poll()
}

/// The request whose task this thread is polling; 0 for none.
pub(crate) fn current() -> Request {
    Request(CURRENT.get())
}

/// Says why the call that is on this thread's stack is about to fail.
pub(crate) fn fail(message: &str) {
    // SAFETY: the slice lives through the call.
    unsafe { (host().fail)(Slice::new(message.as_bytes())) }
}

pub(crate) fn log(
    owner: u64,
    request: Request,
    level: u32,
    target: &str,
    message: &str,
    fields: Option<&str>,
) {
    let Some(host) = HOST.get() else { return };
    let fields = fields.map_or(Slice::NONE, |text| Slice::new(text.as_bytes()));
    // SAFETY: the slices live through the call.
    unsafe {
        (host.log)(
            owner,
            request,
            level,
            Slice::new(target.as_bytes()),
            Slice::new(message.as_bytes()),
            fields,
        )
    }
}

pub(crate) fn log_level(owner: u64) -> u32 {
    // SAFETY: no argument borrows.
    HOST.get()
        .map_or(u32::MAX, |host| unsafe { (host.log_level)(owner) })
}

/// Up to `capacity` bytes of the request's body, or the status that says why there are none.
pub(crate) fn body_read(request: Request, capacity: usize) -> Result<Bytes, Status> {
    let mut chunk = BytesMut::with_capacity(capacity);
    let mut len = 0;
    // SAFETY: `chunk` has room for `capacity` bytes.
    let answer = unsafe { (host().body_read)(request, chunk.as_mut_ptr(), capacity, &raw mut len) };
    if answer != status::OK {
        return Err(answer);
    }
    assert!(len <= capacity, "the kernel wrote past the buffer");
    // SAFETY: the kernel wrote `len` bytes, which is no more than the capacity.
    unsafe { chunk.set_len(len) };
    Ok(chunk.freeze())
}

pub(crate) fn respond(request: Request, status: u16, headers: &HeaderMap, body: &[u8]) -> Status {
    let fields = fields(headers);
    // SAFETY: the slices live through the call.
    unsafe {
        (host().respond)(
            request,
            status,
            fields.as_ptr(),
            fields.len(),
            Slice::new(body),
        )
    }
}

pub(crate) fn respond_start(request: Request, status: u16, headers: &HeaderMap) -> Status {
    let fields = fields(headers);
    // SAFETY: the slices live through the call.
    unsafe { (host().respond_start)(request, status, fields.as_ptr(), fields.len()) }
}

pub(crate) fn body_write(request: Request, bytes: &[u8]) -> Status {
    // SAFETY: the slice lives through the call.
    unsafe { (host().body_write)(request, Slice::new(bytes)) }
}

pub(crate) fn body_end(request: Request) -> Status {
    // SAFETY: no argument borrows.
    unsafe { (host().body_end)(request) }
}

pub(crate) fn body_limit(owner: u64, pattern: &str, bytes: u64) -> Status {
    // SAFETY: the slice lives through the call.
    unsafe { (host().body_limit)(owner, Slice::new(pattern.as_bytes()), bytes) }
}

pub(crate) fn state_write(owner: u64, bytes: &[u8]) -> Status {
    // SAFETY: the slice lives through the call.
    unsafe { (host().state_write)(owner, Slice::new(bytes)) }
}

/// Pending: it has changed, and has to be asked for again.
pub(crate) fn secret_get(request: Request) -> Poll<Result<Secret, SecretError>> {
    let mut buffer = Zeroizing::new([0_u8; SECRET_LEN_MAX]);
    let mut len = 0;
    // SAFETY: the buffer has the length that is told.
    let answer =
        unsafe { (host().secret_get)(request, buffer.as_mut_ptr(), buffer.len(), &raw mut len) };
    Poll::Ready(match answer {
        status::PENDING => return Poll::Pending,
        status::OK => buffer
            .get(..len)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .map(|text| Secret::new(Zeroizing::new(text.to_owned())))
            .ok_or(SecretError::Absent),
        status::DENIED => Err(SecretError::Denied),
        _ => Err(SecretError::Absent),
    })
}

pub(crate) fn secret_refresh(request: Request) -> Poll<Result<(), SecretError>> {
    let mut reason = [0_u8; 512];
    let mut len = 0;
    // SAFETY: the buffer has the length that is told.
    let answer = unsafe {
        (host().secret_refresh)(request, reason.as_mut_ptr(), reason.len(), &raw mut len)
    };
    Poll::Ready(match answer {
        status::PENDING => return Poll::Pending,
        status::OK => Ok(()),
        status::DENIED => Err(SecretError::Denied),
        status::FAILED => {
            let reason = reason.get(..len).unwrap_or_default();
            Err(SecretError::Failed(
                String::from_utf8_lossy(reason).into_owned(),
            ))
        }
        _ => Err(SecretError::Absent),
    })
}

pub(crate) fn ws_accept(
    request: Request,
    protocol: Option<&[u8]>,
    headers: &HeaderMap,
    message_bytes: usize,
) -> Status {
    let fields = fields(headers);
    let protocol = protocol.map_or(Slice::NONE, Slice::new);
    // SAFETY: the slices live through the call.
    unsafe {
        (host().ws_accept)(
            request,
            protocol,
            fields.as_ptr(),
            fields.len(),
            message_bytes,
        )
    }
}

/// Appends the next message to `buffer` and gives its kind; else the status that says why there is none, with the close code
/// if it is the end, whose reason is appended then.
pub(crate) fn ws_recv(request: Request, buffer: &mut BytesMut) -> Result<u32, (Status, u32)> {
    loop {
        let (mut kind, mut len) = (0, 0);
        let room = buffer.spare_capacity_mut();
        let capacity = room.len();
        // SAFETY: `room` has `capacity` bytes, and the kernel writes no more.
        let answer = unsafe {
            (host().ws_recv)(
                request,
                &raw mut kind,
                room.as_mut_ptr().cast(),
                capacity,
                &raw mut len,
            )
        };
        match answer {
            status::TOO_SMALL => {
                buffer.reserve(len);
                continue;
            }
            status::OK | status::END => {}
            other => return Err((other, 0)),
        }
        assert!(len <= capacity, "the kernel wrote past the buffer");
        let filled = buffer.len() + len;
        // SAFETY: the kernel wrote `len` bytes behind those that were there, which is no more than the capacity.
        unsafe { buffer.set_len(filled) };
        return if answer == status::OK {
            Ok(kind)
        } else {
            Err((answer, kind))
        };
    }
}

pub(crate) fn ws_send(request: Request, kind: u32, bytes: &[u8]) -> Status {
    // SAFETY: the slice lives through the call.
    unsafe { (host().ws_send)(request, kind, Slice::new(bytes)) }
}

pub(crate) fn ws_close(request: Request, code: u16, reason: &str) -> Status {
    // SAFETY: the slice lives through the call.
    unsafe { (host().ws_close)(request, code, Slice::new(reason.as_bytes())) }
}

/// Wakes the task of `request`. It owns nothing, so that it may be kept for ever: the kernel answers a late call with
/// `GONE`.
pub(crate) fn waker(request: Request) -> Waker {
    // SAFETY: the table's functions keep the contract of `RawWaker`: they are thread-safe and the pointer is a plain number.
    unsafe { Waker::from_raw(raw_waker(request.0 as usize as *const ())) }
}

const fn raw_waker(handle: *const ()) -> RawWaker {
    RawWaker::new(handle, &WAKER)
}

// A handle is 64 bits wide and travels in the pointer.
const _: () = assert!(
    size_of::<*const ()>() == 8,
    "midplane modules are built for 64-bit targets"
);

static WAKER: RawWakerVTable = RawWakerVTable::new(raw_waker, wake, wake, |_handle| ());

fn wake(handle: *const ()) {
    // SAFETY: no argument borrows.
    unsafe { (host().wake)(Request(handle as usize as u64)) };
}

/// A table of functions of the kernel's; null when it has none of it.
pub(crate) fn api(name: &str, version: u32) -> *const std::ffi::c_void {
    // SAFETY: the slice lives through the call.
    unsafe { (host().get_api)(Slice::new(name.as_bytes()), version) }
}

pub(super) fn fields(headers: &HeaderMap) -> SmallVec<[Header; HEADERS_INLINE]> {
    headers
        .iter()
        .map(|(name, value)| Header {
            name: Slice::new(name.as_str().as_bytes()),
            value: Slice::new(value.as_bytes()),
        })
        .collect()
}
