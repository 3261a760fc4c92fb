//! A library for the tests: thread-locals with destructors, as the standard library registers them.

#![expect(unsafe_code, reason = "functions are exported to be found by name")]

use std::cell::{Cell, OnceCell};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts its drop.
struct Dropped(&'static AtomicUsize);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Touches another thread-local for the first time when it is dropped.
struct Touches(&'static AtomicUsize);

impl Drop for Touches {
    fn drop(&mut self) {
        LATE.with(|late| late.set(Dropped(self.0)).map_err(drop))
            .expect("the late one is untouched until now");
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local! {
    static COUNTED: OnceCell<Dropped> = const { OnceCell::new() };
    static EARLY: OnceCell<Touches> = const { OnceCell::new() };
    static LATE: OnceCell<Dropped> = const { OnceCell::new() };
    static PLAIN: Cell<usize> = const { Cell::new(0) };
}

/// Leaves one destructor, that adds 1.
#[unsafe(no_mangle)]
pub extern "C" fn touch(drops: &'static AtomicUsize) {
    COUNTED.with(|counted| {
        counted
            .get_or_init(|| Dropped(drops))
            .0
            .load(Ordering::SeqCst)
    });
}

/// Leaves one destructor that registers another; each adds 1.
#[unsafe(no_mangle)]
pub extern "C" fn touch_nested(drops: &'static AtomicUsize) {
    EARLY.with(|early| {
        early
            .get_or_init(|| Touches(drops))
            .0
            .load(Ordering::SeqCst)
    });
}

/// Leaves a value of a key, as std keeps what is known of a thread.
#[unsafe(no_mangle)]
pub extern "C" fn touch_current(_drops: &'static AtomicUsize) {
    assert_eq!(std::thread::current().id(), std::thread::current().id());
}

/// Leaves nothing.
#[unsafe(no_mangle)]
pub extern "C" fn touch_nothing(_drops: &'static AtomicUsize) {
    PLAIN.set(PLAIN.get() + 1);
}
