//! The kernel's life as one story: [`run`] hardens the process, binds the socket, makes the shared state, starts the workers,
//! loads the modules, says that it is ready, waits for a signal or its host, and then takes everything down in the opposite order.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::bridge;
use crate::clock;
use crate::config::{Config, Origin, SocketPath};
use crate::events::Event;
use crate::hardening;
use crate::kernel::{Kernel, Stop};
use crate::memory;
use crate::modules::watch::Watch;
use crate::modules::{loader, step};
use crate::parent::Parent;
use crate::readiness::Readiness;
use crate::secrets;
use crate::session::Sessions;
use crate::signals::Signals;
use crate::socket::BoundSocket;
use crate::start_error::StartError;
use crate::telemetry::Logging;
use crate::watchdog::{self, Watchdog};
use crate::workers::Workers;

/// How long connections may take to notice that the process ends, once nothing is under way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A drain when the host has gone: less than what the process is given at all (`parent`).
const HOST_GONE_TIMEOUT: Duration = Duration::from_millis(500);

/// What the process got from whoever started it, besides its configuration.
pub(crate) struct Inherited {
    /// `NOTIFY_SOCKET`
    pub(crate) notify_socket: Option<OsString>,
    /// A listening socket of the service manager's.
    pub(crate) socket: Option<BoundSocket>,
    /// The bridge of the host that started us.
    pub(crate) bridge: Option<UnixStream>,
}

/// Serves until a signal, or until its host wants the end or meets its own, then drains.
pub(crate) fn run(
    config: Config,
    origin: Origin,
    logging: &Logging,
    signals: Signals,
    inherited: Inherited,
) -> Result<(), StartError> {
    let started = Instant::now();
    hardening::harden(config.kernel.debuggable).map_err(StartError::Harden)?;
    hardening::raise_descriptor_limit();
    memory::share_free_memory(config.kernel.workers);
    let parent = Parent::find();
    let instance = Sessions::new_instance().map_err(|_| StartError::Randomness)?;
    let mut socket = match (inherited.socket, &config.kernel.socket) {
        (Some(socket), _) => socket,
        (None, SocketPath::At(path)) => BoundSocket::bind(path)?,
        (None, path @ SocketPath::OfInstance { .. }) => {
            BoundSocket::bind_temporary(&path.of(&instance))?
        }
    };
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    let signals = signals.listen().map_err(StartError::Runtime)?;
    let kernel = Kernel::new(
        config,
        instance,
        socket.path(),
        logging.handle.clone(),
        started,
        control.handle().clone(),
    )?;
    if kernel.config.kernel.write_host_key {
        let path = socket.write_host_key(kernel.host_key.expose())?;
        tracing::info!(path = %path.display(), "the host key was written; it is worth as much as the user's account");
    }
    let socket = Arc::new(socket);
    if let Some(bridge) = &inherited.bridge {
        let kernel = Arc::clone(&kernel);
        parent
            .watch(bridge, &socket, move || kernel.stop(Stop::HostGone))
            .map_err(StartError::Runtime)?;
    }
    if let Err(reason) = midplane_unload::availability() {
        tracing::warn!(%reason, "modules that are replaced stay in memory");
    }
    let readiness = Readiness::new(inherited.notify_socket);
    control.block_on(async {
        let workers = Workers::start(&kernel, &socket).map_err(StartError::Runtime)?;
        kernel.set_workers(workers.controls());
        let watchdog = Watchdog::start(
            &kernel.beacons,
            &kernel.findings,
            &kernel.events,
            kernel.closing.clone(),
            watchdog::Limits {
                quarantine_after: kernel.config.limits.quarantine_after,
                stuck_after: kernel.config.limits.stuck_after,
            },
        )
        .map_err(StartError::Runtime)?;
        if let Err((name, problem)) = kernel.modules.load_configured().await {
            let error = StartError::Module {
                name,
                reason: problem.detail.into_owned(),
            };
            if step::is_held() {
                give_up(&error, &socket);
            }
            workers.stop(CLOSE_TIMEOUT).await;
            return Err(error);
        }
        let watch = Watch::start(&kernel.config, origin, &kernel.modules, &kernel.events)
            .map_err(StartError::Watch)?;
        let sweeper = tokio::spawn(sweep(Arc::clone(&kernel)));
        kernel.set_ready();
        say_ready(&kernel, &socket, &readiness);
        if let Some(bridge) = inherited.bridge {
            bridge::serve_inherited(&kernel, bridge);
        }
        let why = wait_for(signals, &kernel).await;
        tracing::info!(?why, "draining");
        if let Some(watch) = watch {
            watch.stop(CLOSE_TIMEOUT).await;
        }
        drain(&kernel, &socket, &readiness).await;
        kernel.hosts.close(CLOSE_TIMEOUT).await;
        workers.stop(CLOSE_TIMEOUT).await;
        drop(watchdog);
        sweeper.abort();
        tracing::info!("stopped");
        Ok(())
    })
}

/// Ends the process while a module's constructor hangs: ending anything in good order would wait for it.
fn give_up(error: &StartError, socket: &BoundSocket) -> ! {
    socket.remove_files();
    // Nobody may be reading stderr.
    let _ = writeln!(io::stderr(), "midplane: {error}");
    secrets::end_commands();
    loader::end_process(error.exit_code())
}

/// Lets what is under way finish, and takes nothing new.
async fn drain(kernel: &Kernel, socket: &BoundSocket, readiness: &Readiness) {
    kernel.start_draining();
    if let Err(error) = readiness.notify_stopping() {
        tracing::debug!(%error, "the service manager was not told");
    }
    socket.unlink_if_ours();
    let mut stopping = kernel.stopping();
    // What it gives would keep out whoever says why the kernel is to end.
    let host_gone = async {
        stopping
            .wait_for(|why| *why == Some(Stop::HostGone))
            .await
            .is_ok()
    };
    tokio::select! {
        () = kernel.modules.remove_all(kernel.config.kernel.shutdown_timeout) => {}
        _ = host_gone => kernel.modules.remove_all(HOST_GONE_TIMEOUT).await,
    }
    // Last: it ends the streams of events.
    kernel.events.publish(Event::KernelDraining);
}

/// One line on stderr whatever the log's filter is, and a message to the service manager if it asked for one.
fn say_ready(kernel: &Kernel, socket: &BoundSocket, readiness: &Readiness) {
    let start_ms = kernel.started.elapsed().as_millis();
    // Nobody may be reading stderr.
    let _ = writeln!(
        io::stderr(),
        "midplane {} ready on {} ({start_ms} ms)",
        env!("CARGO_PKG_VERSION"),
        socket.path().display()
    );
    if let Err(error) = readiness.notify_ready() {
        tracing::warn!(%error, "the service manager was not told that the kernel is ready");
    }
}

/// Why the kernel is to end.
async fn wait_for(mut signals: watch::Receiver<Option<i32>>, kernel: &Kernel) -> Stop {
    let mut stopping = kernel.stopping();
    let signal = async {
        match signals
            .wait_for(Option::is_some)
            .await
            .map(|signal| *signal)
        {
            Ok(Some(signal)) => Stop::Signal(signal),
            _ => std::future::pending().await,
        }
    };
    let asked = async {
        match stopping.wait_for(Option::is_some).await.map(|why| *why) {
            Ok(Some(why)) => why,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        why = signal => why,
        why = asked => why,
    }
}

/// Forgets sessions as they become due; sleeps when there is none.
async fn sweep(kernel: Arc<Kernel>) {
    loop {
        let now = clock::unix_now();
        match kernel.sessions.sweep(now) {
            Some(due) => {
                let wait = Duration::from_secs(due.saturating_sub(now).max(1));
                // Issued and revoked sessions may be due before the one that is waited for.
                let _ = tokio::time::timeout(wait, kernel.sweep_wanted()).await;
            }
            None => kernel.sweep_wanted().await,
        }
    }
}
