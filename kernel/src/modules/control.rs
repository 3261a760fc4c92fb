//! Threads that module code may hang for ever.

use tokio::sync::oneshot;

/// Runs `work` on a thread of its own, which module code may hang for ever.
pub(crate) fn on_control_thread<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<oneshot::Receiver<T>> {
    let (done, outcome) = oneshot::channel();
    std::thread::Builder::new().name(name).spawn(move || {
        let value = work();
        // Before anyone is told: what comes next may be to unmap what this thread still had something of.
        settle();
        if let Err(unwanted) = done.send(value) {
            // The receiver is gone, since the deadline has passed. What is left of an instance ends here, where that may block.
            drop(unwanted);
            settle();
        }
    })?;
    Ok(outcome)
}

/// Runs what modules have left on this thread.
#[expect(unsafe_code, reason = "the contract of what is called is kept here")]
pub(crate) fn settle() {
    // SAFETY: between two pieces of work, no module's function is on the stack; what a second one leaves is settled after it.
    unsafe { midplane_unload::settle_thread() }
}
