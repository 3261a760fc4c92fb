//! A line on standard error for what takes longer than a second.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_secs(1);

/// Awaits `work`; after a second says what is waited for, and on a terminal for how long.
pub(super) async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    during_what(async || what.to_owned(), work).await
}

/// As [`during`], for what `look` finds to be waited for each time. A look that is under way when the work ends is dropped.
pub(super) async fn during_what<T>(
    mut look: impl AsyncFnMut() -> String,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let start = Instant::now();
    let mut line = Line::new(io::stderr().is_terminal());
    let done = loop {
        // Cancel-safe, as the select below: only the timeout and the look are dropped, the work goes on in the next round.
        if let Ok(done) = tokio::time::timeout(TICK, work.as_mut()).await {
            break done;
        }
        let what = tokio::select! {
            biased;
            done = work.as_mut() => break done,
            what = look() => what,
        };
        put(&line.next(&what, start.elapsed().as_secs()));
    };
    put(line.end());
    done
}

fn put(text: &str) {
    // Nobody may be reading.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// What is written from tick to tick: one line that is rewritten, or, where nothing can be rewritten, one for each change.
pub(super) struct Line {
    terminal: bool,
    shown: Option<String>,
}

impl Line {
    pub(super) fn new(terminal: bool) -> Line {
        Line {
            terminal,
            shown: None,
        }
    }

    pub(super) fn next(&mut self, what: &str, seconds: u64) -> String {
        let before = self.shown.replace(what.to_owned());
        if self.terminal {
            format!("\r\u{1b}[Kmidplane: {what} ({seconds} s)")
        } else if before.as_deref() == Some(what) {
            String::new()
        } else {
            format!("midplane: {what}\n")
        }
    }

    pub(super) fn end(&self) -> &'static str {
        if self.terminal && self.shown.is_some() {
            "\r\u{1b}[K"
        } else {
            ""
        }
    }
}
