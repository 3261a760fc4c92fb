//! The functions the kernel calls. Each catches unwinding: a panic that left `extern "C"` would abort the process.

use std::ffi::c_void;
use std::future::Future;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use midplane_abi::{self as abi, Slice, Status, instance, status};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::host;
use super::task::{HandlerFuture, Task};
use crate::body::Incoming;
use crate::context::{Context, SessionCheck, ShutdownStep};
use crate::error::{Error, Result};
use crate::session::{Exchange, Session, SessionFields};
use crate::telemetry;

/// How long the runtime may take to end at the end of a generation; blocking calls of the module count.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// One generation of the module.
struct Instance {
    service: Box<dyn ModuleService>,
    runtime: Runtime,
    on_session: Option<SessionCheck>,
    openapi: Option<String>,
    on_drain: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
    on_shutdown: Mutex<Vec<ShutdownStep>>,
    draining: CancellationToken,
    ended: CancellationToken,
}

/// What a module's function may return: any tower service of HTTP requests that can be cloned, an `axum::Router` first of
/// all. Implemented for every such service, and for nothing else.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no service that a module can be",
    note = "it must be a `tower::Service<http::Request<midplane_sdk::Body>>` that answers `http::Response`, and `Clone + Send + Sync + 'static`"
)]
pub trait ModuleService: Send + Sync + 'static {
    /// Calls a clone of the service.
    #[doc(hidden)]
    fn handle(&self, request: http::Request<Body>) -> HandlerFuture;
}

impl<S, B> ModuleService for S
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn handle(&self, request: http::Request<Body>) -> HandlerFuture {
        let mut service = self.clone();
        Box::pin(async move {
            std::future::poll_fn(|cx| service.poll_ready(cx))
                .await
                .map_err(Error::from)?;
            let response = service.call(request).await.map_err(Error::from)?;
            Ok(response.map(Body::new))
        })
    }
}

/// What the attribute's `midplane_module_entry` does.
///
/// # Safety
/// `table` and `out` are the kernel's, as the ABI says.
pub unsafe fn entry(
    table: *const abi::Host,
    out: *mut abi::Module,
    init: unsafe extern "C" fn(*const abi::Init, *mut abi::Instance) -> Status,
) -> Status {
    // SAFETY: the kernel's table outlives this library.
    if !unsafe { host::attach(table) } {
        return status::INVALID;
    }
    // SAFETY: `out` points to the kernel's table for us to fill.
    let out = unsafe { &mut *out };
    if (out.size as usize) < size_of::<abi::Module>() {
        return status::INVALID;
    }
    *out = abi::Module {
        size: u32::try_from(size_of::<abi::Module>()).expect("a small struct"),
        abi_major: abi::MAJOR,
        abi_minor: abi::MINOR,
        flags: 0,
        init: Some(init),
        begin: Some(begin),
        poll: Some(poll),
        drop_task: Some(drop_task),
        on_session: Some(on_session),
        openapi: Some(openapi),
        quiesce: Some(quiesce),
        fini: Some(fini),
    };
    status::OK
}

/// What the attribute's `init` does: takes over the log and runs the module's function to its end.
///
/// # Safety
/// `given` and `out` are the kernel's, as the ABI says.
pub unsafe fn init<C, F, Fut, S>(
    given: *const abi::Init,
    out: *mut abi::Instance,
    module: F,
) -> Status
where
    C: DeserializeOwned,
    F: FnOnce(Context<C>) -> Fut,
    Fut: Future<Output = Result<S>>,
    S: ModuleService,
{
    // SAFETY: valid during this call.
    telemetry::install(unsafe { (*given).owner });
    // SAFETY: handed on.
    unsafe { make_instance(given, out, module) }
}

/// Runs the module's function to its end.
///
/// # Safety
/// `given` and `out` are the kernel's, as the ABI says.
pub(crate) unsafe fn make_instance<C, F, Fut, S>(
    given: *const abi::Init,
    out: *mut abi::Instance,
    module: F,
) -> Status
where
    C: DeserializeOwned,
    F: FnOnce(Context<C>) -> Fut,
    Fut: Future<Output = Result<S>>,
    S: ModuleService,
{
    guard(|| {
        // SAFETY: valid during this call.
        let given = unsafe { &*given };
        match start(given, module) {
            Ok((flags, instance)) => {
                // SAFETY: `out` points to the kernel's struct for us to fill.
                let out = unsafe { &mut *out };
                out.flags = flags;
                out.ptr = Box::into_raw(Box::new(instance)).cast();
                status::OK
            }
            Err(error) => {
                host::fail(&error.to_string());
                status::FAILED
            }
        }
    })
}

fn start<C, F, Fut, S>(given: &abi::Init, module: F) -> Result<(u32, Instance)>
where
    C: DeserializeOwned,
    F: FnOnce(Context<C>) -> Fut,
    Fut: Future<Output = Result<S>>,
    S: ModuleService,
{
    let name = text(given.name);
    // SAFETY: valid during `init`, of which this is a part.
    let config = unsafe { given.config.bytes() }.unwrap_or(b"{}");
    let (context, surroundings) = Context::new(given.owner, &name, given.generation, config)?;
    // One thread: it turns the timers and sockets and runs what handlers spawn; handlers run on the kernel's workers.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(format!("{name}#{}", given.generation))
        .enable_all()
        .build()?;
    let service = runtime.block_on(module(context))?;
    let wishes = std::mem::take(
        &mut *surroundings
            .wishes
            .lock()
            .expect("no code panics under this lock"),
    );
    let mut flags = 0;
    if wishes.needs_secret {
        flags |= instance::NEEDS_SECRET;
    }
    if wishes.on_session.is_some() {
        flags |= instance::CHECKS_SESSIONS;
    }
    let instance = Instance {
        service: Box::new(service),
        runtime,
        on_session: wishes.on_session,
        openapi: wishes.openapi,
        on_drain: Mutex::new(wishes.on_drain),
        on_shutdown: Mutex::new(wishes.on_shutdown),
        draining: surroundings.draining,
        ended: surroundings.ended,
    };
    Ok((flags, instance))
}

unsafe extern "C" fn begin(
    this: *mut c_void,
    request: abi::Request,
    head: *const abi::RequestHead,
    out: *mut abi::Task,
) -> Status {
    guard(|| {
        // SAFETY: the kernel hands back the pointer of `init`, and not after `fini`.
        let this = unsafe { instance(this) };
        // SAFETY: valid during this call.
        let head = unsafe { &*head };
        let Some((exchange, request)) = read_head(request, head) else {
            return status::INVALID;
        };
        let _entered = this.runtime.enter();
        let handler = host::with_current(exchange.request, || this.service.handle(request));
        // SAFETY: `out` is the kernel's to fill.
        unsafe { *out = into_handle(Task::handle(exchange, handler)) };
        status::OK
    })
}

unsafe extern "C" fn on_session(
    this: *mut c_void,
    request: abi::Request,
    session: *const abi::Session,
    out: *mut abi::Task,
) -> Status {
    guard(|| {
        // SAFETY: as in `begin`.
        let this = unsafe { instance(this) };
        let Some(check) = &this.on_session else {
            return status::INVALID;
        };
        // SAFETY: valid during this call.
        let session = unsafe { &*session };
        let mut head = HeadBytes::default();
        let fields = head.session(session);
        let exchange = Exchange::new(request, head.bytes.freeze(), fields);
        let _entered = this.runtime.enter();
        let check = host::with_current(request, || check(Session(Arc::clone(&exchange))));
        // SAFETY: `out` is the kernel's to fill.
        unsafe { *out = into_handle(Task::check(exchange, check)) };
        status::OK
    })
}

unsafe extern "C" fn poll(this: *mut c_void, task: abi::Task, why: u32) -> Status {
    guard(|| {
        // SAFETY: as in `begin`.
        let this = unsafe { instance(this) };
        // SAFETY: the kernel hands back what `begin` gave, polls serially, and not after `drop_task`.
        let task = unsafe { &mut *(task.0 as *mut Task) };
        let _entered = this.runtime.enter();
        host::with_current(task.exchange().request, || task.poll(why))
    })
}

unsafe extern "C" fn drop_task(this: *mut c_void, task: abi::Task) {
    guard(|| {
        // SAFETY: as in `begin`.
        let this = unsafe { instance(this) };
        // SAFETY: the kernel hands back what `begin` gave, once, when no poll of it runs.
        let task = unsafe { Box::from_raw(task.0 as *mut Task) };
        let _entered = this.runtime.enter();
        host::with_current(task.exchange().request, || drop(task));
        status::OK
    });
}

unsafe extern "C" fn openapi(this: *mut c_void) -> Slice {
    // SAFETY: as in `begin`.
    let this = unsafe { instance(this) };
    this.openapi
        .as_deref()
        .map_or(Slice::NONE, |text| Slice::new(text.as_bytes()))
}

unsafe extern "C" fn quiesce(this: *mut c_void) {
    guard(|| {
        // SAFETY: as in `begin`.
        let this = unsafe { instance(this) };
        let _entered = this.runtime.enter();
        let steps = std::mem::take(
            &mut *this
                .on_drain
                .lock()
                .expect("no code panics under this lock"),
        );
        for step in steps {
            contain(step);
        }
        this.draining.cancel();
        status::OK
    });
}

unsafe extern "C" fn fini(this: *mut c_void) {
    guard(|| {
        // SAFETY: the kernel hands back the pointer of `init`, once, when no other call runs.
        let this = unsafe { Box::from_raw(this.cast::<Instance>()) };
        let Instance {
            service,
            runtime,
            on_session,
            on_shutdown,
            ended,
            ..
        } = *this;
        let steps = on_shutdown
            .into_inner()
            .expect("no code panics under this lock");
        for step in steps {
            contain(|| runtime.block_on(step));
        }
        ended.cancel();
        {
            let _entered = runtime.enter();
            contain(|| drop(service));
            contain(|| drop(on_session));
        }
        runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
        status::OK
    });
}

/// Runs `call`; a panic becomes [`status::PANICKED`], its message [`Host::fail`](abi::Host::fail)'s.
fn guard(call: impl FnOnce() -> Status) -> Status {
    // Unwind safety: whatever the panic left half done is dropped next and not looked at again: the kernel ends the task,
    // or refuses the generation.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(status) => status,
        Err(payload) => {
            host::fail(&telemetry::panic_message(payload.as_ref()));
            // The payload's own drop may panic, too; it is not worth the process.
            std::mem::forget(payload);
            status::PANICKED
        }
    }
}

/// Runs one of several steps; its panic, which the hook has told, does not keep the others from running.
fn contain(step: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(step)) {
        // As in `guard`.
        std::mem::forget(payload);
    }
}

/// # Safety
/// `this` is the pointer that `init` gave, before `fini`.
unsafe fn instance<'a>(this: *mut c_void) -> &'a Instance {
    // SAFETY: by the contract.
    unsafe { &*this.cast::<Instance>() }
}

fn into_handle(task: Task) -> abi::Task {
    abi::Task(Box::into_raw(Box::new(task)) as u64)
}

/// The texts of a request's head, copied out of the kernel's slices into one allocation.
#[derive(Default)]
struct HeadBytes {
    bytes: BytesMut,
}

impl HeadBytes {
    fn push(&mut self, slice: Slice) -> Range<usize> {
        let start = self.bytes.len();
        // SAFETY: the kernel's slices are valid during the call that this is a part of.
        self.bytes
            .extend_from_slice(unsafe { slice.bytes() }.unwrap_or_default());
        start..self.bytes.len()
    }

    fn session(&mut self, session: &abi::Session) -> SessionFields {
        SessionFields {
            id: self.push(session.id),
            user: self.push(session.user),
            scope: self.push(session.scope),
            metadata: self.push(session.metadata),
            environment: self.push(session.environment),
            has_secret: !session.secret_key_id.ptr.is_null(),
            expires_at: session.expires_at,
        }
    }
}

/// Builds the request; `None` when the head is not a valid HTTP one, which the kernel never sends.
fn read_head(
    request: abi::Request,
    head: &abi::RequestHead,
) -> Option<(Arc<Exchange>, http::Request<Body>)> {
    // SAFETY: the kernel's slices are valid during `begin`.
    let (method, path, query) =
        unsafe { (head.method.bytes()?, head.path.bytes()?, head.query.bytes()) };
    let fields = match head.headers_len {
        0 => &[],
        // SAFETY: the kernel's array, valid during `begin`.
        len => unsafe { std::slice::from_raw_parts(head.headers, len) },
    };
    let values_len: usize = fields.iter().map(|field| field.value.len).sum();
    let target_len = path.len() + query.map_or(0, |query| query.len() + 1);
    let mut bytes = HeadBytes {
        bytes: BytesMut::with_capacity(target_len + values_len + 256),
    };

    bytes.bytes.extend_from_slice(path);
    if let Some(query) = query {
        bytes.bytes.extend_from_slice(b"?");
        bytes.bytes.extend_from_slice(query);
    }
    let values_start = bytes.bytes.len();
    for field in fields {
        bytes.push(field.value);
    }
    // SAFETY: the kernel's struct, null or valid during `begin`.
    let session = unsafe { head.session.as_ref() };
    let has_session = session.is_some();
    let session = session.map_or_else(SessionFields::default, |session| bytes.session(session));
    let bytes = bytes.bytes.freeze();

    let mut headers = HeaderMap::with_capacity(fields.len());
    let mut start = values_start;
    for field in fields {
        let end = start + field.value.len;
        // SAFETY: as above.
        let name = HeaderName::from_bytes(unsafe { field.name.bytes()? }).ok()?;
        headers.append(
            name,
            HeaderValue::from_maybe_shared(bytes.slice(start..end)).ok()?,
        );
        start = end;
    }
    let exchange = Exchange::new(request, bytes.clone(), session);
    let body = match u64::try_from(head.content_length) {
        Ok(0) => Body::empty(),
        Ok(length) => Body::new(Incoming::new(Arc::clone(&exchange), Some(length))),
        Err(_unknown) => Body::new(Incoming::new(Arc::clone(&exchange), None)),
    };
    let mut built = http::Request::new(body);
    *built.method_mut() = Method::from_bytes(method).ok()?;
    *built.uri_mut() = Uri::from_maybe_shared(bytes.slice(..values_start)).ok()?;
    *built.headers_mut() = headers;
    if has_session {
        built
            .extensions_mut()
            .insert(Session(Arc::clone(&exchange)));
    }
    Some((exchange, built))
}

fn text(slice: Slice) -> String {
    // SAFETY: the kernel's slices are valid during the call that this is a part of.
    String::from_utf8_lossy(unsafe { slice.bytes() }.unwrap_or_default()).into_owned()
}
