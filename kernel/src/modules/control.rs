//! Threads that module code may hang for ever.

use tokio::sync::oneshot;

/// Runs `work` on a thread of its own, which module code may hang for ever.
pub(super) fn on_control_thread<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<oneshot::Receiver<T>> {
    let (done, outcome) = oneshot::channel();
    std::thread::Builder::new().name(name).spawn(move || {
        // The receiver is gone when the deadline has passed.
        let _ = done.send(work());
    })?;
    Ok(outcome)
}
