//! A module in the process: its table of functions, its instance and its tasks.

use std::ffi::{CStr, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use midplane_abi::{self as abi, Header, Slice, Status, head, instance, status};
use midplane_unload::Findings;
use smallvec::SmallVec;

use super::code::{Code, RetiredCode};
use super::unopened::Unopened;
use super::{Owner, host};
use crate::modules::exchange::Lease;
use crate::modules::generation::Pin;
use crate::modules::instance::{self as modules, Outcome, RequestHead};
use crate::modules::private_copy::PrivateCopy;
use crate::modules::state::SavedState;
use crate::session::Session;
use crate::watchdog::beacon;

/// [`abi::ENTRY_SYMBOL`], as the system's loader takes it.
const ENTRY_SYMBOL: &CStr = c"midplane_module_entry";
/// Most requests have fewer header fields than this; more spill to the heap.
const HEADERS_INLINE: usize = 16;
/// More of an OpenAPI document than anyone writes by hand.
pub(crate) const OPENAPI_LEN_MAX: usize = 4 * 1024 * 1024;

/// Why a library did not become an instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("the library cannot be opened: {0}")]
    Open(Unopened),
    #[error("the library exports no `{symbol}`: the attribute #[midplane_sdk::module] makes it, and a linker's version script or `strip` must leave it visible", symbol = abi::ENTRY_SYMBOL)]
    NoEntry,
    #[error("`{symbol}` refused this kernel (status {0}), which has ABI {major}.{minor}: build the module with the kernel's ABI", symbol = abi::ENTRY_SYMBOL, major = abi::MAJOR, minor = abi::MINOR)]
    EntryRefused(Status),
    #[error("`{symbol}` says that its table has {0} bytes, and the least there is has {len}: set `size` to the struct's own", symbol = abi::ENTRY_SYMBOL, len = abi::MODULE_LEN_MIN)]
    TableLen(u32),
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
    #[error("the module cannot take over: {0}")]
    Restore(String),
    #[error("the module cannot serve: {0}")]
    Probe(String),
    #[error("the generation that serves could not hand its state over: {0}")]
    Save(String),
    /// As its process tells it.
    #[error("{0}")]
    Apart(String),
    #[error("its process ended ({how}) while {step}: the log has what it printed")]
    Ended { how: String, step: &'static str },
    #[error("no process can be started for it: {0}")]
    Start(#[source] std::io::Error),
}

/// A library whose entry has filled its table, not initialised yet. Dropping it unmaps it.
pub(crate) struct Opened {
    /// `None` once it has become an instance.
    code: Option<Code>,
    table: abi::Module,
}

impl Opened {
    /// Maps the library and asks it for its functions. Runs its constructors: call it on a control thread.
    pub(crate) fn open(
        copy: Arc<PrivateCopy>,
        findings: Findings,
        owner: &Owner,
    ) -> Result<Opened, LoadError> {
        let code = Code::open(copy, findings, owner)
            .map_err(|error| LoadError::Open(Unopened::from(&error)))?;
        match ask(&code) {
            Ok(table) => Ok(Opened {
                code: Some(code),
                table,
            }),
            Err(error) => {
                code.retire().discard();
                Err(error)
            }
        }
    }

    /// Makes the instance. May block for as long as the module likes: call it on a control thread.
    pub(crate) fn init(
        mut self,
        owner: &Owner,
        config: &str,
        data_dir: &Path,
    ) -> Result<Instance, LoadError> {
        let given = abi::Init {
            size: size_of_u32::<abi::Init>(),
            flags: 0,
            owner: owner.id,
            name: Slice::new(owner.name.as_bytes()),
            generation: owner.number,
            config: Slice::new(config.as_bytes()),
            data_dir: Slice::new(data_dir.as_os_str().as_bytes()),
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
                made,
                code: Mutex::new(self.code.take()),
            }),
            status::FAILED | status::INVALID => Err(LoadError::Init(host::take_failure())),
            status::PANICKED => Err(LoadError::InitPanicked(host::take_failure())),
            other => Err(LoadError::InitStatus(other)),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(code) = self.code.take() {
            code.retire().discard();
        }
    }
}

/// Asks a library for its functions.
fn ask(code: &Code) -> Result<abi::Module, LoadError> {
    let entry = code.symbol(ENTRY_SYMBOL).ok_or(LoadError::NoEntry)?;
    // SAFETY: the symbol has this type by the ABI, which the descriptor promised.
    let entry = unsafe { std::mem::transmute::<NonNull<c_void>, abi::Entry>(entry) };
    let mut table = abi::Module::unfilled(abi::MAJOR, abi::MINOR);
    // SAFETY: the host table is static, and `table` is ours and of the told size.
    match unsafe { entry(&raw const host::TABLE, &raw mut table) } {
        status::OK => {}
        other => return Err(LoadError::EntryRefused(other)),
    }
    if table.size < abi::MODULE_LEN_MIN {
        return Err(LoadError::TableLen(table.size));
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
    Ok(table)
}

/// A module that takes requests.
pub(crate) struct Instance {
    table: abi::Module,
    made: abi::Instance,
    /// `None` when it has ended.
    code: Mutex<Option<Code>>,
}

// SAFETY: the ABI allows every function of the table on any thread; what must be serial is, through `Task`.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    pub(crate) fn needs_secret(&self) -> bool {
        self.made.flags & instance::NEEDS_SECRET != 0
    }

    pub(crate) fn checks_sessions(&self) -> bool {
        self.made.flags & instance::CHECKS_SESSIONS != 0 && self.table.on_session.is_some()
    }

    /// Gives the instance what the generation before left. May block for as long as the module likes: call it on a control
    /// thread.
    pub(crate) fn restore(&mut self, state: Option<&SavedState>) -> Result<(), LoadError> {
        let Some(restore) = self.table.restore else {
            return Ok(());
        };
        let (schema, bytes) = state.map_or((0, Slice::NONE), |state| {
            (state.schema, Slice::new(&state.bytes))
        });
        host::clear_failure();
        // SAFETY: the instance lives, and `&mut self` keeps every other call out; the state outlives the call.
        let answer = unsafe { restore(&raw mut self.made, schema, bytes) };
        told(answer).map_err(LoadError::Restore)
    }

    /// Asks the instance whether it can serve. May block, as `restore`.
    pub(crate) fn probe(&self) -> Result<(), LoadError> {
        let Some(probe) = self.table.probe else {
            return Ok(());
        };
        host::clear_failure();
        // SAFETY: the instance lives.
        told(unsafe { probe(self.made.ptr) }).map_err(LoadError::Probe)
    }

    /// Whether the instance may have state to hand over.
    pub(crate) fn saves(&self) -> bool {
        self.table.save.is_some()
    }

    /// What the instance hands over, if anything. May block, as `restore`; one at a time.
    pub(crate) fn save(&self, owner: &Owner) -> Result<Option<SavedState>, LoadError> {
        let Some(save) = self.table.save else {
            return Ok(None);
        };
        let mut schema = 0;
        owner.start_saving();
        host::clear_failure();
        // SAFETY: the instance lives, and the place for the number is ours.
        let answer = unsafe { save(self.made.ptr, &raw mut schema) };
        let bytes = owner.end_saving();
        told(answer).map_err(LoadError::Save)?;
        Ok((schema != 0).then_some(SavedState { schema, bytes }))
    }

    /// The module's OpenAPI document.
    pub(crate) fn openapi(&self) -> Option<String> {
        let openapi = self.table.openapi?;
        // SAFETY: the instance lives, and the slice is valid until `fini`, of which there has been none.
        let bytes = unsafe { openapi(self.made.ptr).bytes() }?;
        (bytes.len() <= OPENAPI_LEN_MAX).then(|| String::from_utf8(bytes.to_vec()).ok())?
    }

    /// Tells the module that no new request will come, and how long those may take that are there.
    pub(crate) fn quiesce(&self, drain: Duration) {
        if let Some(quiesce) = self.table.quiesce {
            let drain_ms = u64::try_from(drain.as_millis()).unwrap_or(u64::MAX);
            // SAFETY: the instance lives.
            unsafe { quiesce(self.made.ptr, drain_ms) }
        }
    }

    /// Ends the instance and its threads; a second call gives nothing. Blocks: call it on a control thread, when no pin is
    /// left and none can be taken.
    pub(crate) fn end(&self) -> Option<RetiredCode> {
        let mut code = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        let code = code.take()?;
        let fini = self.table.fini.expect("checked when it was opened");
        // SAFETY: once, and no task is left, since each holds a pin.
        unsafe { fini(self.made.ptr) }
        Some(code.retire())
    }
}

impl Drop for Instance {
    /// An instance that never served, since its load was given up, ends here; every other has ended before.
    fn drop(&mut self) {
        if let Some(code) = self.end() {
            code.discard();
        }
    }
}

/// A request or a session check under way in the module.
pub(crate) struct Task {
    pin: Pin,
    raw: abi::Task,
    request: abi::Request,
}

impl Task {
    /// Hands a request over.
    pub(crate) fn begin(
        pin: Pin,
        lease: &Lease,
        request_head: &RequestHead<'_>,
    ) -> Result<Task, Outcome> {
        let RequestHead {
            parts,
            path,
            request_id,
            session,
            content_length,
            websocket,
            caller,
        } = *request_head;
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
        let caller = caller.map(|caller| abi::Caller {
            size: size_of_u32::<abi::Caller>(),
            flags: 0,
            module: Slice::new(caller.module.as_bytes()),
            generation: caller.generation,
        });
        let head = abi::RequestHead {
            size: size_of_u32::<abi::RequestHead>(),
            flags: u32::from(websocket) * head::WEBSOCKET,
            method: Slice::new(parts.method.as_str().as_bytes()),
            path: Slice::new(path.as_bytes()),
            query: parts
                .uri
                .query()
                .map_or(Slice::NONE, |query| Slice::new(query.as_bytes())),
            headers: headers.as_ptr(),
            headers_len: headers.len(),
            request_id: Slice::new(request_id.as_bytes()),
            session: session
                .as_ref()
                .map_or(std::ptr::null(), std::ptr::from_ref),
            content_length: content_length
                .map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX)),
            caller: caller.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
        };
        let begin = of(&pin).table.begin.expect("checked when it was opened");
        let mut raw = abi::Task(0);
        host::clear_failure();
        let inside = beacon::inside(lease.handle());
        // SAFETY: the pin keeps the instance; everything borrowed outlives the call.
        let answer = unsafe {
            begin(
                of(&pin).made.ptr,
                lease.handle(),
                &raw const head,
                &raw mut raw,
            )
        };
        drop(inside);
        begun(pin, raw, lease, answer)
    }

    /// Has the module look at a session that is about to be issued.
    pub(crate) fn check_session(
        pin: Pin,
        lease: &Lease,
        session: &Session,
        expires_at: u64,
    ) -> Result<Task, Outcome> {
        let on_session = of(&pin)
            .table
            .on_session
            .expect("only asked of modules that have it");
        let session = view(session, expires_at);
        let mut raw = abi::Task(0);
        host::clear_failure();
        let inside = beacon::inside(lease.handle());
        // SAFETY: as in `begin`.
        let answer = unsafe {
            on_session(
                of(&pin).made.ptr,
                lease.handle(),
                &raw const session,
                &raw mut raw,
            )
        };
        drop(inside);
        begun(pin, raw, lease, answer)
    }

    /// The answer has begun.
    pub(crate) fn set_streaming(&mut self) {
        self.pin.set_streaming();
    }

    /// Goes on with the task, for a reason of [`abi::why`].
    pub(crate) fn poll(&mut self, why: u32) -> Outcome {
        let instance = of(&self.pin);
        let poll = instance.table.poll.expect("checked when it was opened");
        host::clear_failure();
        let _inside = beacon::inside(self.request);
        // SAFETY: the task lives until our drop, and `&mut self` keeps polls serial.
        outcome(unsafe { poll(instance.made.ptr, self.raw, why) })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let instance = of(&self.pin);
        let drop_task = instance
            .table
            .drop_task
            .expect("checked when it was opened");
        let _inside = beacon::inside(self.request);
        // SAFETY: once, and no poll of it runs, since that borrows `self`. The pin goes only after this call.
        unsafe { drop_task(instance.made.ptr, self.raw) }
    }
}

/// The instance of a pin whose module is in this process.
fn of(pin: &Pin) -> &Instance {
    match pin.instance() {
        modules::Instance::Here(instance) => instance,
        modules::Instance::Apart(_) => {
            unreachable!("tasks of this kind are made for instances here only")
        }
    }
}

fn begun(pin: Pin, raw: abi::Task, lease: &Lease, answer: Status) -> Result<Task, Outcome> {
    match outcome(answer) {
        Outcome::Ready => Ok(Task {
            pin,
            raw,
            request: lease.handle(),
        }),
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

/// The outcome of a step that is done or has failed.
fn told(answer: Status) -> Result<(), String> {
    match answer {
        status::OK => Ok(()),
        status::PANICKED => Err(format!("it panicked: {}", host::take_failure())),
        status::FAILED | status::INVALID => Err(host::take_failure()),
        other => Err(format!("it answered the unknown status {other}")),
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
