//! The kernel from its configuration to its end: start, serve, drain.
//!
//! It reads as one story: [`run`] hardens the process, binds the socket, makes the shared state, loads the modules, starts
//! the workers, says that it is ready, waits for a signal, and then takes everything down in the opposite order.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::auth::HostKey;
use crate::clock;
use crate::config::{self, Config};
use crate::connections::Connections;
use crate::events::{Event, Events};
use crate::hardening;
use crate::modules::descriptor::Grants;
use crate::modules::executor::Surroundings;
use crate::modules::registry::{self, GrantSpec, Registry, Spec};
use crate::modules::stage::{StageError, Staging};
use crate::problem::Code;
use crate::readiness::Readiness;
use crate::secrets::{Broker, SecretRequest};
use crate::session::{Session, Sessions};
use crate::signals::Signals;
use crate::socket::{BoundSocket, SocketError};
use crate::telemetry::{LogHandle, Logging};
use crate::workers::{Controls, Workers};

/// The number of the HTTP API; raised by an incompatible change.
pub(crate) const PROTOCOL: u32 = 1;
/// A worker that takes this long to get to a job is stuck: 50 times what counts as a slow poll.
const STUCK_DEADLINE: Duration = Duration::from_millis(500);
/// How long connections may take to notice that the process ends, once nothing is under way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything that requests share.
pub(crate) struct Kernel {
    pub(crate) config: Config,
    pub(crate) started: Instant,
    /// Ours: no other user may connect.
    pub(crate) uid: u32,
    pub(crate) host_key: HostKey,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) modules: Arc<Registry>,
    pub(crate) events: Arc<Events>,
    pub(crate) log: LogHandle,
    pub(crate) connections: Connections,
    pub(crate) surroundings: Surroundings,
    /// Cancelled when connections are to end after the request they have.
    pub(crate) closing: CancellationToken,
    /// Set when the workers have started.
    workers: OnceLock<Controls>,
    sweep: Notify,
    phase: AtomicU8,
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

/// What the process got from whoever started it, besides its configuration.
pub(crate) struct Inherited {
    /// `NOTIFY_SOCKET`
    pub(crate) notify_socket: Option<OsString>,
    /// A listening socket of the service manager's.
    pub(crate) socket: Option<BoundSocket>,
}

/// Why the kernel did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("the process cannot be hardened: {0}")]
    Harden(#[source] io::Error),
    #[error("the system gives no random bytes")]
    Randomness,
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[source] io::Error),
    #[error("the module {name} cannot be loaded: {reason}")]
    Module { name: String, reason: String },
}

impl StartError {
    /// sysexits.h: 69 unavailable, 70 software, 73 cannot create; 75 already running.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            StartError::Socket(error) => error.exit_code(),
            StartError::Stage(_) => 73,
            StartError::Harden(_) | StartError::Randomness | StartError::Runtime(_) => 70,
            StartError::Module { .. } => 69,
        }
    }
}

/// Serves until a signal, then drains.
pub(crate) fn run(
    config: Config,
    logging: &Logging,
    signals: Signals,
    inherited: Inherited,
) -> Result<ExitCode, StartError> {
    let started = Instant::now();
    hardening::harden(config.kernel.debuggable).map_err(StartError::Harden)?;
    hardening::raise_descriptor_limit();
    let mut socket = match inherited.socket {
        Some(socket) => socket,
        None => BoundSocket::bind(&config.kernel.socket)?,
    };
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    let signals = signals.listen().map_err(StartError::Runtime)?;
    let kernel = Kernel::new(
        config,
        logging.handle.clone(),
        started,
        control.handle().clone(),
    )?;
    if kernel.config.kernel.write_host_key {
        let path = socket.write_host_key(kernel.host_key.expose())?;
        tracing::info!(path = %path.display(), "the host key was written; it is worth as much as the user's account");
    }
    let readiness = Readiness::new(inherited.notify_socket);
    control.block_on(async {
        let loaded = kernel.modules.load_configured().await;
        loaded.map_err(|(name, problem)| StartError::Module {
            name,
            reason: problem.detail.into_owned(),
        })?;
        let workers = Workers::start(&kernel, &socket).map_err(StartError::Runtime)?;
        // Once.
        let _ = kernel.workers.set(workers.controls());
        let sweeper = tokio::spawn(sweep(Arc::clone(&kernel)));
        kernel.phase.store(READY, Ordering::Release);
        say_ready(&kernel, &socket, &readiness);
        let signal = wait_for(signals).await;
        tracing::info!(signal, "draining");
        kernel.drain(&socket, &readiness).await;
        workers.stop(CLOSE_TIMEOUT).await;
        sweeper.abort();
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    })
}

impl Kernel {
    fn new(
        config: Config,
        log: LogHandle,
        started: Instant,
        control: tokio::runtime::Handle,
    ) -> Result<Arc<Kernel>, StartError> {
        let sessions =
            Arc::new(Sessions::new(config.sessions.clone()).map_err(|_| StartError::Randomness)?);
        let broker = Arc::new(Broker::new(config.secrets.clone(), None));
        let closing = CancellationToken::new();
        let events = Arc::new(Events::new());
        let staging = Staging::new(
            &config.kernel.data_dir,
            &sessions.instance().replace(':', "-"),
        )?;
        let settings = registry::Settings {
            module_dirs: config.kernel.module_dirs.clone(),
            body_bytes: config.limits.body_bytes,
            body_bytes_max: config.limits.body_bytes_max,
            requests_max: config.limits.requests_per_module,
            log: log.clone(),
            configured: config
                .modules
                .iter()
                .map(|(name, module)| (name.clone(), spec(module)))
                .collect(),
        };
        let surroundings = surroundings(&config, &broker);
        Ok(Arc::new(Kernel {
            started,
            uid: nix::unistd::Uid::effective().as_raw(),
            host_key: HostKey::generate().map_err(|_| StartError::Randomness)?,
            sessions,
            broker,
            modules: Arc::new(Registry::new(
                staging,
                settings,
                Arc::clone(&events),
                control,
            )),
            events,
            log,
            connections: Connections::new(&config.limits),
            surroundings,
            closing,
            workers: OnceLock::new(),
            sweep: Notify::new(),
            phase: AtomicU8::new(STARTING),
            config,
        }))
    }

    /// Why the kernel is not ready, if it is not.
    pub(crate) fn not_ready(&self) -> Option<Code> {
        match self.phase.load(Ordering::Acquire) {
            STARTING => Some(Code::Starting),
            READY => None,
            _ => Some(Code::Draining),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.not_ready() == Some(Code::Draining)
    }

    /// Whether half of the workers or more are stuck in a module.
    pub(crate) async fn is_degraded(&self) -> bool {
        match self.workers.get() {
            Some(workers) => 2 * workers.stuck(STUCK_DEADLINE).await >= workers.len(),
            None => false,
        }
    }

    /// There is a session to forget some time.
    pub(crate) fn wake_sweeper(&self) {
        self.sweep.notify_one();
    }

    /// Lets what is under way finish, and takes nothing new.
    async fn drain(&self, socket: &BoundSocket, readiness: &Readiness) {
        self.phase.store(DRAINING, Ordering::Release);
        if let Err(error) = readiness.notify_stopping() {
            tracing::debug!(%error, "the service manager was not told");
        }
        socket.unlink_if_ours();
        self.closing.cancel();
        self.modules
            .remove_all(self.config.kernel.shutdown_timeout)
            .await;
        // Last: it ends the streams of events.
        self.events.publish(Event::KernelDraining);
    }
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

async fn wait_for(mut signals: watch::Receiver<Option<i32>>) -> Option<i32> {
    match signals.wait_for(Option::is_some).await {
        Ok(signal) => *signal,
        Err(_closed) => std::future::pending().await,
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
                let _ = tokio::time::timeout(wait, kernel.sweep.notified()).await;
            }
            None => kernel.sweep.notified().await,
        }
    }
}

fn surroundings(config: &Config, broker: &Arc<Broker>) -> Surroundings {
    let broker = Arc::clone(broker);
    Surroundings {
        body_stall_timeout: config.limits.body_stall_timeout,
        refresh: Arc::new(move |session: Arc<Session>| {
            let broker = Arc::clone(&broker);
            Box::pin(async move {
                let request = SecretRequest {
                    secret_key_id: session.secret_key_id().unwrap_or_default().to_owned(),
                    environment: session.environment().to_owned(),
                    session_id: session.id().to_owned(),
                };
                session.replace_secret(broker.get(request).await?);
                Ok(())
            })
        }),
    }
}

fn spec(module: &config::Module) -> Spec {
    let grants = match &module.grants {
        None => GrantSpec::All,
        Some(names) => GrantSpec::Only(Grants {
            secrets: names.iter().any(|name| name == "secrets"),
        }),
    };
    Spec {
        path: module.path.clone(),
        config: module.config.clone(),
        grants,
        public: module.public,
        sha256: module.sha256.clone(),
        drain_timeout: module.drain_timeout,
    }
}
