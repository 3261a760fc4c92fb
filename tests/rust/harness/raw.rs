//! Bytes on a connection, for what no HTTP client would send.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::kernel::DEADLINE;

pub(crate) struct Raw {
    pub(crate) stream: UnixStream,
    unread: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Raw {
    pub(crate) async fn connect(socket: &Path) -> Raw {
        Raw {
            stream: UnixStream::connect(socket)
                .await
                .expect("the kernel accepts"),
            unread: Vec::new(),
        }
    }

    /// Connects and writes.
    pub(crate) async fn send(socket: &Path, bytes: impl AsRef<[u8]>) -> Raw {
        let mut raw = Raw::connect(socket).await;
        raw.write(bytes).await;
        raw
    }

    /// Whether all of it was taken; the kernel may have closed.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let written = tokio::time::timeout(DEADLINE, self.stream.write_all(bytes.as_ref()));
        written.await.expect("the kernel reads in time").is_ok()
    }

    /// The next answer; `None` when the connection ends before one. Knows bodies by `content-length` only.
    pub(crate) async fn answer(&mut self) -> Option<RawAnswer> {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more().await {
                assert!(
                    self.unread.is_empty(),
                    "half an answer: {:?}",
                    String::from_utf8_lossy(&self.unread)
                );
                return None;
            }
        };
        let head = String::from_utf8(self.unread.drain(..head_end).collect()).unwrap();
        let len = header(&head, "content-length").map_or(0, |len| len.parse().unwrap());
        while self.unread.len() < len {
            assert!(self.read_more().await, "half a body after {head}");
        }
        let body = String::from_utf8(self.unread.drain(..len).collect()).unwrap();
        Some(RawAnswer { head, body })
    }

    /// Reads until the kernel closes the connection; what came until then.
    pub(crate) async fn rest(mut self) -> String {
        while self.read_more().await {}
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    async fn read_more(&mut self) -> bool {
        let read = tokio::time::timeout(DEADLINE, self.stream.read_buf(&mut self.unread));
        // A reset is an end, too: the kernel left bytes of ours unread.
        read.await
            .expect("an answer or an end in time")
            .unwrap_or(0)
            > 0
    }
}

impl RawAnswer {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
