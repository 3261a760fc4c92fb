//! A library for the tests: what the SDK does, a tokio runtime for each load, entered on the kernel's threads.

#![expect(unsafe_code, reason = "functions are exported to be found by name")]

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// Starts a runtime with threads of its own.
#[unsafe(no_mangle)]
pub extern "C" fn start() -> *mut Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    Box::into_raw(Box::new(runtime))
}

/// Polls a future to its end on the calling thread: a spawned task, a timer, and a pair of sockets.
#[unsafe(no_mangle)]
pub extern "C" fn handle(runtime: &Runtime) -> u32 {
    let _entered = runtime.enter();
    let mut work = pin!(async {
        let task = tokio::spawn(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            40
        });
        let (a, b) = UnixStream::pair().expect("a pair of sockets can be made");
        a.try_write(b"x").expect("an empty socket takes a byte");
        b.readable().await.expect("a byte was written");
        tokio::task::yield_now().await;
        task.await.expect("the task does not panic") + 2
    });
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match work.as_mut().poll(&mut context) {
            Poll::Ready(sum) => return sum,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

/// Ends the runtime and joins its threads.
///
/// # Safety
/// `start` gave it, and this is the last use of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stop(runtime: *mut Runtime) {
    // SAFETY: by the contract.
    drop(unsafe { Box::from_raw(runtime) });
}
