//! The functions that libraries call instead of the C library's.
//!
//! Each finds out which library it is called for, notes that in the ledger, and goes on to the C library's own; only
//! destructors of thread-locals are kept from it. They are called while threads start and end, while constructors run and
//! while the dynamic linker is busy. So they must not wait for the dynamic linker, take a lock that is held over a call, or use
//! a thread-local that has to be dropped.

#![expect(
    unsafe_code,
    reason = "C functions with the C library's names and contracts"
)]

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::images::{Id, Owner};
use super::ledger::{self, Call, Destructor, Registered};
use super::libc_own::{self as own, Routine};
use super::thread::Thread;
use super::{callers, objects, thread_end};
use crate::pin::Unavailable;

/// `PTHREAD_KEYS_MAX` (glibc, `bits/local_lim.h`): keys are numbers below it.
const KEYS_MAX: usize = 1024;

/// Whether a library created the key of this number; so that storing a value of any other key costs one load.
static IS_LIBRARYS: [AtomicBool; KEYS_MAX] = [const { AtomicBool::new(false) }; KEYS_MAX];

pub(crate) fn availability() -> Result<(), Unavailable> {
    static AVAILABILITY: OnceLock<Result<(), Unavailable>> = OnceLock::new();
    *AVAILABILITY.get_or_init(|| {
        // Known before a library can be loaded.
        objects::program();
        let exports = [
            own::THREAD_ATEXIT.pair(__cxa_thread_atexit_impl as *const ()),
            own::CREATE.pair(pthread_create as *const ()),
            own::KEY_CREATE.pair(pthread_key_create as *const ()),
            own::KEY_DELETE.pair(pthread_key_delete as *const ()),
            own::SET_SPECIFIC.pair(pthread_setspecific as *const ()),
        ];
        exports.into_iter().collect()
    })
}

/// Deletes keys of a library that is gone, or going.
pub(super) fn delete_keys(numbers: impl IntoIterator<Item = libc::pthread_key_t>) {
    for number in numbers {
        if let Some(is_librarys) = IS_LIBRARYS.get(number as usize) {
            is_librarys.store(false, Ordering::Relaxed);
        }
        // SAFETY: a key that was created, and not deleted: the ledger had it.
        unsafe { own::KEY_DELETE.get()(number) };
    }
}

/// The library at this address. While libraries are loading, their place may not be known yet: the dynamic linker's list has
/// it already.
fn owner(address: usize) -> Option<Id> {
    match ledger::with(|ledger| ledger.images.owner(address)) {
        Owner::Known(id) => Some(id),
        Owner::Nobody => None,
        Owner::Ask => {
            let mapped = objects::containing(address)?;
            ledger::with(|ledger| ledger.images.located(&mapped.path, &mapped.span))
        }
    }
}

/// Registers a thread-local's destructor for the end of this thread (glibc, `stdlib/cxa_thread_atexit_impl.c`).
///
/// The C library's function would wait for the dynamic linker, whoever calls it. So those of the program are kept here, too:
/// every thread that Rust starts registers one, and would hang with a constructor that does.
#[unsafe(no_mangle)]
unsafe extern "C" fn __cxa_thread_atexit_impl(
    destructor: Destructor,
    object: *mut c_void,
    dso: *mut c_void,
) -> c_int {
    // SAFETY: the caller's arguments, for the function it called.
    let forward = || unsafe { own::THREAD_ATEXIT.get()(destructor, object, dso) };
    let id = if objects::program().contains(&(dso as usize)) {
        Some(Id::PROGRAM)
    } else {
        // C++ gives destructors of its shared runtime, but always a handle of the library that has the thread-local.
        owner(dso as usize).or_else(|| owner(destructor as usize))
    };
    let Some(id) = id.filter(|_| thread_end::announce()) else {
        return forward();
    };
    let call = Call {
        destructor,
        object: AtomicPtr::new(object),
    };
    let thread = Thread::current();
    match ledger::with(|ledger| ledger.register(id, thread, call)) {
        Registered::Kept | Registered::Forgotten => 0,
        Registered::Forward => forward(),
    }
}

/// Creates a key (pthread_key_create(3)). The third argument of [`key_create`] is the caller's address.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn pthread_key_create(
    _key: *mut libc::pthread_key_t,
    _destructor: Option<Destructor>,
) -> c_int {
    #[cfg(target_arch = "x86_64")]
    std::arch::naked_asm!("mov rdx, [rsp]", "jmp {}", sym key_create);
    #[cfg(target_arch = "aarch64")]
    std::arch::naked_asm!("mov x2, x30", "b {}", sym key_create);
}

unsafe extern "C" fn key_create(
    key: *mut libc::pthread_key_t,
    destructor: Option<Destructor>,
    caller: usize,
) -> c_int {
    // The lower its number, the earlier a key's destructor is run.
    thread_end::make_key();
    // SAFETY: the caller's arguments, for the function it called.
    let status = unsafe { own::KEY_CREATE.get()(key, destructor) };
    if status != 0 || objects::program().contains(&caller) {
        return status;
    }
    let of_destructor = destructor.and_then(|destructor| owner(destructor as usize));
    if let Some(id) = of_destructor.or_else(|| owner(caller)) {
        // SAFETY: written, as it succeeded.
        let number = unsafe { *key };
        ledger::with(|ledger| ledger.add_key(id, number, destructor));
        if let Some(is_librarys) = IS_LIBRARYS.get(number as usize) {
            is_librarys.store(true, Ordering::Relaxed);
        }
    }
    status
}

/// Deletes a key (pthread_key_delete(3)).
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_key_delete(number: libc::pthread_key_t) -> c_int {
    if let Some(is_librarys) = IS_LIBRARYS.get(number as usize)
        && is_librarys.swap(false, Ordering::Relaxed)
    {
        ledger::with(|ledger| ledger.remove_key(number));
    }
    // SAFETY: the caller's argument, for the function it called.
    unsafe { own::KEY_DELETE.get()(number) }
}

/// Stores this thread's value of a key (pthread_setspecific(3)).
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setspecific(
    number: libc::pthread_key_t,
    value: *const c_void,
) -> c_int {
    // Whoever may use the key knows its number from its creation, and so sees what was stored then.
    let is_librarys = IS_LIBRARYS
        .get(number as usize)
        .is_some_and(|is_librarys| is_librarys.load(Ordering::Relaxed));
    if is_librarys && !value.is_null() {
        let thread = Thread::current();
        ledger::with(|ledger| ledger.value_set(number, thread));
    }
    // SAFETY: the caller's arguments, for the function it called.
    unsafe { own::SET_SPECIFIC.get()(number, value) }
}

/// Starts a thread (pthread_create(3)). The fifth argument of [`create`] is the caller's address.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn pthread_create(
    _thread: *mut libc::pthread_t,
    _attributes: *const libc::pthread_attr_t,
    _routine: Routine,
    _argument: *mut c_void,
) -> c_int {
    #[cfg(target_arch = "x86_64")]
    std::arch::naked_asm!("mov r8, [rsp]", "jmp {}", sym create);
    #[cfg(target_arch = "aarch64")]
    std::arch::naked_asm!("mov x4, x30", "b {}", sym create);
}

/// What a thread of a library starts with.
struct Start {
    routine: Routine,
    argument: *mut c_void,
    holds: Vec<u64>,
}

unsafe extern "C" fn create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    routine: Routine,
    argument: *mut c_void,
    caller: usize,
) -> c_int {
    let starters = starters(routine as usize, caller);
    if starters.is_empty() {
        // SAFETY: the caller's arguments, for the function it called.
        return unsafe { own::CREATE.get()(thread, attributes, routine, argument) };
    }
    // Held before it runs: it may end before this function does.
    let Some(holds) = ledger::with(|ledger| ledger.starting(&starters)) else {
        return libc::EAGAIN;
    };
    let start = Box::into_raw(Box::new(Start {
        routine,
        argument,
        holds,
    }));
    // SAFETY: the caller's arguments; `begin` is given the start that it takes over.
    let status = unsafe { own::CREATE.get()(thread, attributes, begin, start.cast()) };
    if status != 0 {
        // SAFETY: no thread was started, so that the box is still this function's.
        let start = unsafe { Box::from_raw(start) };
        ledger::with(|ledger| start.holds.iter().for_each(|hold| ledger.ended(*hold)));
    }
    status
}

/// The first function of a thread of a library. It says which thread it is, and has nothing to drop when it calls on, so that
/// `pthread_exit` may unwind through it.
unsafe extern "C-unwind" fn begin(start: *mut c_void) -> *mut c_void {
    let (routine, argument) = {
        // SAFETY: `create` gave it away to this thread, once.
        let start = unsafe { Box::from_raw(start.cast::<Start>()) };
        let thread = Thread::current();
        ledger::with(|ledger| ledger.runs(&start.holds, thread));
        (start.routine, start.argument)
    };
    // SAFETY: what the library asked to be run on a thread of its own.
    unsafe { routine(argument) }
}

/// Which libraries start a thread; none, if the program does.
///
/// A shared C++ runtime starts threads in the name of its callers, with a routine of its own. Then it is the library that is
/// on the stack, or the one whose thread this is. If that is not known either, it may be any, and each counts.
fn starters(routine: usize, caller: usize) -> Vec<Id> {
    let program = objects::program();
    if program.contains(&routine) && program.contains(&caller) {
        return Vec::new();
    }
    if let Some(id) = owner(routine).or_else(|| owner(caller)) {
        return vec![id];
    }
    let all = ledger::with(|ledger| ledger.images.ids());
    if program.contains(&caller) || all.is_empty() {
        return Vec::new();
    }
    if let Some(id) = callers::find(owner) {
        return vec![id];
    }
    let thread = Thread::current();
    let started = ledger::with(|ledger| ledger.started(thread));
    if started.is_empty() { all } else { started }
}
