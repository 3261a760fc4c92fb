//! What libraries leave on the kernel's threads: destructors of thread-locals, and values of keys.

#![cfg(can_unload)]

mod support;

use std::sync::Barrier;
use std::sync::atomic::Ordering;

use midplane_unload::{Pin, availability};
use support::*;

#[test]
fn this_program_exports_what_libraries_must_find() {
    availability().unwrap();
}

#[test]
fn a_thread_locals_destructor_runs_once_and_then_the_library_goes() {
    let (artifact, drops) = (Artifact::rust("thread_locals"), counter());
    let library = artifact.open();
    let worker = KernelThread::start("worker");
    worker.run(|| library.count(c"touch", drops));
    assert!(artifact.is_mapped());
    assert_eq!(value(drops), 0);

    let settled = worker.run(|| settle(&library));
    assert_eq!((settled.ran, settled.left), (1, 0));
    assert_eq!(value(drops), 1);
    close(library, PATIENCE).unwrap();
    assert!(!artifact.is_mapped());

    worker.end();
    assert_eq!(value(drops), 1);
}

#[test]
fn a_library_stays_while_a_kernel_thread_has_not_settled() {
    let (artifact, drops) = (Artifact::rust("thread_locals"), counter());
    let library = artifact.open();
    let (idle, busy) = (
        KernelThread::start("idle"),
        KernelThread::start("busy-worker"),
    );
    idle.run(|| library.count(c"touch_nothing", drops));
    busy.run(|| library.count(c"touch", drops));

    let resident = refuse(library);
    assert_eq!(
        resident.pins,
        [Pin::UnsettledThreads(vec!["busy-worker".to_owned()])]
    );
    assert_eq!(
        resident.to_string(),
        "threads that have not run its destructors: 1 (busy-worker)"
    );
    assert!(artifact.is_mapped());
    // It is whole: it can be called, settled and asked again.
    let library = resident.library;
    busy.run(|| library.count(c"touch", drops));
    busy.run(|| settle(&library));
    close(library, PATIENCE).unwrap();
    assert!(!artifact.is_mapped());
    assert_eq!(value(drops), 1);
    idle.end();
    busy.end();
}

#[test]
fn destructors_that_touch_other_thread_locals_are_followed() {
    let (artifact, drops) = (Artifact::rust("thread_locals"), counter());
    let library = artifact.open();
    let worker = KernelThread::start("worker");
    worker.run(|| library.count(c"touch_nested", drops));
    assert_eq!(worker.run(|| settle(&library)).ran, 2);
    assert_eq!(value(drops), 2);
    close(library, PATIENCE).unwrap();
    assert!(!artifact.is_mapped());
    worker.end();
}

#[test]
fn what_std_keeps_of_a_thread_is_dropped() {
    let (artifact, drops) = (Artifact::rust("thread_locals"), counter());
    let library = artifact.open();
    let worker = KernelThread::start("worker");
    worker.run(|| library.count(c"touch_current", drops));
    assert!(matches!(pins(&library)[..], [Pin::UnsettledThreads(_)]));
    worker.run(|| settle(&library));
    close(library, PATIENCE).unwrap();
    assert!(!artifact.is_mapped());
    worker.end();
}

#[test]
fn a_thread_that_leaves_settles_every_library() {
    let drops = counter();
    let artifacts = [
        Artifact::rust("thread_locals"),
        Artifact::compiled("keys.c", &[]),
    ];
    let libraries = artifacts.each_ref().map(Artifact::open);
    let control = KernelThread::start("control");
    for library in &libraries {
        control.run(|| library.count(c"touch", drops));
    }
    control.leave();
    assert_eq!(value(drops), 2);
    for library in libraries {
        close(library, PATIENCE).unwrap();
    }
    assert!(!artifacts.iter().any(Artifact::is_mapped));
}

#[test]
fn a_thread_that_just_ends_runs_everything_and_holds_until_then() {
    let drops = counter();
    for function in [c"touch", c"touch_nested", c"touch_current"] {
        let artifact = Artifact::rust("thread_locals");
        let library = artifact.open();
        let control = KernelThread::start("control");
        control.run(|| library.count(function, drops));
        control.end();
        close(library, PATIENCE).unwrap();
        assert!(!artifact.is_mapped());
    }
    assert_eq!(value(drops), 3);
    // Destructors that register others while the thread is ending, and values of keys.
    for (source, ran) in [("chain.c", 100), ("keys.c", 1)] {
        let (artifact, drops) = (Artifact::compiled(source, &[]), counter());
        let library = artifact.open();
        let control = KernelThread::start("control");
        control.run(|| library.count(c"touch", drops));
        control.end();
        close(library, PATIENCE).unwrap();
        assert!(!artifact.is_mapped());
        assert_eq!(value(drops), ran, "{source}");
    }
}

#[test]
fn destructors_that_register_destructors_end_or_are_given_up() {
    let (artifact, drops) = (Artifact::compiled("chain.c", &[]), counter());
    let library = artifact.open();
    let worker = KernelThread::start("worker");
    worker.run(|| library.count(c"touch", drops));
    let settled = worker.run(|| settle(&library));
    assert_eq!((settled.ran, settled.left), (100, 0));

    worker.run(|| library.count(c"touch_endless", drops));
    let settled = worker.run(|| settle(&library));
    assert_eq!((settled.ran, settled.left), (10_000, 1));
    let resident = refuse(library);
    assert!(matches!(resident.pins[..], [Pin::UnsettledThreads(_)]));
    let library = resident.library;
    worker.run(|| library.count(c"stop_endless", drops));
    assert_eq!(worker.run(|| settle(&library)).left, 0);
    close(library, PATIENCE).unwrap();
    assert!(!artifact.is_mapped());
    worker.end();
}

#[test]
fn four_threads_settle_behind_a_barrier() {
    let (artifact, drops) = (Artifact::rust("thread_locals"), counter());
    let workers: Vec<_> = (0..4)
        .map(|i| KernelThread::start(&format!("worker-{i}")))
        .collect();
    for round in 1..=50 {
        let library = artifact.open();
        let barrier = Barrier::new(workers.len());
        std::thread::scope(|scope| {
            for worker in &workers {
                scope.spawn(|| {
                    worker.run(|| {
                        library.count(c"touch", drops);
                        library.count(c"touch_nested", drops);
                        library.count(c"touch_current", drops);
                        barrier.wait();
                        settle(&library);
                    });
                });
            }
        });
        close(library, PATIENCE).unwrap();
        assert!(!artifact.is_mapped());
        assert_eq!(value(drops), round * workers.len() * 3);
    }
    workers.into_iter().for_each(KernelThread::end);
}

#[test]
fn two_generations_are_settled_apart() {
    let (old_drops, new_drops) = (counter(), counter());
    let (old, new) = (
        Artifact::rust("thread_locals"),
        Artifact::rust("thread_locals"),
    );
    let (old_library, new_library) = (old.open(), new.open());
    let worker = KernelThread::start("worker");
    worker.run(|| {
        old_library.count(c"touch", old_drops);
        new_library.count(c"touch", new_drops);
    });
    worker.run(|| settle(&old_library));
    close(old_library, PATIENCE).unwrap();
    assert_eq!((value(old_drops), value(new_drops)), (1, 0));
    assert!(!old.is_mapped() && new.is_mapped());
    worker.run(|| settle(&new_library));
    close(new_library, PATIENCE).unwrap();
    assert_eq!(value(new_drops), 1);
    assert!(!new.is_mapped());
    worker.end();
}

#[test]
fn more_loads_than_there_are_keys() {
    let (artifact, drops) = (Artifact::compiled("keys.c", &[]), counter());
    let worker = KernelThread::start("worker");
    for loads in 1..=1_100 {
        let library = artifact.open();
        worker.run(|| {
            library.count(c"touch", drops);
            if loads % 2 == 0 {
                // Its value goes with it: nobody runs a destructor of a key that is deleted.
                library.count(c"delete_one", drops);
            }
            settle(&library);
        });
        close(library, PATIENCE).unwrap_or_else(|why| panic!("load {loads}: {why}"));
        assert!(!artifact.is_mapped());
    }
    assert_eq!(value(drops), 550);
    worker.end();
}

#[test]
fn what_constructors_leave_is_theirs_and_what_destructors_leave_is_never_run() {
    let (artifact, ran) = (Artifact::compiled("constructor.c", &[]), counter());
    let control = KernelThread::start("control");
    for _ in 0..50 {
        let library = control.run(|| artifact.open());
        assert!(matches!(pins(&library)[..], [Pin::UnsettledThreads(_)]));
        control.run(|| {
            settle(&library);
            library.count(c"count_ran", ran);
        });
        assert_eq!(value(ran), 3);
        // On the very thread that could run them when it ends.
        control.run(|| close(library, PATIENCE)).unwrap();
        assert!(!artifact.is_mapped());
    }
    control.end();
}

#[test]
fn any_thread_holds_until_it_ends() {
    let drops = counter();
    for artifact in [
        Artifact::rust("thread_locals"),
        Artifact::compiled("keys.c", &[]),
    ] {
        let library = artifact.open();
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let (ready, told) = std::sync::mpsc::channel();
        let touch = Function::of(&library, c"touch");
        let before = drops.load(Ordering::SeqCst);
        let thread = std::thread::Builder::new().name("any".to_owned());
        let thread = thread
            .spawn(move || {
                touch.count(drops);
                ready.send(()).unwrap();
                let _ = gate.recv();
            })
            .unwrap();
        told.recv().unwrap();
        let resident = refuse(library);
        assert_eq!(
            resident.pins,
            [Pin::UnsettledThreads(vec!["any".to_owned()])]
        );
        drop(go);
        thread.join().unwrap();
        close(resident.library, PATIENCE).unwrap();
        assert_eq!(value(drops), before + 1);
        assert!(!artifact.is_mapped());
    }
}

#[test]
fn cpp_thread_locals_are_destroyed() {
    let (artifact, drops) = (Artifact::compiled("thread_local.cpp", &[]), counter());
    let worker = KernelThread::start("worker");
    for round in 1..=20 {
        let library = artifact.open();
        worker.run(|| library.count(c"touch", drops));
        assert_eq!(worker.run(|| settle(&library)).ran, 2);
        assert_eq!(value(drops), round);
        close(library, PATIENCE).unwrap();
        assert!(!artifact.is_mapped());
    }
    worker.end();
}

#[test]
fn what_a_library_needs_stays_and_may_leave_what_it_likes() {
    let needed = Artifact::compiled_as_is("dependency.c", &[]);
    let artifact = Artifact::compiled("dependent.c", &[needed.path.to_str().unwrap()]);
    let drops = counter();
    for round in 1..=2 {
        let library = artifact.open();
        let control = KernelThread::start("control");
        control.run(|| library.count(c"touch", drops));
        control.run(|| settle(&library));
        close(library, PATIENCE).unwrap();
        assert!(!artifact.is_mapped());
        assert!(needed.is_mapped());
        // Its destructor runs when the thread ends, long after the library that needed it.
        assert_eq!(value(drops), round - 1);
        control.end();
        assert_eq!(value(drops), round);
    }
}

#[test]
fn the_programs_own_thread_locals_are_dropped_while_std_still_knows_the_thread() {
    struct Named(std::sync::mpsc::Sender<Option<String>>);
    impl Drop for Named {
        fn drop(&mut self) {
            let name = std::thread::current().name().map(str::to_owned);
            self.0.send(name).unwrap();
        }
    }
    thread_local! {
        static OUTER: std::cell::OnceCell<Named> = const { std::cell::OnceCell::new() };
    }
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("own".to_owned());
    let thread = thread
        .spawn(move || OUTER.with(|outer| outer.set(Named(tell)).map_err(drop).unwrap()))
        .unwrap();
    thread.join().unwrap();
    assert_eq!(told.recv().unwrap().as_deref(), Some("own"));
}

#[test]
#[ignore = "takes a minute, and valgrind: cargo test -p midplane-unload -- --ignored"]
fn valgrind_finds_nothing() {
    under_valgrind();
}
