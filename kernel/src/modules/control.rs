//! Threads that module code may hang for ever.

use tokio::sync::oneshot;

/// Runs `work` on a thread of its own, which module code may hang for ever.
pub(super) fn on_control_thread<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<oneshot::Receiver<T>> {
    let (done, outcome) = oneshot::channel();
    std::thread::Builder::new().name(name).spawn(move || {
        // The receiver is gone when the deadline has passed; what the work made is dropped here then, where it may block.
        drop(done.send(work()));
        leave();
    })?;
    Ok(outcome)
}

/// Runs what modules left on this thread before it ends, while everything of it is still there.
#[expect(unsafe_code, reason = "the contract of what is called is kept here")]
fn leave() {
    // SAFETY: the work has returned, so that no module's function is on the stack, and none is called on this thread again.
    unsafe { midplane_unload::settle_thread() }
}
