//! The functions the kernel calls. Each catches unwinding: a panic that left `extern "C"` would abort the process.

use std::ffi::c_void;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use midplane_abi::{self as abi, Slice, Status, status};
use serde::de::DeserializeOwned;

use super::head::{HeadBytes, read_head};
use super::host;
use super::instance::{Attribute, Instance, ModuleService};
use super::task::Task;
use crate::context::Context;
use crate::error::Result;
use crate::session::{Exchange, Session};
use crate::state::Saved;
use crate::telemetry;

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
        restore: Some(restore),
        probe: Some(probe),
        begin: Some(begin),
        poll: Some(poll),
        drop_task: Some(drop_task),
        on_session: Some(on_session),
        openapi: Some(openapi),
        quiesce: Some(quiesce),
        save: Some(save),
        fini: Some(fini),
    };
    status::OK
}

/// What the attribute's `init` does: takes over the log and runs the module's function until it ends or waits for its state,
/// which it writes in the attribute's schema.
///
/// # Safety
/// `given` and `out` are the kernel's, as the ABI says.
pub unsafe fn init<C, F, Fut, S>(
    given: *const abi::Init,
    out: *mut abi::Instance,
    attribute: Attribute,
    module: F,
) -> Status
where
    C: DeserializeOwned,
    F: FnOnce(Context<C>) -> Fut,
    Fut: Future<Output = Result<S>> + Send + 'static,
    S: ModuleService,
{
    // SAFETY: valid during this call.
    telemetry::install(unsafe { (*given).owner });
    // SAFETY: handed on.
    let made = unsafe { make_instance(given, out, attribute, module) };
    if made != status::OK {
        telemetry::uninstall();
    }
    made
}

/// Runs the module's function until it ends or waits for its state.
///
/// # Safety
/// `given` and `out` are the kernel's, as the ABI says.
pub(crate) unsafe fn make_instance<C, F, Fut, S>(
    given: *const abi::Init,
    out: *mut abi::Instance,
    attribute: Attribute,
    module: F,
) -> Status
where
    C: DeserializeOwned,
    F: FnOnce(Context<C>) -> Fut,
    Fut: Future<Output = Result<S>> + Send + 'static,
    S: ModuleService,
{
    guard(|| {
        // SAFETY: valid during this call; the size comes first.
        if (unsafe { (*given).size } as usize) < size_of::<abi::Init>() {
            host::fail("the kernel is older than the module's SDK: update it");
            return status::FAILED;
        }
        // SAFETY: valid during this call, and whole.
        let given = unsafe { &*given };
        match Instance::start(given, attribute, module) {
            Ok(instance) => {
                // SAFETY: `out` points to the kernel's struct for us to fill.
                let out = unsafe { &mut *out };
                out.flags = instance.flags();
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

unsafe extern "C" fn restore(out: *mut abi::Instance, schema: u32, state: Slice) -> Status {
    guard(|| {
        // SAFETY: the kernel's struct, with what `init` left there.
        let out = unsafe { &mut *out };
        // SAFETY: the pointer that `init` gave.
        let this = unsafe { instance(out.ptr) };
        // SAFETY: valid during this call.
        let state = unsafe { state.bytes() }.map(|bytes| Saved {
            schema,
            bytes: bytes.to_vec(),
        });
        let restored = answer(this.restore(state));
        out.flags = this.flags();
        restored
    })
}

unsafe extern "C" fn probe(this: *mut c_void) -> Status {
    // SAFETY: the kernel hands back the pointer of `init`, and not after `fini`.
    guard(|| answer(unsafe { instance(this) }.probe()))
}

unsafe extern "C" fn save(this: *mut c_void, schema: *mut u32) -> Status {
    guard(|| {
        // SAFETY: as in `probe`.
        let saved = unsafe { instance(this) }.save();
        answer(saved.map(|written| {
            // SAFETY: the kernel's place for the number.
            unsafe { schema.write(written) };
        }))
    })
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
        let Some(service) = this.service() else {
            return status::INVALID;
        };
        // SAFETY: valid during this call.
        let head = unsafe { &*head };
        let Some((exchange, request)) = read_head(request, head, this.switch()) else {
            return status::INVALID;
        };
        let _entered = this.enter();
        let handler = host::with_current(exchange.request, || service.handle(request));
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
        let Some(check) = this.on_session() else {
            return status::INVALID;
        };
        // SAFETY: valid during this call.
        let session = unsafe { &*session };
        let mut head = HeadBytes::default();
        let fields = head.session(session);
        let exchange = Exchange::new(
            request,
            head.bytes.freeze(),
            fields,
            Arc::clone(this.switch()),
        );
        let _entered = this.enter();
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
        let _entered = this.enter();
        host::with_current(task.exchange().request, || task.poll(why))
    })
}

unsafe extern "C" fn drop_task(this: *mut c_void, task: abi::Task) {
    guard(|| {
        // SAFETY: as in `begin`.
        let this = unsafe { instance(this) };
        // SAFETY: the kernel hands back what `begin` gave, once, when no poll of it runs.
        let task = unsafe { Box::from_raw(task.0 as *mut Task) };
        let _entered = this.enter();
        host::with_current(task.exchange().request, || drop(task));
        status::OK
    });
}

unsafe extern "C" fn openapi(this: *mut c_void) -> Slice {
    // SAFETY: as in `begin`.
    unsafe { instance(this) }.openapi()
}

unsafe extern "C" fn quiesce(this: *mut c_void, drain_ms: u64) {
    guard(|| {
        // SAFETY: as in `begin`.
        unsafe { instance(this) }.quiesce(Duration::from_millis(drain_ms));
        status::OK
    });
}

unsafe extern "C" fn fini(this: *mut c_void) {
    guard(|| {
        // SAFETY: the kernel hands back the pointer of `init`, once, when no other call runs.
        unsafe { Box::from_raw(this.cast::<Instance>()) }.end();
        status::OK
    });
}

/// Tells the kernel how a step went.
fn answer(outcome: Result<()>) -> Status {
    match outcome {
        Ok(()) => status::OK,
        Err(error) => {
            host::fail(&error.to_string());
            status::FAILED
        }
    }
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

/// # Safety
/// `this` is the pointer that `init` gave, before `fini`.
unsafe fn instance<'a>(this: *mut c_void) -> &'a Instance {
    // SAFETY: by the contract.
    unsafe { &*this.cast::<Instance>() }
}

fn into_handle(task: Task) -> abi::Task {
    abi::Task(Box::into_raw(Box::new(task)) as u64)
}
