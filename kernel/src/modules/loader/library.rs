//! A module in the process: its library, its table of functions, its instance and its tasks.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use http::request::Parts;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use midplane_abi::{self as abi, Header, Slice, Status, instance, status};
use smallvec::SmallVec;

use super::host;
use super::unopened::Unopened;
use crate::modules::exchange::Lease;
use crate::modules::generation::Pin;
use crate::session::Session;

/// Most requests have fewer header fields than this; more spill to the heap.
const HEADERS_INLINE: usize = 16;
/// More of an OpenAPI document than anyone writes by hand.
const OPENAPI_LEN_MAX: usize = 4 * 1024 * 1024;

/// Why a library did not become an instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("the library cannot be opened: {0}")]
    Open(Unopened),
    #[error("the library exports no `{symbol}`: the attribute #[midplane_sdk::module] makes it, and a linker's version script or `strip` must leave it visible", symbol = abi::ENTRY_SYMBOL)]
    NoEntry,
    #[error("`{symbol}` refused this kernel (status {0}), which has ABI {major}.{minor}: build the module with the kernel's ABI", symbol = abi::ENTRY_SYMBOL, major = abi::MAJOR, minor = abi::MINOR)]
    EntryRefused(Status),
    #[error("`{symbol}` left the function `{0}` empty: fill it, or build the module with the SDK, which does", symbol = abi::ENTRY_SYMBOL)]
    NoFunction(&'static str),
    #[error("init failed: {0}")]
    Init(String),
    #[error("init panicked: {0}")]
    InitPanicked(String),
    #[error(
        "init answered {0}, which is no status of the ABI: answer OK (0), or say why with `fail` and answer FAILED (-4)"
    )]
    InitStatus(Status),
}

/// A library whose entry has filled its table, not initialised yet.
pub(crate) struct Opened {
    library: ManuallyDrop<Library>,
    table: abi::Module,
}

impl Opened {
    /// Maps the library and asks it for its functions. Runs its constructors: call it on a control thread.
    pub(crate) fn open(private_copy: &Path) -> Result<Opened, LoadError> {
        // SAFETY: running a module's constructors is what loading is; the operator named the file, and its ownership,
        // descriptor and hash have been checked.
        let library = unsafe { Library::open(Some(private_copy), RTLD_NOW | RTLD_LOCAL) };
        // Never unmapped by a drop: whether the code may go is decided elsewhere.
        let library =
            ManuallyDrop::new(library.map_err(|error| LoadError::Open(Unopened::from(&error)))?);
        // SAFETY: the symbol has this type by the ABI, which the descriptor promised.
        let entry = unsafe { library.get::<abi::Entry>(abi::ENTRY_SYMBOL) }
            .map_err(|_absent| LoadError::NoEntry)?;
        let mut table = abi::Module {
            size: size_of_u32::<abi::Module>(),
            abi_major: abi::MAJOR,
            abi_minor: abi::MINOR,
            flags: 0,
            init: None,
            begin: None,
            poll: None,
            drop_task: None,
            on_session: None,
            openapi: None,
            quiesce: None,
            fini: None,
        };
        // SAFETY: the host table is static, and `table` is ours and of the told size.
        match unsafe { entry(&raw const host::TABLE, &raw mut table) } {
            status::OK => {}
            other => return Err(LoadError::EntryRefused(other)),
        }
        for (function, present) in [
            ("init", table.init.is_some()),
            ("begin", table.begin.is_some()),
            ("poll", table.poll.is_some()),
            ("drop_task", table.drop_task.is_some()),
            ("fini", table.fini.is_some()),
        ] {
            if !present {
                return Err(LoadError::NoFunction(function));
            }
        }
        Ok(Opened { library, table })
    }

    /// Makes the instance. May block for as long as the module likes: call it on a control thread.
    pub(crate) fn init(
        self,
        owner: u64,
        name: &str,
        generation: u64,
        config: &str,
    ) -> Result<Instance, LoadError> {
        let given = abi::Init {
            size: size_of_u32::<abi::Init>(),
            flags: 0,
            owner,
            name: Slice::new(name.as_bytes()),
            generation,
            config: Slice::new(config.as_bytes()),
        };
        let mut made = abi::Instance {
            size: size_of_u32::<abi::Instance>(),
            flags: 0,
            ptr: std::ptr::null_mut(),
        };
        let init = self.table.init.expect("checked when it was opened");
        host::clear_failure();
        // SAFETY: both structs live through the call.
        match unsafe { init(&raw const given, &raw mut made) } {
            status::OK => Ok(Instance {
                table: self.table,
                ptr: made.ptr,
                flags: made.flags,
                finished: AtomicBool::new(false),
                _library: self.library,
            }),
            status::FAILED | status::INVALID => Err(LoadError::Init(host::take_failure())),
            status::PANICKED => Err(LoadError::InitPanicked(host::take_failure())),
            other => Err(LoadError::InitStatus(other)),
        }
    }
}

/// Opens a library for the sake of what happens then, in a process that is there for nothing else.
pub(crate) fn try_open(path: &Path) {
    // SAFETY: as in `Opened::open`; the process ends with what it runs.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let _never_closed = library.map(ManuallyDrop::new);
}

/// Ends the process without running what libraries have left to be run at its end.
pub(crate) fn end_process(code: u8) -> ! {
    // SAFETY: it has no preconditions, and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}

/// A module that takes requests.
pub(crate) struct Instance {
    table: abi::Module,
    ptr: *mut c_void,
    flags: u32,
    finished: AtomicBool,
    _library: ManuallyDrop<Library>,
}

// SAFETY: the ABI allows every function of the table on any thread; what must be serial is, through `Task`.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

/// How one poll ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ready,
    Pending,
    /// The module says that it failed, and why.
    Failed(String),
    Panicked(String),
}

/// The outcome of `begin`.
pub(crate) type Begun = Result<Task, Outcome>;

impl Instance {
    pub(crate) fn needs_secret(&self) -> bool {
        self.flags & instance::NEEDS_SECRET != 0
    }

    pub(crate) fn checks_sessions(&self) -> bool {
        self.flags & instance::CHECKS_SESSIONS != 0 && self.table.on_session.is_some()
    }

    /// The module's OpenAPI document.
    pub(crate) fn openapi(&self) -> Option<String> {
        let openapi = self.table.openapi?;
        // SAFETY: the instance lives, and the slice is valid until `fini`, of which there has been none.
        let bytes = unsafe { openapi(self.ptr).bytes() }?;
        (bytes.len() <= OPENAPI_LEN_MAX).then(|| String::from_utf8(bytes.to_vec()).ok())?
    }

    /// Tells the module that no new request will come.
    pub(crate) fn quiesce(&self) {
        if let Some(quiesce) = self.table.quiesce {
            // SAFETY: the instance lives.
            unsafe { quiesce(self.ptr) }
        }
    }

    /// Ends the instance and its threads; a second call does nothing. Blocks: call it on a control thread, when no pin is
    /// left and none can be taken.
    pub(crate) fn fini(&self) {
        if self.finished.swap(true, Ordering::SeqCst) {
            return;
        }
        let fini = self.table.fini.expect("checked when it was opened");
        // SAFETY: once, and no task is left, since each holds a pin.
        unsafe { fini(self.ptr) }
    }
}

impl Drop for Instance {
    /// An instance that never served, since its load was given up, ends here; every other has ended before.
    fn drop(&mut self) {
        self.fini();
    }
}

/// A request or a session check under way in the module.
pub(crate) struct Task {
    pin: Pin,
    raw: abi::Task,
}

impl Task {
    /// Hands a request over. `path` is what stands below the module's prefix.
    pub(crate) fn begin(
        pin: Pin,
        lease: &Lease,
        parts: &Parts,
        path: &str,
        request_id: &[u8],
        session: Option<(&Session, u64)>,
        content_length: Option<u64>,
    ) -> Begun {
        let headers: SmallVec<[Header; HEADERS_INLINE]> = parts
            .headers
            .iter()
            .filter(|(name, _value)| *name != http::header::AUTHORIZATION)
            .map(|(name, value)| Header {
                name: Slice::new(name.as_str().as_bytes()),
                value: Slice::new(value.as_bytes()),
            })
            .collect();
        let session = session.map(|(session, expires_at)| view(session, expires_at));
        let head = abi::RequestHead {
            size: size_of_u32::<abi::RequestHead>(),
            flags: 0,
            method: Slice::new(parts.method.as_str().as_bytes()),
            path: Slice::new(path.as_bytes()),
            query: parts
                .uri
                .query()
                .map_or(Slice::NONE, |query| Slice::new(query.as_bytes())),
            headers: headers.as_ptr(),
            headers_len: headers.len(),
            request_id: Slice::new(request_id),
            session: session
                .as_ref()
                .map_or(std::ptr::null(), std::ptr::from_ref),
            content_length: content_length
                .map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX)),
        };
        let begin = pin
            .instance()
            .table
            .begin
            .expect("checked when it was opened");
        let mut raw = abi::Task(0);
        host::clear_failure();
        // SAFETY: the pin keeps the instance; everything borrowed outlives the call.
        let answer = unsafe {
            begin(
                pin.instance().ptr,
                lease.handle(),
                &raw const head,
                &raw mut raw,
            )
        };
        begun(pin, raw, answer)
    }

    /// Has the module look at a session that is about to be issued.
    pub(crate) fn check_session(
        pin: Pin,
        lease: &Lease,
        session: &Session,
        expires_at: u64,
    ) -> Begun {
        let on_session = pin
            .instance()
            .table
            .on_session
            .expect("only asked of modules that have it");
        let session = view(session, expires_at);
        let mut raw = abi::Task(0);
        host::clear_failure();
        // SAFETY: as in `begin`.
        let answer = unsafe {
            on_session(
                pin.instance().ptr,
                lease.handle(),
                &raw const session,
                &raw mut raw,
            )
        };
        begun(pin, raw, answer)
    }

    /// Goes on with the task, for a reason of [`abi::why`].
    pub(crate) fn poll(&mut self, why: u32) -> Outcome {
        let instance = self.pin.instance();
        let poll = instance.table.poll.expect("checked when it was opened");
        host::clear_failure();
        // SAFETY: the task lives until our drop, and `&mut self` keeps polls serial.
        outcome(unsafe { poll(instance.ptr, self.raw, why) })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let instance = self.pin.instance();
        let drop_task = instance
            .table
            .drop_task
            .expect("checked when it was opened");
        // SAFETY: once, and no poll of it runs, since that borrows `self`. The pin goes only after this call.
        unsafe { drop_task(instance.ptr, self.raw) }
    }
}

fn begun(pin: Pin, raw: abi::Task, answer: Status) -> Begun {
    match outcome(answer) {
        Outcome::Ready => Ok(Task { pin, raw }),
        Outcome::Pending => Err(Outcome::Failed(
            "it answered PENDING where only OK may be".to_owned(),
        )),
        failed => Err(failed),
    }
}

fn outcome(answer: Status) -> Outcome {
    match answer {
        status::OK => Outcome::Ready,
        status::PENDING => Outcome::Pending,
        status::PANICKED => Outcome::Panicked(host::take_failure()),
        status::FAILED => Outcome::Failed(host::take_failure()),
        other => Outcome::Failed(format!("it answered the status {other}")),
    }
}

fn view(session: &Session, expires_at: u64) -> abi::Session {
    abi::Session {
        size: size_of_u32::<abi::Session>(),
        flags: 0,
        id: Slice::new(session.id().as_bytes()),
        user: Slice::new(session.user().as_bytes()),
        scope: Slice::new(session.scope().as_bytes()),
        metadata: Slice::new(session.metadata_json().as_bytes()),
        environment: Slice::new(session.environment().as_bytes()),
        secret_key_id: session
            .secret_key_id()
            .map_or(Slice::NONE, |id| Slice::new(id.as_bytes())),
        expires_at,
    }
}

const fn size_of_u32<T>() -> u32 {
    size_of::<T>() as u32
}
