//! Requests whose body is sent piece by piece, while the answer is read or not.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::{DEADLINE, eventually};
use crate::harness::Kernel;

/// How long a number must stay the same to count as settled.
const SETTLED: Duration = Duration::from_millis(250);

/// `total` bytes in pieces; `taken` counts those the connection has asked for.
pub(super) struct Upload {
    left: u64,
    announced: bool,
    /// Does not end, but waits, when all is sent.
    hangs: bool,
    /// Before each piece.
    pause: Duration,
    pausing: Option<Pin<Box<tokio::time::Sleep>>>,
    taken: Arc<AtomicU64>,
}

impl Upload {
    const PIECE: &'static [u8] = &[b'u'; 64 * 1024];

    pub(super) fn new(total: u64) -> Upload {
        Upload {
            left: total,
            announced: true,
            hangs: false,
            pause: Duration::ZERO,
            pausing: None,
            taken: Arc::default(),
        }
    }

    pub(super) fn chunked(mut self) -> Upload {
        self.announced = false;
        self
    }

    pub(super) fn hanging(mut self) -> Upload {
        self.hangs = true;
        self.chunked()
    }

    /// Takes its time before each piece.
    pub(super) fn slow(mut self, pause: Duration) -> Upload {
        self.pause = pause;
        self
    }

    pub(super) fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !self.pause.is_zero() && self.left > 0 {
            let pause = self.pause;
            let sleep = || Box::pin(tokio::time::sleep(pause));
            ready!(self.pausing.get_or_insert_with(sleep).as_mut().poll(cx));
            self.pausing = None;
        }
        if self.left == 0 {
            return if self.hangs {
                Poll::Pending
            } else {
                Poll::Ready(None)
            };
        }
        let len = self.left.min(Upload::PIECE.len() as u64);
        self.left -= len;
        self.taken.fetch_add(len, Ordering::Relaxed);
        let piece = Bytes::from_static(&Upload::PIECE[..usize::try_from(len).unwrap()]);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.announced {
            SizeHint::with_exact(self.left)
        } else {
            SizeHint::default()
        }
    }
}

/// A request with an [`Upload`] under way. Dropping it closes the connection.
pub(super) struct Exchange {
    pub(super) response: JoinHandle<hyper::Result<http::Response<Incoming>>>,
    connection: JoinHandle<()>,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.response.abort();
        self.connection.abort();
    }
}

impl Exchange {
    pub(super) async fn start(
        kernel: &Kernel,
        path: &str,
        token: &str,
        upload: Upload,
    ) -> Exchange {
        let stream = UnixStream::connect(&kernel.socket).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        // How it ends shows in the answer.
        let connection = tokio::spawn(async move { drop(connection.await) });
        let request = http::Request::post(path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
            .body(upload)
            .unwrap();
        let response = tokio::spawn(async move { sender.send_request(request).await });
        Exchange {
            response,
            connection,
        }
    }

    /// The status and the whole body.
    pub(super) async fn finish(mut self) -> (u16, String) {
        let answer = async {
            let response = (&mut self.response).await.unwrap().expect("an answer");
            let status = response.status().as_u16();
            let body = response
                .into_body()
                .collect()
                .await
                .expect("the whole body");
            (status, String::from_utf8(body.to_bytes().to_vec()).unwrap())
        };
        tokio::time::timeout(DEADLINE, answer)
            .await
            .expect("an answer in time")
    }
}

/// Waits until `number` no longer changes; that is how a sender looks that nobody reads.
pub(super) async fn settled(kernel: &Kernel, number: impl Fn() -> u64) -> u64 {
    let mut last = (number(), std::time::Instant::now());
    eventually(kernel, "standstill", async || {
        let now = number();
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        (last.1.elapsed() > SETTLED).then_some(now)
    })
    .await
}

/// Resident memory of the kernel, in bytes.
pub(super) fn memory(kernel: &Kernel) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", kernel.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Sends bytes as they are and reads until the other side closes or `until` has come.
pub(super) async fn raw(kernel: &Kernel, bytes: &[u8], until: &str) -> String {
    let mut stream = UnixStream::connect(&kernel.socket).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut heard = Vec::new();
    let read = async {
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&heard).contains(until) {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(len) => heard.extend_from_slice(&piece[..len]),
            }
        }
    };
    tokio::time::timeout(DEADLINE, read)
        .await
        .expect("an answer in time");
    String::from_utf8_lossy(&heard).into_owned()
}
