//! A library for the tests: threads of the standard library's.

#![expect(unsafe_code, reason = "functions are exported to be found by name")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Starts a thread and waits for it.
#[unsafe(no_mangle)]
pub extern "C" fn run_joined(ran: &'static AtomicUsize) {
    thread::spawn(|| ran.fetch_add(1, Ordering::SeqCst))
        .join()
        .expect("adding does not panic");
}

/// Starts a thread that nobody joins. It waits for the gate, calls its host for the last time, and has some instructions of
/// its own left to run then.
#[unsafe(no_mangle)]
pub extern "C" fn leave_running(gate: &'static AtomicBool, last_call: extern "C" fn()) {
    let thread = thread::Builder::new().name("left-behind".to_owned());
    let left = thread.spawn(move || {
        while !gate.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        last_call();
        let mut sum = 0_u64;
        for i in 0..200_000 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(i));
        }
    });
    left.expect("a thread can be started");
}
