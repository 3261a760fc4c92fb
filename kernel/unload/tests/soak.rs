//! Two thousand reloads of a library with a tokio runtime: what the process has afterwards is what it had before.

#![cfg(can_unload)]
#![expect(clippy::unwrap_used, reason = "a test ends with what it finds")]
#![expect(unsafe_code, reason = "libraries are loaded and called")]

mod support;

use std::fs;

use midplane_unload::{Library, settle_thread};
use support::*;

const RELOADS: usize = 2_000;
/// After so many everything that is made once has been made.
const WARM: usize = 200;
const WORKERS: usize = 4;
/// Memory comes and goes by the allocator's ways; one generation that stays costs half of this.
const MEMORY_KIB_MAX: usize = 5 * 1024;
/// Set to have fewer reloads under a slow tool.
const RELOADS_VARIABLE: &str = "MIDPLANE_UNLOAD_RELOADS";

#[test]
fn reloads_leave_nothing_behind() {
    let reloads = match std::env::var(RELOADS_VARIABLE) {
        Ok(number) => number.parse().unwrap(),
        Err(_) => RELOADS,
    };
    let artifact = Artifact::rust("tokio_runtime");
    let workers: Vec<_> = (0..WORKERS)
        .map(|i| KernelThread::start(&format!("worker-{i}")))
        .collect();
    let mut warm = None;
    for reload in 1..=reloads {
        generation(&artifact, &workers).unwrap_or_else(|why| panic!("reload {reload}: {why}"));
        assert!(!artifact.is_mapped());
        if reload == WARM.min(reloads / 2) {
            warm = Some(Process::now());
        }
    }
    let (warm, end) = (warm.unwrap(), Process::now());
    println!("after the first: {warm:?}\nafter {reloads}: {end:?}");
    assert_eq!(
        (end.regions, end.threads, end.descriptors),
        (warm.regions, warm.threads, warm.descriptors)
    );
    // A tool that runs the program keeps what it likes for each library.
    let is_whole = reloads >= RELOADS;
    assert!(
        !is_whole || end.memory_kib < warm.memory_kib + MEMORY_KIB_MAX,
        "{warm:?} {end:?}"
    );
    workers.into_iter().for_each(KernelThread::leave);
}

/// One load, as the kernel does it: `init` and `fini` on threads of their own, requests on every worker.
fn generation(artifact: &Artifact, workers: &[KernelThread]) -> Result<(), String> {
    let (library, runtime) = on_control_thread(|| {
        let library = artifact.open();
        let start = library.symbol(c"start").unwrap();
        // SAFETY: its type (examples/tokio_runtime.rs).
        let start: extern "C" fn() -> usize = unsafe { std::mem::transmute(start) };
        let runtime = start();
        (library, runtime)
    });
    let handle = library.symbol(c"handle").unwrap();
    // SAFETY: its type.
    let handle: extern "C" fn(usize) -> u32 = unsafe { std::mem::transmute(handle) };
    std::thread::scope(|scope| {
        for worker in workers {
            scope.spawn(move || worker.run(|| assert_eq!(handle(runtime), 42)));
        }
    });
    let stop = library.symbol(c"stop").unwrap();
    // SAFETY: its type.
    let stop: extern "C" fn(usize) = unsafe { std::mem::transmute(stop) };
    on_control_thread(|| stop(runtime));
    settle_everywhere(&library, workers);
    on_control_thread(|| close(library, PATIENCE)).map_err(|resident| resident.to_string())
}

fn settle_everywhere(library: &Library, workers: &[KernelThread]) {
    for worker in workers {
        let settled = worker.run(|| settle(library));
        assert_eq!(settled.left, 0);
    }
}

fn on_control_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let control = scope.spawn(|| {
            let done = work();
            // SAFETY: the thread calls no library any more.
            unsafe { settle_thread() };
            done
        });
        control.join().unwrap()
    })
}

/// What the process has.
#[derive(Debug)]
struct Process {
    regions: usize,
    threads: usize,
    descriptors: usize,
    memory_kib: usize,
}

impl Process {
    fn now() -> Process {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let kib = |line: &str| line.split_ascii_whitespace().nth(1)?.parse().ok();
        // The thread that has joined another may see it for a moment longer.
        let threads = || fs::read_dir("/proc/self/task").unwrap().count();
        wait_until("the threads that were joined are gone", || {
            threads() <= 2 + WORKERS
        });
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        Process {
            // Of files: how the allocator cuts its own memory up is its business.
            regions: maps.lines().filter(|line| line.contains(" /")).count(),
            threads: threads(),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            memory_kib: status
                .lines()
                .find(|line| line.starts_with("VmRSS"))
                .and_then(kib)
                .unwrap(),
        }
    }
}
