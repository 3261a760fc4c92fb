//! A line on standard error for what takes longer than a second.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

const TICK: Duration = Duration::from_secs(1);

/// Awaits `work`; after a second says what is waited for, and on a terminal for how long.
pub(super) async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let terminal = io::stderr().is_terminal();
    let mut seconds = 0_u64;
    let done = loop {
        // Cancel-safe: only the timeout is dropped, the work goes on in the next round.
        match tokio::time::timeout(TICK, work.as_mut()).await {
            Ok(done) => break done,
            Err(_elapsed) => seconds += 1,
        }
        let _ = match (terminal, seconds) {
            (true, _) => write!(io::stderr(), "\r\u{1b}[Kmidplane: {what} ({seconds} s)"),
            (false, 1) => writeln!(io::stderr(), "midplane: {what}"),
            (false, _) => Ok(()),
        };
    };
    if terminal && seconds > 0 {
        let _ = write!(io::stderr(), "\r\u{1b}[K");
    }
    done
}
