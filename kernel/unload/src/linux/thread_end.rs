//! Running a thread's destructors: those of one library before it is unmapped, and all when the thread ends.

#![expect(
    unsafe_code,
    reason = "destructors are called, and one key of the C library's is kept"
)]

use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::images::Id;
use super::ledger::{self, Call, Destructor};
use super::libc_own as own;
use super::objects;
use super::thread::{self, Thread};
use crate::library::Settled;

/// Destructors may register destructors. After so many at once it is taken for a circle, and given up; a module has some
/// dozens on a thread.
const RUNS_MAX: usize = 10_000;

/// Runs the library's destructors on this thread, and those of its keys' values, until none is left.
///
/// # Safety
/// As [`Settler::settle_here`](crate::Settler::settle_here).
pub(super) unsafe fn settle(id: Id) -> Settled {
    let thread = Thread::current();
    let mut ran = 0;
    loop {
        let before = ran;
        // As when a thread ends: thread-locals first (glibc, `start_thread`), the values of keys then, and all over again.
        // SAFETY: by the contract.
        ran += unsafe { run_pending(Some(id), thread, RUNS_MAX.saturating_sub(ran)) };
        // SAFETY: by the contract.
        ran += unsafe { run_values(id) };
        if ran == before || ran >= RUNS_MAX {
            break;
        }
    }
    let left = ledger::with(|ledger| ledger.pending_len(id, thread)) + values(id).count();
    if left == 0 {
        ledger::with(|ledger| ledger.settled(id, thread));
    }
    Settled { ran, left }
}

/// # Safety
/// As in the crate's root.
pub(crate) unsafe fn settle_thread() {
    let thread = Thread::current();
    for id in ledger::with(|ledger| ledger.held_by(thread)) {
        // SAFETY: by the contract.
        unsafe { settle(id) };
    }
}

/// Runs the destructors of thread-locals that are kept for this thread, the last registered first, as many as `runs_max`.
///
/// # Safety
/// As [`settle`]; without a library, for every library.
unsafe fn run_pending(id: Option<Id>, thread: Thread, runs_max: usize) -> usize {
    let mut ran = 0;
    while ran < runs_max
        && let Some(Call { destructor, object }) =
            ledger::with(|ledger| ledger.take_pending(id, thread))
    {
        // SAFETY: as the C library would, once, on the thread that registered it; its library is mapped, as the thread holds it.
        unsafe { destructor(object.into_inner()) };
        ran += 1;
    }
    ran
}

/// Runs the destructors of this thread's values of the library's keys, one round.
///
/// # Safety
/// As [`settle`].
unsafe fn run_values(id: Id) -> usize {
    let mut ran = 0;
    for (key, destructor, value) in values(id) {
        // SAFETY: a key that exists (below). The value is the destructor's from here on.
        unsafe { own::SET_SPECIFIC.get()(key, ptr::null()) };
        // SAFETY: as the C library would, on the thread that has stored the value.
        unsafe { destructor(value) };
        ran += 1;
    }
    ran
}

/// This thread's values of the library's keys, of those that have a destructor.
fn values(id: Id) -> impl Iterator<Item = (libc::pthread_key_t, Destructor, *mut c_void)> {
    let keys = ledger::with(|ledger| ledger.keys(id));
    keys.into_iter().filter_map(|key| {
        // SAFETY: a key that exists: it is in the ledger. Should a destructor delete it meanwhile, there is no value.
        let value = unsafe { libc::pthread_getspecific(key.number) };
        (!value.is_null()).then_some((key.number, key.destructor?, value))
    })
}

/// Has [`at_exit`] called when this thread ends, or once more if it is ending. Says whether that is possible.
pub(super) fn announce() -> bool {
    if thread::is_main() {
        announce_exit();
    }
    // SAFETY: a key of this file's; its value is never looked at.
    let announce = |key| unsafe { own::SET_SPECIFIC.get()(key, ptr::without_provenance(1)) };
    key().is_some_and(|key| announce(key) == 0)
}

/// The main thread does not end when the process exits: of it the C library runs what was registered with it. So one
/// registration stands for all; the first is made long before anything is loaded.
fn announce_exit() {
    static ANNOUNCED: AtomicBool = AtomicBool::new(false);
    if !ANNOUNCED.swap(true, Ordering::Relaxed) {
        let program = ptr::with_exposed_provenance_mut(objects::program().start);
        // SAFETY: `at_exit` uses no object, and is the program's. Should it fail, nothing is run, as if the process were killed.
        unsafe { own::THREAD_ATEXIT.get()(at_exit, ptr::null_mut(), program) };
    }
}

/// Makes the key by which the C library tells that a thread ends, if there is none yet.
///
/// A program's first key should be this one: std drops what it keeps of a thread by a key of its own, and destructors of
/// thread-locals may need that. The C library calls in the order of the keys' numbers.
pub(super) fn make_key() {
    key();
}

fn key() -> Option<libc::pthread_key_t> {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: writes the key if it succeeds.
        let status = unsafe { own::KEY_CREATE.get()(&raw mut key, Some(at_exit)) };
        (status == 0).then_some(key)
    })
}

/// Runs all that this thread has not run yet. Called by the C library while the thread ends, up to four times, between
/// destructors of other keys; those may register further ones, which call it again. On the main thread, when the process
/// exits.
unsafe extern "C" fn at_exit(_value: *mut c_void) {
    // SAFETY: the thread's functions have all returned. What holds for each destructor is said where it is run.
    unsafe { run_pending(None, Thread::current(), usize::MAX) };
}
