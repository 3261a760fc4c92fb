//! What a module process prints, on its way to the log: a panic outside every handler, the last words of an abort.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

/// Longer lines are cut.
const LINE_LEN_MAX: usize = 4 * 1024;

/// Logs every line until the other end is closed.
pub(super) async fn log(printed: OwnedFd, module: String) {
    if let Err(error) = read(printed, &module).await {
        tracing::debug!(module, %error, "what the module's process prints cannot be read");
    }
}

async fn read(printed: OwnedFd, module: &str) -> io::Result<()> {
    let mut pipe = Receiver::from_owned_fd(printed)?;
    let mut waiting = Vec::new();
    loop {
        let mut chunk = [0; LINE_LEN_MAX];
        let len = pipe.read(&mut chunk).await?;
        waiting.extend_from_slice(&chunk[..len]);
        while let Some(at) = waiting.iter().position(|byte| *byte == b'\n') {
            write(module, &waiting[..at]);
            waiting.drain(..=at);
        }
        if waiting.len() >= LINE_LEN_MAX || (len == 0 && !waiting.is_empty()) {
            write(module, &waiting);
            waiting.clear();
        }
        if len == 0 {
            return Ok(());
        }
    }
}

fn write(module: &str, line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end();
    if !line.is_empty() {
        tracing::info!(module, line, "the module's process printed");
    }
}
