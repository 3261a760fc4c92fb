//! Being told to end, by Ctrl-C or SIGTERM, where something has to be tidied up first.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, Signal};

/// From when it is made, such a signal is only noted down; a second one ends the process.
pub(crate) struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    /// Call it before any other thread is there.
    pub(crate) fn catch() -> io::Result<Interrupts> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        signals.thread_block()?;
        let told = Arc::<AtomicBool>::default();
        let tell = Arc::clone(&told);
        let waiting = std::thread::Builder::new().name("signals".to_owned());
        // Ends with the process.
        waiting.spawn(move || {
            if signals.wait().is_ok() {
                tell.store(true, Ordering::Relaxed);
            }
            // The next one finds this thread, and does what it does by default.
            let _ = signals.thread_unblock();
            loop {
                std::thread::park();
            }
        })?;
        Ok(Interrupts(told))
    }

    pub(crate) fn so_far(&self) -> ControlFlow<()> {
        match self.0.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}
