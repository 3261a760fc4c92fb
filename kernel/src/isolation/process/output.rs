//! What a module process prints, on its way to the log: a panic outside every handler, the last words of an abort.

use std::cmp::Ordering;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

/// Longer lines are cut.
const LINE_LEN_MAX: usize = 4 * 1024;
/// More lines in a second are nobody's to read.
const LINES_PER_SECOND_MAX: u32 = 100;

/// Logs every line until the other end is closed.
pub(super) async fn log(printed: OwnedFd, module: String) {
    if let Err(error) = read(printed, &module).await {
        tracing::debug!(module, %error, "what the module's process prints cannot be read");
    }
}

async fn read(printed: OwnedFd, module: &str) -> io::Result<()> {
    let mut pipe = Receiver::from_owned_fd(printed)?;
    let mut lines = Lines::new(module);
    let mut waiting = Vec::new();
    let mut chunk = [0; LINE_LEN_MAX];
    loop {
        let len = pipe.read(&mut chunk).await?;
        waiting.extend_from_slice(&chunk[..len]);
        while let Some(at) = waiting.iter().position(|byte| *byte == b'\n') {
            lines.write(&waiting[..at]);
            waiting.drain(..=at);
        }
        if waiting.len() >= LINE_LEN_MAX || (len == 0 && !waiting.is_empty()) {
            lines.write(&waiting);
            waiting.clear();
        }
        if len == 0 {
            return Ok(());
        }
    }
}

/// What is logged of the lines.
struct Lines<'a> {
    module: &'a str,
    second: Instant,
    written: u32,
}

impl Lines<'_> {
    fn new(module: &str) -> Lines<'_> {
        Lines {
            module,
            second: Instant::now(),
            written: 0,
        }
    }

    fn write(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.second = Instant::now();
            self.written = 0;
        }
        self.written = self.written.saturating_add(1);
        let module = self.module;
        match self.written.cmp(&LINES_PER_SECOND_MAX) {
            Ordering::Less => tracing::info!(module, line, "the module's process printed"),
            Ordering::Equal => {
                tracing::warn!(
                    module,
                    "the module's process prints so much that the rest of this second is dropped"
                );
            }
            Ordering::Greater => {}
        }
    }
}
