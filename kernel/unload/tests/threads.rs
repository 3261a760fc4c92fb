//! Threads that libraries start, and signal handlers that they leave: nothing is unmapped under them.

#![cfg(can_unload)]
#![expect(clippy::unwrap_used, reason = "a test ends with what it finds")]
#![expect(unsafe_code, reason = "libraries are loaded and called")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use midplane_unload::{Library, Pin};
use support::*;

fn leave_running(library: &Library, gate: &'static AtomicBool, last_call: extern "C" fn()) {
    let symbol = library.symbol(c"leave_running").unwrap();
    // SAFETY: its type (examples/threads.rs).
    let leave: extern "C" fn(&'static AtomicBool, extern "C" fn()) =
        unsafe { std::mem::transmute(symbol) };
    leave(gate, last_call);
}

/// Asks over and over, hardly with a pause, so that every moment of a thread's end is hit some time.
fn close_at_last(mut library: Library) {
    let start = Instant::now();
    while let Err(resident) = close(library, Duration::ZERO) {
        assert!(start.elapsed() < DEADLINE, "never: {resident}");
        library = resident.library;
        std::thread::yield_now();
    }
}

fn gate() -> &'static AtomicBool {
    for_ever(AtomicBool::new(false))
}

/// What a host function does when the module that calls it has been retired: nothing.
extern "C" fn too_late() {}

#[test]
fn a_joined_thread_holds_nothing() {
    let (artifact, ran) = (Artifact::rust("threads"), counter());
    let control = KernelThread::start("control");
    for round in 1..=50 {
        let library = artifact.open();
        control.run(|| library.count(c"run_joined", ran));
        assert_eq!(value(ran), round);
        control.run(|| settle(&library));
        close(library, PATIENCE).unwrap();
        assert!(!artifact.is_mapped());
    }
    control.leave();
}

#[test]
fn a_thread_left_running_holds_by_its_name_and_when_it_has_ended_no_more() {
    let artifact = Artifact::rust("threads");
    let library = artifact.open();
    let (control, gate) = (KernelThread::start("control"), gate());
    control.run(|| leave_running(&library, gate, too_late));
    control.leave();

    // Its name is set by the thread itself.
    let named = [Pin::OwnThreads(vec!["left-behind".to_owned()])];
    wait_until("the thread has its name", || pins(&library) == named);
    let resident = refuse(library);
    assert_eq!(
        resident.to_string(),
        "module threads still running: 1 (left-behind)"
    );
    assert!(artifact.is_mapped());

    gate.store(true, Ordering::SeqCst);
    close(resident.library, PATIENCE).unwrap();
    assert!(!artifact.is_mapped());
}

#[test]
fn a_thread_returns_into_mapped_code_after_its_last_call() {
    static LAST_CALLS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn last_call() {
        LAST_CALLS.fetch_add(1, Ordering::SeqCst);
    }
    let artifact = Artifact::rust("threads");
    let control = KernelThread::start("control");
    for round in 1..=200 {
        let (library, gate) = (artifact.open(), gate());
        control.run(|| leave_running(&library, gate, last_call));
        control.run(|| settle(&library));
        gate.store(true, Ordering::SeqCst);
        wait_until("the last call", || {
            LAST_CALLS.load(Ordering::SeqCst) == round
        });
        // It is on its way back through the library.
        close_at_last(library);
        assert!(!artifact.is_mapped());
    }
    control.leave();
}

#[test]
fn a_thread_that_starts_another_and_ends_leaves_no_gap() {
    let artifact = Artifact::compiled("relay.c", &[]);
    let control = KernelThread::start("control");
    for _ in 0..20 {
        let (library, runs) = (artifact.open(), counter());
        control.run(|| library.count(c"start", runs));
        close_at_last(library);
        assert_eq!(value(runs), 300);
        assert!(!artifact.is_mapped());
    }
    control.leave();
}

#[test]
fn detached_threads_of_c_and_cpp_hold_until_their_thread_locals_are_destroyed() {
    for source in ["detached.c", "thread_local.cpp"] {
        let artifact = Artifact::compiled(source, &[]);
        let bystander = Artifact::rust("threads");
        let bystander = bystander.open();
        let control = KernelThread::start("control");
        for _ in 0..100 {
            let (library, gate) = (artifact.open(), counter());
            control.run(|| library.count(c"start", gate));
            control.run(|| settle(&library));
            let resident = refuse(library);
            assert!(matches!(resident.pins[..], [Pin::OwnThreads(_)]));
            // A thread that the shared C++ runtime has started counts for the library it was started for.
            assert_eq!(pins(&bystander), []);
            gate.store(1, Ordering::SeqCst);
            close(resident.library, PATIENCE).unwrap();
            assert_eq!(value(gate), 2, "{source}: the destructor ran before");
            assert!(!artifact.is_mapped());
        }
        control.leave();
        close(bystander, PATIENCE).unwrap();
    }
}

#[test]
fn a_cancelled_thread_ends_in_good_order() {
    let artifact = Artifact::compiled("detached.c", &[]);
    let control = KernelThread::start("control");
    for _ in 0..100 {
        let (library, counter) = (artifact.open(), counter());
        control.run(|| library.count(c"start_and_cancel", counter));
        control.run(|| settle(&library));
        close(library, PATIENCE).unwrap();
        assert_eq!(value(counter), 2);
        assert!(!artifact.is_mapped());
    }
    control.leave();
}

#[test]
fn a_signal_handler_left_behind_holds() {
    let (artifact, caught) = (Artifact::compiled("handler.c", &[]), counter());
    let library = artifact.open();
    library.count(c"install", caught);
    let resident = refuse(library);
    assert!(matches!(&resident.pins[..], [Pin::SignalHandlers(names)] if names.len() == 1));
    assert!(
        resident
            .to_string()
            .starts_with("signal handlers left in its code: 1 (signal 12"),
        "{resident}"
    );
    // SAFETY: the handler is there, as the library is still mapped.
    unsafe { libc::raise(libc::SIGUSR2) };
    assert_eq!(value(caught), 1);

    let library = resident.library;
    library.count(c"restore", caught);
    close(library, PATIENCE).unwrap();
    assert!(!artifact.is_mapped());
}

#[test]
#[ignore = "takes a minute, and valgrind: cargo test -p midplane-unload -- --ignored"]
fn valgrind_finds_nothing() {
    under_valgrind();
}
