//! One connection: HTTP/1.1 by hyper, under our own time-outs.
//!
//! hyper's one header time-out would also end idle connections, so both are kept here: a connection waits for the first
//! byte of a request for `keep_alive_timeout`, then for the rest of its head for `header_timeout`. A client that does not
//! read what it asked for ends after `write_stall_timeout`. A connection that becomes a WebSocket or a bridge goes on as that, in
//! its place.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::{Instant, Sleep};

use crate::auth::TokenMemory;
use crate::body::Opened;
use crate::config::Limits;
use crate::kernel::Kernel;
use crate::progress::{HEAD, IDLE, Progress};
use crate::routes;
use crate::stall::StallTimer;

/// What one connection may keep of a body in each direction: two windows of the exchange. It grows to that only when the
/// traffic fills it.
const BUFFER_LEN_MAX: usize = 128 * 1024;

/// Serves a connection of the process `pid` to its end. Errors of the connection end the connection only.
pub(crate) async fn serve(stream: UnixStream, pid: Option<i32>, kernel: Arc<Kernel>) {
    let limits = &kernel.config.limits;
    let progress = Arc::new(Progress::default());
    let memory = Arc::new(TokenMemory::default());
    let io = Watched {
        stream,
        progress: Arc::clone(&progress),
        write_stall: StallTimer::default(),
        write_stall_timeout: limits.write_stall_timeout,
    };
    let opened = Arc::new(Mutex::new(None));
    let service = {
        let kernel = Arc::clone(&kernel);
        let progress = Arc::clone(&progress);
        let opened = Arc::clone(&opened);
        service_fn(move |request| {
            let (kernel, memory) = (Arc::clone(&kernel), Arc::clone(&memory));
            let opened = Arc::clone(&opened);
            let under_way = Progress::start_request(&progress);
            async move {
                let mut response = routes::serve(&kernel, &memory, request).await;
                if let Some(switched) = response.body_mut().take_opened() {
                    *opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(switched);
                }
                Ok::<_, std::convert::Infallible>(response.map(|body| body.hold(under_way)))
            }
        })
    };
    let connection = http1::Builder::new()
        .max_headers(limits.header_fields)
        // Not `pipeline_flush`: with it hyper buffers bodies without bound when the client does not read.
        .max_header_size(limits.header_bytes)
        .max_buf_size(BUFFER_LEN_MAX.max(limits.header_bytes))
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = Box::pin(connection);
    let mut closing = pin!(kernel.closing.cancelled());
    let mut deadline = Deadline::new(limits);
    let mut closed = false;
    let outcome = std::future::poll_fn(|cx| {
        if !closed && closing.as_mut().poll(cx).is_ready() {
            closed = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        deadline.poll(&progress, cx).map(|()| None)
    })
    .await;
    match outcome {
        Some(Err(error)) => tracing::debug!(%error, "a connection ended with an error"),
        Some(Ok(())) => {}
        None => tracing::debug!("a connection was idle for too long"),
    }
    // It keeps the promise of an upgrade: of a client that has left, nobody would ever know.
    drop(connection);
    let opened = opened.lock().unwrap_or_else(PoisonError::into_inner).take();
    match opened {
        // Apart, since a socket's future is many times as large as all else that a connection waits with.
        Some(Opened::Socket(socket)) => Box::pin(socket.run()).await,
        Some(Opened::Bridge(bridge)) => bridge.run(pid).await,
        None => {}
    }
}

/// The one timer of a connection. It is armed lazily: a request that comes and goes does not touch it.
struct Deadline {
    header_timeout: Duration,
    keep_alive_timeout: Duration,
    timer: Option<(Pin<Box<Sleep>>, u64, u8)>,
}

impl Deadline {
    fn new(limits: &Limits) -> Deadline {
        Deadline {
            header_timeout: limits.header_timeout,
            keep_alive_timeout: limits.keep_alive_timeout,
            timer: None,
        }
    }

    /// Ready when the connection has waited for too long.
    fn poll(&mut self, progress: &Progress, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let phase = progress.phase.load(Ordering::Relaxed);
            let epoch = progress.epoch.load(Ordering::Relaxed);
            let timeout = match phase {
                IDLE => self.keep_alive_timeout,
                HEAD => self.header_timeout,
                _ => return Poll::Pending,
            };
            let (timer, armed_epoch, armed_phase) = self
                .timer
                .get_or_insert_with(|| (Box::pin(tokio::time::sleep(timeout)), epoch, phase));
            // A head that is not there in one piece is rare, and its time-out short: it is armed exactly. An idle
            // time-out that was armed for an earlier pause only fires too early, and is armed again then.
            if phase == HEAD && (*armed_epoch, *armed_phase) != (epoch, HEAD) {
                timer.as_mut().reset(Instant::now() + timeout);
                (*armed_epoch, *armed_phase) = (epoch, HEAD);
            } else if phase == IDLE && *armed_phase == HEAD {
                timer.as_mut().reset(Instant::now() + timeout);
                (*armed_epoch, *armed_phase) = (epoch, IDLE);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if *armed_epoch == epoch {
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + timeout);
            (*armed_epoch, *armed_phase) = (epoch, phase);
        }
    }
}

/// The socket, watched for the first byte of a request and for a client that does not read.
pub(crate) struct Watched {
    stream: UnixStream,
    progress: Arc<Progress>,
    write_stall: StallTimer,
    write_stall_timeout: Duration,
}

impl Watched {
    /// The socket, unwatched.
    pub(crate) fn into_stream(self) -> UnixStream {
        self.stream
    }

    /// Ends a write that made no progress for too long.
    fn check_stall<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write_stall.progress();
            return outcome;
        }
        let timeout = self.write_stall_timeout;
        std::task::ready!(self.write_stall.poll_stalled(timeout, cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not read",
        )))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.progress.saw_bytes();
        }
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.check_stall(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.check_stall(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
