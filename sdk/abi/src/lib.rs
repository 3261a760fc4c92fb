//! The C ABI between the kernel and its modules: `repr(C)` layouts and nothing else.
//!
//! No code runs here and nothing is depended on, so that both sides, and a module written in C, agree on exactly these
//! bytes. `sdk/abi/src/layout.rs` asserts them. `sdk/include/midplane.h` is generated from these sources: after a change, run
//! `scripts/generate-header`.
//!
//! # Rules
//! - **Slices are borrowed for the call only.** Whoever wants to keep bytes copies them before returning.
//! - **Handles, not pointers.** A [`Request`] names a slot and its incarnation; a call on a dead one answers
//!   [`status::GONE`], from any thread and at any time.
//! - **A host call never calls back into the module.** [`Host::wake`] only enqueues.
//! - **Answers take effect when `poll` returns.** What a module asks for inside `poll` (respond, write, end) is carried
//!   out after that.
//! - **`poll` of one task is serial; tasks run in parallel**, on any of the kernel's workers. `drop_task` is called
//!   exactly once for every task that `begin` or `on_session` made, whatever `poll` said, and never while that task's
//!   code is on a stack.
//! - **No unwinding leaves a function of [`Module`].** A panic is caught and told as [`status::PANICKED`].
//! - **Growth.** Structs grow at the end only and are guarded by `size`; reserved bits are zero. Anything else raises
//!   [`MAJOR`].

#![no_std]

mod calls;
mod descriptor;
mod layout;
mod metrics;

pub use calls::{CALL_API, CALL_API_VERSION, Call, CallApi, CallHead, Caller, call};
pub use descriptor::{Descriptor, DescriptorBody, NOTE_NAME, NOTE_TYPE, flag, grant};
#[cfg(target_pointer_width = "64")]
#[doc(hidden)]
pub use layout::{LAYOUTS, Layout};
pub use metrics::{
    METRICS_API, METRICS_API_VERSION, Metric, MetricHead, MetricsApi, Series, metric,
};

use core::ffi::c_void;

/// Raised by an incompatible change: a module of another major is refused before it is loaded.
pub const MAJOR: u16 = 1;
/// Raised by an addition: a module that needs a newer minor than the kernel has is refused before it is loaded.
pub const MINOR: u16 = 0;

/// The one symbol a module exports: `int32_t midplane_module_entry(const mp_host *host, mp_module *out)`.
///
/// It fills `out` and returns [`status::OK`]. It must not do anything else: the instance is made by [`Module::init`].
pub const ENTRY_SYMBOL: &str = "midplane_module_entry";
/// The type of [`ENTRY_SYMBOL`]. `host` stays valid for as long as the module is loaded.
pub type Entry = unsafe extern "C" fn(host: *const Host, out: *mut Module) -> Status;

/// What a call answers: [`status::OK`] or one of those beside it.
pub type Status = i32;

/// Values of [`Status`]. Negative ones are refusals or failures.
pub mod status {
    use super::Status;

    /// Done. From [`Module::poll`](super::Module::poll): the task is finished.
    pub const OK: Status = 0;
    /// Not yet; the task will be polled again when there is more.
    pub const PENDING: Status = 1;
    /// No more fits now: write on when polled with [`why::WRITABLE`](super::why::WRITABLE).
    /// [`Host::body_write`](super::Host::body_write) has taken the bytes, [`Host::ws_send`](super::Host::ws_send) has not.
    pub const FULL: Status = 2;
    /// The body, or the WebSocket, is at its end.
    pub const END: Status = 3;
    /// The handle names nothing that lives: the request is over, or the client left.
    pub const GONE: Status = -1;
    /// The operator did not grant this.
    pub const DENIED: Status = -2;
    /// The call makes no sense now or its arguments do not hold, for example a second `respond`.
    pub const INVALID: Status = -3;
    /// It was tried and failed; [`Host::fail`](super::Host::fail) carried the reason.
    pub const FAILED: Status = -4;
    /// A panic was caught at the boundary; the reason went through [`Host::fail`](super::Host::fail).
    pub const PANICKED: Status = -5;
    /// The given buffer is too small; the needed length was written.
    pub const TOO_SMALL: Status = -6;
    /// The request body, the state, or a message is over its limit.
    pub const TOO_LARGE: Status = -7;
    /// The client stopped sending in the middle of the body.
    pub const DISCONNECTED: Status = -8;
    /// No module of that name is loaded.
    pub const NOT_LOADED: Status = -9;
    /// The calls that led here are as many as may follow from one request.
    pub const TOO_DEEP: Status = -10;
}

/// Why [`Module::poll`] is called.
pub mod why {
    /// The task was begun or woken.
    pub const WAKE: u32 = 0;
    /// There is room again for [`Host::body_write`](super::Host::body_write) or [`Host::ws_send`](super::Host::ws_send).
    pub const WRITABLE: u32 = 1;
    /// The client left or the session was revoked. Said once; the task is dropped after a grace at the latest.
    pub const CANCEL: u32 = 2;
}

/// Levels of [`Host::log`], as numbers that grow with importance.
pub mod level {
    pub const TRACE: u32 = 1;
    pub const DEBUG: u32 = 2;
    pub const INFO: u32 = 3;
    pub const WARN: u32 = 4;
    pub const ERROR: u32 = 5;
}

/// Bytes borrowed for one call. `ptr` may be null when `len` is 0; a null `ptr` is how an optional slice is absent.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slice {
    pub ptr: *const u8,
    pub len: usize,
}

impl Slice {
    /// An absent slice.
    pub const NONE: Slice = Slice {
        ptr: core::ptr::null(),
        len: 0,
    };

    /// Borrows `bytes`; the caller sees to it that they outlive the call.
    pub const fn new(bytes: &[u8]) -> Slice {
        Slice {
            ptr: bytes.as_ptr(),
            len: bytes.len(),
        }
    }

    /// The bytes, if the slice is there.
    ///
    /// # Safety
    /// `ptr` is null or points to `len` bytes that stay valid and unchanged for `'a`.
    #[expect(
        unsafe_code,
        reason = "the one place where a slice of the other side is looked into"
    )]
    pub unsafe fn bytes<'a>(self) -> Option<&'a [u8]> {
        if self.ptr.is_null() {
            return None;
        }
        // SAFETY: not null, and valid for `len` bytes by this function's contract.
        Some(unsafe { core::slice::from_raw_parts(self.ptr, self.len) })
    }
}

/// One header field; names are lower case.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Header {
    pub name: Slice,
    pub value: Slice,
}

/// The kernel's name for one request under way: slot and incarnation.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Request(pub u64);

/// The module's name for one task; the kernel only hands it back.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Task(pub u64);

/// The session a request acts for. Valid during `begin` and `on_session` only.
#[repr(C)]
pub struct Session {
    /// `size_of::<Session>()` of the kernel.
    pub size: u32,
    /// Reserved, zero.
    pub flags: u32,
    /// `ses_…`
    pub id: Slice,
    pub user: Slice,
    /// Space-separated, opaque to the kernel.
    pub scope: Slice,
    /// A JSON object.
    pub metadata: Slice,
    /// For example `pro` or `dev`.
    pub environment: Slice,
    /// The id of the session's secret; absent when the session has none.
    pub secret_key_id: Slice,
    /// Unix seconds: when the token at hand ends.
    pub expires_at: u64,
}

/// The head of a request. Valid during `begin` only: copy what is to be kept.
#[repr(C)]
pub struct RequestHead {
    /// `size_of::<RequestHead>()` of the kernel.
    pub size: u32,
    /// Bits of [`head`].
    pub flags: u32,
    pub method: Slice,
    /// The path below the module's prefix, with its leading slash, as it was sent (not percent-decoded).
    pub path: Slice,
    /// Without the question mark; absent when there was none.
    pub query: Slice,
    /// Without `authorization`.
    pub headers: *const Header,
    pub headers_len: usize,
    /// The value of `x-request-id`.
    pub request_id: Slice,
    /// Null on a public route that was called without a session, and where a module calls for none.
    pub session: *const Session,
    /// Bytes of the body if they are known (0: there is none), else -1.
    pub content_length: i64,
    /// The module that makes the request; null when a client does. Only routes that the descriptor names as internal are
    /// open to modules, and those to nobody else.
    pub caller: *const Caller,
}

/// Bits of [`RequestHead::flags`].
pub mod head {
    /// The request is a valid WebSocket handshake (RFC 6455 section 4.2.1): [`Host::ws_accept`](super::Host::ws_accept)
    /// takes it, any other answer declines it.
    pub const WEBSOCKET: u32 = 1;
}

/// Kinds of a WebSocket's messages: their opcodes (RFC 6455 section 11.8).
pub mod message {
    /// UTF-8.
    pub const TEXT: u32 = 1;
    pub const BINARY: u32 = 2;
}

/// What [`Module::init`] is given. Valid during `init` only.
#[repr(C)]
pub struct Init {
    /// `size_of::<Init>()` of the kernel.
    pub size: u32,
    /// Reserved, zero.
    pub flags: u32,
    /// Names this generation in [`Host::log`], [`Host::body_limit`] and [`Host::state_write`].
    pub owner: u64,
    /// The name the module is mounted under.
    pub name: Slice,
    /// Counts the loads of this name since the kernel started; `chat#3` is the third.
    pub generation: u64,
    /// The module's configuration, a JSON object.
    pub config: Slice,
    /// The absolute path of a directory for files of the module's own, which the kernel has made: the same for every
    /// generation of this name. Two generations may use it at once.
    pub data_dir: Slice,
}

/// What [`Module::init`] answers.
#[repr(C)]
pub struct Instance {
    /// Set by the kernel to `size_of::<Instance>()`.
    pub size: u32,
    /// Bits of [`instance`].
    pub flags: u32,
    /// The module's own; the kernel only hands it back.
    pub ptr: *mut c_void,
}

/// Bits of [`Instance::flags`].
pub mod instance {
    /// Sessions for this module must name a secret.
    pub const NEEDS_SECRET: u32 = 1;
    /// [`Module::on_session`](super::Module::on_session) wants to see a session before it is issued.
    pub const CHECKS_SESSIONS: u32 = 2;
}

/// The functions of a module. `init`, `restore`, `probe`, `quiesce`, `save` and `fini` run on a control thread and may
/// block; the others run on the kernel's workers and must not.
///
/// A generation's life: `init`, `restore`, `probe`; then tasks, until another takes its place, and then `quiesce` and
/// `fini`. `save` comes while tasks may still run.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Module {
    /// Set by the kernel to its `size_of::<Module>()` before the entry is called; the module lowers it to its own.
    pub size: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    /// Reserved, zero.
    pub flags: u64,
    /// Makes the instance. On failure it tells why through [`Host::fail`].
    pub init: Option<unsafe extern "C" fn(init: *const Init, out: *mut Instance) -> Status>,
    /// Once, after `init`: what the generation before handed over, written in a `schema` that the descriptor names, or an
    /// absent slice (and 0) when there is none. It may set further bits of [`Instance::flags`]. [`status::FAILED`] refuses,
    /// and the generation before goes on. Must be quick: new requests may wait meanwhile. May be absent. An exclusive module
    /// ([`flag::EXCLUSIVE`]) opens here what it owns; if it refuses, the code of the generation before starts anew.
    pub restore:
        Option<unsafe extern "C" fn(instance: *mut Instance, schema: u32, state: Slice) -> Status>,
    /// Once, after `restore`: whether the instance can serve; anything but [`status::OK`] refuses the generation. May be
    /// absent: it can.
    pub probe: Option<unsafe extern "C" fn(instance: *mut c_void) -> Status>,
    /// Takes a request and names the task that will answer it; does not answer yet.
    pub begin: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            request: Request,
            head: *const RequestHead,
            out: *mut Task,
        ) -> Status,
    >,
    /// Goes on with a task: [`status::OK`] when it is finished, [`status::PENDING`], [`status::FAILED`] or
    /// [`status::PANICKED`].
    pub poll: Option<unsafe extern "C" fn(instance: *mut c_void, task: Task, why: u32) -> Status>,
    /// Frees a task.
    pub drop_task: Option<unsafe extern "C" fn(instance: *mut c_void, task: Task)>,
    /// Checks a session that is about to be issued: a task like a request's, whose outcome is the answer. [`status::OK`]
    /// accepts; [`status::FAILED`] refuses with the reason given to [`Host::fail`]. May be absent.
    pub on_session: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            request: Request,
            session: *const Session,
            out: *mut Task,
        ) -> Status,
    >,
    /// The module's OpenAPI document as JSON, valid until `fini`; an absent slice if it has none. May be absent.
    pub openapi: Option<unsafe extern "C" fn(instance: *mut c_void) -> Slice>,
    /// No new request will come: end what never ends by itself. What is under way may go on for `drain_ms` milliseconds, and is
    /// cut then. Called once. May be absent.
    pub quiesce: Option<unsafe extern "C" fn(instance: *mut c_void, drain_ms: u64)>,
    /// Hands over what is only in memory: writes it with [`Host::state_write`] and puts the schema it is written in to
    /// `schema`, or 0 when there is nothing to hand over. [`status::FAILED`] keeps this generation in place. Called again if
    /// the one that was to take over is refused. New requests wait meanwhile; those under way go on. May be absent.
    pub save: Option<unsafe extern "C" fn(instance: *mut c_void, schema: *mut u32) -> Status>,
    /// Frees the instance and joins every thread of the module. No task is left when it is called.
    pub fini: Option<unsafe extern "C" fn(instance: *mut c_void)>,
}

impl Module {
    /// A table for `entry` to fill: it says which ABI it is for and how much room there is.
    pub const fn unfilled(abi_major: u16, abi_minor: u16) -> Module {
        Module {
            size: size_of::<Module>() as u32,
            abi_major,
            abi_minor,
            flags: 0,
            init: None,
            restore: None,
            probe: None,
            begin: None,
            poll: None,
            drop_task: None,
            on_session: None,
            openapi: None,
            quiesce: None,
            save: None,
            fini: None,
        }
    }
}

/// The table's size in the first minor of this major, the least that a module may fill.
pub const MODULE_LEN_MIN: u32 = 104;

/// The functions of the kernel. All of them may be called from any thread.
#[repr(C)]
pub struct Host {
    /// `size_of::<Host>()` of the kernel: a function beyond it is not there.
    pub size: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    /// Says why the call of the module that is on this thread's stack is about to fail. UTF-8, for a person to read.
    pub fail: unsafe extern "C" fn(message: Slice),
    /// Writes a log line. `request` is 0 when it belongs to none; `target` is the place in the module's code; `fields` is
    /// a JSON object or absent. Never blocks.
    pub log: unsafe extern "C" fn(
        owner: u64,
        request: Request,
        level: u32,
        target: Slice,
        message: Slice,
        fields: Slice,
    ),
    /// The least [`level`] that is written for this module now.
    pub log_level: unsafe extern "C" fn(owner: u64) -> u32,
    /// Has the request's task polled again soon. Enqueues only.
    pub wake: unsafe extern "C" fn(request: Request) -> Status,
    /// Copies up to `cap` bytes of the request body to `dst`, their number to `len`. [`status::OK`], [`status::PENDING`]
    /// (the task is polled when there are more), [`status::END`], or why there will be no more.
    pub body_read:
        unsafe extern "C" fn(request: Request, dst: *mut u8, cap: usize, len: *mut usize) -> Status,
    /// A whole response in one call. `content-length` is set by the kernel.
    pub respond: unsafe extern "C" fn(
        request: Request,
        status: u16,
        headers: *const Header,
        headers_len: usize,
        body: Slice,
    ) -> Status,
    /// The head of a response whose body follows by [`Host::body_write`] and [`Host::body_end`].
    pub respond_start: unsafe extern "C" fn(
        request: Request,
        status: u16,
        headers: *const Header,
        headers_len: usize,
    ) -> Status,
    /// Adds to the response body. Takes all of `bytes` or, over the window and answering [`status::FULL`] with the first
    /// byte over it, still all of them: stop writing then. [`status::INVALID`] after a [`status::FULL`] that was not heeded.
    pub body_write: unsafe extern "C" fn(request: Request, bytes: Slice) -> Status,
    /// Ends the response body as it should end.
    pub body_end: unsafe extern "C" fn(request: Request) -> Status,
    /// Copies the session's secret to `dst`, its length to `len`. [`status::DENIED`] without the grant, [`status::GONE`]
    /// when the session has none (any more), [`status::PENDING`] when it has changed and has to be asked for with
    /// `secret_refresh`, [`status::TOO_SMALL`] (4 KiB always suffices).
    pub secret_get:
        unsafe extern "C" fn(request: Request, dst: *mut u8, cap: usize, len: *mut usize) -> Status,
    /// Asks the secret's source again. The first call starts it and answers [`status::PENDING`]; the task is polled when
    /// it is done, and the next call answers [`status::OK`] or [`status::FAILED`], with the reason in `dst`/`len`.
    pub secret_refresh:
        unsafe extern "C" fn(request: Request, dst: *mut u8, cap: usize, len: *mut usize) -> Status,
    /// Allows bodies of up to `bytes` on `pattern` (a path, or a prefix that ends in `/*`). During [`Module::init`] and
    /// [`Module::restore`] only.
    pub body_limit: unsafe extern "C" fn(owner: u64, pattern: Slice, bytes: u64) -> Status,
    /// Adds to the state that is handed over. During [`Module::save`] only, else [`status::INVALID`];
    /// [`status::TOO_LARGE`] over `[limits] state_bytes`.
    pub state_write: unsafe extern "C" fn(owner: u64, bytes: Slice) -> Status,
    /// A table of functions by name and version: [`CallApi`] for `call`, 1; [`MetricsApi`] for `metrics`, 1. Null when this
    /// kernel has none of it. It stays valid for as long as the module is loaded.
    pub get_api: unsafe extern "C" fn(name: Slice, version: u32) -> *const c_void,
    /// Answers a request with [`head::WEBSOCKET`] by opening the WebSocket; messages may be sent at once. `protocol` is one of
    /// those in `sec-websocket-protocol`, or absent; `headers` are added to the answer. Messages of more than `message_bytes`
    /// close the socket with 1009; 0, or more than `[limits] websocket_message_bytes`, is that limit. The task goes on as the
    /// socket's: when it ends, the kernel closes with 1000, or with 1011 if it failed. Pings are the kernel's.
    pub ws_accept: unsafe extern "C" fn(
        request: Request,
        protocol: Slice,
        headers: *const Header,
        headers_len: usize,
        message_bytes: usize,
    ) -> Status,
    /// Takes the next message: copies it to `dst`, its length to `len`, its [`message`] kind to `kind`. [`status::PENDING`]
    /// (the task is polled when there is one), [`status::TOO_SMALL`] with the needed length, the message left where it is, or
    /// [`status::END`], with the close code (RFC 6455 section 7.4; 1005: none was given, 1006: the client vanished) in `kind`
    /// and the reason, cut to `cap`, in `dst` and `len`. After END the task has a moment to finish.
    pub ws_recv: unsafe extern "C" fn(
        request: Request,
        kind: *mut u32,
        dst: *mut u8,
        cap: usize,
        len: *mut usize,
    ) -> Status,
    /// Sends a message of a [`message`] kind. [`status::FULL`]: it was not taken, send it again when polled with
    /// [`why::WRITABLE`]. [`status::INVALID`] for text that is not UTF-8, [`status::TOO_LARGE`] over `[limits]
    /// websocket_message_bytes`, [`status::GONE`] once the socket is closed, by whichever side.
    pub ws_send: unsafe extern "C" fn(request: Request, kind: u32, bytes: Slice) -> Status,
    /// Closes the WebSocket after what was sent. `code` is 1000 to 1003, 1007 to 1013 or 3000 to 4999, `reason` UTF-8 of up
    /// to 123 bytes; [`status::INVALID`] else. [`Host::ws_recv`] ends with [`status::END`] after it.
    pub ws_close: unsafe extern "C" fn(request: Request, code: u16, reason: Slice) -> Status,
}
