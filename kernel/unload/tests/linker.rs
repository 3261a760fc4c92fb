//! While one library's constructors do not come to an end, the dynamic linker's lock is taken. Others must not wait for it.

#![cfg(can_unload)]
#![expect(clippy::unwrap_used, reason = "a test ends with what it finds")]
#![expect(unsafe_code, reason = "a FIFO is made")]

mod support;

use std::fs::{File, OpenOptions};
use std::path::Path;

use midplane_unload::Pin;
use support::*;

fn make_fifo(path: &Path) {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

#[test]
fn nothing_waits_for_anothers_constructor() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("gate");
    make_fifo(&fifo);
    let slow = Artifact::compiled("slow.c", &[&format!("-DGATE=\"{}\"", fifo.display())]);
    let drops = counter();
    let artifacts = [
        Artifact::rust("thread_locals"),
        Artifact::compiled("keys.c", &[]),
        Artifact::compiled("thread_local.cpp", &[]),
    ];
    let libraries = artifacts.each_ref().map(Artifact::open);
    let threads = Artifact::rust("threads");
    let starter = threads.open();
    // Looking a name up takes the lock, too: it is done when a library is loaded.
    let touch = libraries
        .each_ref()
        .map(|library| Function::of(library, c"touch"));
    let run_joined = Function::of(&starter, c"run_joined");
    // A library's std looks a name up when it starts its first thread.
    run_joined.count(drops);
    let (worker, control) = (
        KernelThread::start("worker"),
        KernelThread::start("control"),
    );

    settle(&starter);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| control.run(|| slow.open()));
        // Opens when the constructor reads, and holds it until it is closed.
        let gate: File = OpenOptions::new().write(true).open(&fifo).unwrap();

        // Registering, on threads that are new and known; starting and joining threads; settling.
        let late = KernelThread::start("late");
        for thread in [&worker, &late] {
            for function in touch.iter().chain([&run_joined]) {
                thread.run(|| function.count(drops));
            }
            for library in &libraries {
                thread.run(|| settle(library));
            }
            thread.run(|| settle(&starter));
        }
        assert_eq!(value(drops), 1 + 2 * (libraries.len() + 1));
        late.leave();

        // To unmap would be to wait; it is said instead.
        let path = slow.path.to_str().unwrap().to_owned();
        let kept = libraries.map(|library| {
            let resident = close(library, std::time::Duration::ZERO).unwrap_err();
            assert_eq!(resident.pins, [Pin::LinkerBusy(path.clone())]);
            resident.library
        });

        drop(gate);
        let slow = loading.join().unwrap();
        for library in kept.into_iter().chain([starter, slow]) {
            close(library, PATIENCE).unwrap();
        }
    });
    assert!(
        !artifacts
            .iter()
            .chain([&threads, &slow])
            .any(Artifact::is_mapped)
    );
    worker.leave();
    control.leave();
}
