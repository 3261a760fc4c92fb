//! Calls between modules: the table that [`Host::get_api`](crate::Host::get_api) answers for [`CALL_API`], version
//! [`CALL_API_VERSION`].
//!
//! A call is a request that never leaves memory. The module that makes it names it by a handle, sends its body and reads its
//! answer, all without waiting; the other one is asked as by any client.

use crate::{Header, Request, Slice, Status};

/// What [`Host::get_api`](crate::Host::get_api) is asked for.
pub const CALL_API: &str = "call";
/// The version that is described here.
pub const CALL_API_VERSION: u32 = 1;

/// The kernel's name for one call under way. No two calls have the same.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Call(pub u64);

/// Bits of [`CallHead::flags`].
pub mod call {
    /// It acts for the session of the request it is made for, and ends with that request.
    pub const FOR_SESSION: u32 = 1;
}

/// What is asked of another module. Borrowed for the call of [`CallApi::start`].
#[repr(C)]
pub struct CallHead {
    /// `size_of::<CallHead>()` of the module.
    pub size: u32,
    /// Bits of [`call`].
    pub flags: u32,
    /// The name of the module that is called.
    pub module: Slice,
    pub method: Slice,
    /// Below that module's prefix, with its leading slash.
    pub path: Slice,
    /// Without the question mark; absent when there is none.
    pub query: Slice,
    pub headers: *const Header,
    pub headers_len: usize,
    /// Bytes of the body if they are known (0: there is none), else -1.
    pub content_length: i64,
}

/// Which module makes a call. Valid during `begin` only.
#[repr(C)]
pub struct Caller {
    /// `size_of::<Caller>()` of the kernel.
    pub size: u32,
    /// Reserved, zero.
    pub flags: u32,
    pub module: Slice,
    pub generation: u64,
}

/// Calls to other modules. All functions may be called from any thread. Those that may have to wait take a `waiter`: the
/// request whose task is polled when they should be called again, or 0 for [`CallApi::news`].
#[repr(C)]
pub struct CallApi {
    /// `size_of::<CallApi>()` of the kernel: a function beyond it is not there.
    pub size: u32,
    /// Reserved, zero.
    pub flags: u32,
    /// Starts a call. `request` is the one during which it is made, or 0: what it calls in turn counts towards the depth that
    /// ends cycles. [`status::DENIED`](crate::status::DENIED) without the grant, [`status::FULL`](crate::status::FULL) when
    /// the module has as many under way as it may have, [`status::INVALID`](crate::status::INVALID) for a head that is no
    /// request's, [`status::GONE`](crate::status::GONE) when the request, or the module, is over.
    pub start: unsafe extern "C" fn(
        owner: u64,
        request: Request,
        head: *const CallHead,
        out: *mut Call,
    ) -> Status,
    /// Adds to the body of the call. [`status::PENDING`](crate::status::PENDING): it was not taken, try again when told.
    /// [`status::GONE`](crate::status::GONE) when nobody reads it any more; the answer may come all the same.
    pub body_write: unsafe extern "C" fn(call: Call, waiter: Request, bytes: Slice) -> Status,
    /// The body of the call is whole. Not needed where the head says its length, and all of it was written.
    pub body_end: unsafe extern "C" fn(call: Call) -> Status,
    /// The head of the answer, once: its status to `status`, its fields to `dst` as lines `name: value` that end with CR LF,
    /// their length to `len`. [`status::PENDING`](crate::status::PENDING), [`status::TOO_SMALL`](crate::status::TOO_SMALL) with
    /// the needed length, or why there is none: [`status::NOT_LOADED`](crate::status::NOT_LOADED),
    /// [`status::TOO_DEEP`](crate::status::TOO_DEEP), [`status::GONE`](crate::status::GONE).
    pub response: unsafe extern "C" fn(
        call: Call,
        waiter: Request,
        status: *mut u16,
        dst: *mut u8,
        cap: usize,
        len: *mut usize,
    ) -> Status,
    /// Copies up to `cap` bytes of the answer's body to `dst`, their number to `len`. [`status::OK`](crate::status::OK),
    /// [`status::PENDING`](crate::status::PENDING), [`status::END`](crate::status::END), or
    /// [`status::DISCONNECTED`](crate::status::DISCONNECTED) when it was cut.
    pub body_read: unsafe extern "C" fn(
        call: Call,
        waiter: Request,
        dst: *mut u8,
        cap: usize,
        len: *mut usize,
    ) -> Status,
    /// Forgets the call; one that is not over is cancelled. Due for every call that was started.
    pub forget: unsafe extern "C" fn(call: Call) -> Status,
    /// Gives the module a descriptor that becomes readable when there is [`CallApi::news`], and is the module's to close.
    /// Once; [`status::INVALID`](crate::status::INVALID) after that.
    pub listen: unsafe extern "C" fn(owner: u64, descriptor: *mut i32) -> Status,
    /// Which calls that wait with 0 should be looked at: up to `cap` of them to `dst`, their number to `len`. After a byte was
    /// read from the descriptor, until there are none.
    pub news:
        unsafe extern "C" fn(owner: u64, dst: *mut Call, cap: usize, len: *mut usize) -> Status,
}
