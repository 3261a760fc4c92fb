//! Many libraries come and go at once: none is taken for another, at whatever addresses they are mapped one after the other.

#![cfg(can_unload)]
#![expect(clippy::unwrap_used, reason = "a test ends with what it finds")]

mod support;

use std::sync::atomic::Ordering;

use support::*;

const ROUNDS: usize = 150;

/// What is loaded, what is called, and what its counter says when it is gone.
const KINDS: [(&str, &[&str], usize); 6] = [
    (
        "thread_locals",
        &["touch", "touch_nested", "touch_current"],
        3,
    ),
    ("threads", &["run_joined"], 1),
    ("keys.c", &["touch"], 1),
    ("chain.c", &["touch"], 100),
    ("constructor.c", &[], 0),
    ("thread_local.cpp", &["touch"], 1),
];

#[test]
fn libraries_come_and_go_at_once() {
    std::thread::scope(|scope| {
        for (source, functions, counts) in KINDS {
            scope.spawn(move || come_and_go(source, functions, counts));
        }
    });
}

fn come_and_go(source: &str, functions: &[&str], counts: usize) {
    let artifact = match source.contains('.') {
        true => Artifact::compiled(source, &[]),
        false => Artifact::rust(source),
    };
    let functions: Vec<_> = functions
        .iter()
        .map(|name| std::ffi::CString::new(*name).unwrap())
        .collect();
    let counter = counter();
    let workers = [1, 2].map(|i| KernelThread::start(&format!("{source}-{i}")));
    for round in 0..ROUNDS {
        counter.store(0, Ordering::SeqCst);
        // A thread that ends instead of settling, every other time.
        let control = KernelThread::start("control");
        let library = control.run(|| artifact.open());
        for thread in workers.iter().chain([&control]) {
            thread.run(|| {
                for function in &functions {
                    library.count(function, counter);
                }
            });
        }
        if round % 2 == 0 {
            control.leave();
        } else {
            control.end();
        }
        for worker in &workers {
            assert_eq!(worker.run(|| settle(&library)).left, 0);
        }
        close(library, PATIENCE).unwrap_or_else(|why| panic!("{source}, round {round}: {why}"));
        assert!(!artifact.is_mapped(), "{source}, round {round}");
        assert_eq!(value(counter), 3 * counts, "{source}, round {round}");
    }
    workers.into_iter().for_each(KernelThread::end);
}
