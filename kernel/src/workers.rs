//! The worker threads: each has a current-thread runtime, accepts from the one listener, and serves what it accepted.
//!
//! A connection stays on the worker that accepted it, and module code runs on workers and control threads only. Each worker
//! has a control channel, so that something can be run on every one of them by name.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection;
use crate::controls::{Controls, Job};
use crate::isolation::process;
use crate::kernel::Kernel;
use crate::problem::{Code, Problem};
use crate::socket::{self, BoundSocket};

/// Control jobs that may wait for one worker; each is awaited by whoever sends it.
const CONTROL_QUEUE_LEN: usize = 16;
/// The first pause after an accept error, and the longest: descriptors come back when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

thread_local! {
    static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Which worker the calling thread is.
pub(crate) fn own_number() -> Option<usize> {
    NUMBER.get()
}

pub(crate) struct Workers {
    all: Vec<Worker>,
}

struct Worker {
    thread: JoinHandle<()>,
    control: mpsc::Sender<Job>,
    stopped: oneshot::Receiver<()>,
    stop: CancellationToken,
}

impl Workers {
    /// They take connections once the kernel is opened.
    pub(crate) fn start(kernel: &Arc<Kernel>, socket: &BoundSocket) -> io::Result<Workers> {
        let all = (0..kernel.config.kernel.workers)
            .map(|number| Worker::start(number, kernel, socket))
            .collect::<io::Result<_>>()?;
        Ok(Workers { all })
    }

    /// Ways to run something on each worker's thread.
    pub(crate) fn controls(&self) -> Controls {
        Controls::new(
            self.all
                .iter()
                .map(|worker| worker.control.clone())
                .collect(),
        )
    }

    /// Ends all workers; what still runs after `timeout` is dropped.
    pub(crate) async fn stop(self, timeout: Duration) {
        let deadline = tokio::time::Instant::now() + timeout;
        for worker in &self.all {
            worker.stop.cancel();
        }
        for worker in self.all {
            match tokio::time::timeout_at(deadline + timeout, worker.stopped).await {
                Ok(_) => {
                    if worker.thread.join().is_err() {
                        tracing::error!("a worker panicked");
                    }
                }
                // A module's poll that never returns; the process ends without it.
                Err(_elapsed) => tracing::error!("a worker is stuck and was left behind"),
            }
        }
    }
}

impl Worker {
    fn start(number: usize, kernel: &Arc<Kernel>, socket: &BoundSocket) -> io::Result<Worker> {
        let listener = socket.listener()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let kernel = Arc::clone(kernel);
        let stop = CancellationToken::new();
        let (control, jobs) = mpsc::channel(CONTROL_QUEUE_LEN);
        let (done, stopped) = oneshot::channel();
        let stopping = stop.clone();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                NUMBER.set(Some(number));
                kernel.beacons.adopt(number);
                runtime.block_on(run(kernel, listener, jobs, stopping));
                // Drops what is left, here, where it ran.
                drop(runtime);
                let _ = done.send(());
            })?;
        Ok(Worker {
            thread,
            control,
            stopped,
            stop,
        })
    }
}

async fn run(
    kernel: Arc<Kernel>,
    listener: std::os::unix::net::UnixListener,
    mut jobs: mpsc::Receiver<Job>,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let accepting = async {
        kernel.opened.cancelled().await;
        accept(&kernel, listener, &connections).await;
    };
    let controlling = async {
        while let Some(job) = jobs.recv().await {
            job();
        }
        std::future::pending::<()>().await;
    };
    let mut controlling = std::pin::pin!(controlling);
    // Accepting ends with the drain; jobs go on to come until the end, since modules are unloaded in it. When there is nothing
    // to drain both ends come at once, and the answers under way have their time all the same.
    tokio::select! {
        () = accepting => {}
        () = &mut controlling => {}
        () = stop.cancelled() => {}
    }
    connections.close();
    tokio::select! {
        () = async { connections.wait().await; stop.cancelled().await } => {}
        () = controlling => {}
        () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_millis(500)).await } => {}
    }
}

/// Accepts until the kernel closes. No error ends it.
async fn accept(
    kernel: &Arc<Kernel>,
    listener: std::os::unix::net::UnixListener,
    connections: &TaskTracker,
) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a worker cannot accept");
            return kernel.closing.cancelled().await;
        }
    };
    let mut pause = ACCEPT_PAUSE;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = kernel.closing.cancelled() => return,
        };
        match accepted {
            Ok((stream, _address)) => {
                pause = ACCEPT_PAUSE;
                admit(kernel, stream, connections);
            }
            Err(error) => {
                // EMFILE and its like; the listener stays readable, so that without a pause this would spin.
                tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "cannot accept a connection");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
            }
        }
    }
}

/// Serves a connection if its peer may have one.
fn admit(kernel: &Arc<Kernel>, stream: UnixStream, connections: &TaskTracker) {
    let peer = match socket::peer(&stream) {
        Ok(peer) if peer.pid().is_some_and(process::is_one) => {
            tracing::warn!(
                pid = peer.pid,
                "a connection of a module's process was closed"
            );
            return;
        }
        Ok(peer) if peer.may_connect(kernel.uid) => peer,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid, "a connection of another user was closed");
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "a connection whose peer is unknown was closed");
            return;
        }
    };
    match kernel.connections.take(peer) {
        Some(place) => {
            let kernel = Arc::clone(kernel);
            connections.spawn(async move {
                connection::serve(stream, peer.pid, kernel).await;
                drop(place);
            });
        }
        None => {
            tracing::warn!(pid = peer.pid, "a connection over the limit was refused");
            connections.spawn(refuse(stream));
        }
    }
}

/// Tells a client over the limit so, without reading what it sends.
async fn refuse(mut stream: UnixStream) {
    let problem = Problem::new(
        Code::ConnectionLimit,
        "close some connections, or raise the limit in [limits]",
    );
    let body = problem.response("").into_body();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // It fits into the socket's buffer; a client that has left already does not matter.
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
    let _ = stream.shutdown().await;
}
