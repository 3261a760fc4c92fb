//! The signals that end the process: waited for on a thread of their own, never in a handler.
//!
//! The first asks for a drain. The second ends the process at once, by that signal's own default action, so that a shell
//! sees 128 + n and a service manager the signal. SIGPIPE is ignored already: the Rust runtime does it before `main`.
//! Children start with a clean mask: `std::process::Command` empties it between fork and exec.

use std::io;
use std::thread;

use nix::sys::signal::{SigSet, Signal, raise};
use tokio::sync::watch;

use crate::secrets;

/// SIGHUP asks for the same as SIGTERM; when it is ignored (nohup), it never arrives.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// The ending signals, blocked.
#[derive(Debug)]
pub(crate) struct Signals(SigSet);

impl Signals {
    /// Must run in `main` before any other thread starts: threads inherit the mask, and one without it would be ended.
    pub(crate) fn block_early() -> io::Result<Signals> {
        let set: SigSet = ENDING.into_iter().collect();
        set.thread_block()?;
        Ok(Signals(set))
    }

    /// Starts the waiting thread. The receiver sees the first signal, with its number.
    pub(crate) fn listen(self) -> io::Result<watch::Receiver<Option<i32>>> {
        let (first, receiver) = watch::channel(None);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let Ok(signal) = self.0.wait() else { return };
                first.send_replace(Some(signal as i32));
                let Ok(second) = self.0.wait() else { return };
                secrets::end_commands();
                // Raised for this thread, it stays pending until it is let through, and then ends the process.
                let _ = raise(second);
                let _ = self.0.thread_unblock();
            })?;
        Ok(receiver)
    }
}
