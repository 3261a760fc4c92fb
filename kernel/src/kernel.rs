//! What the kernel's parts share: its state, and the phase it is in. `serve.rs` brings it up and takes it down.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::auth::HostKey;
use crate::bridge::Hosts;
use crate::config::{self, Config, Unload};
use crate::connections::Connections;
use crate::controls::Controls;
use crate::events::Events;
use crate::isolation::process;
use crate::modules::executor::{SocketLimits, Surroundings};
use crate::modules::metrics::Metrics;
use crate::modules::registry::{self, GrantSpec, Registry, Spec};
use crate::modules::stage::Staging;
use crate::problem::Code;
use crate::routes;
use crate::secrets::{self, Broker, ROUNDS_MAX, SecretRequest, keeps_changing};
use crate::session::{Session, Sessions};
use crate::start_error::StartError;
use crate::switchboard::Switchboard;
use crate::telemetry::LogHandle;
use crate::watchdog::Findings;
use crate::watchdog::beacon::Beacons;

/// The number of the HTTP API; raised by an incompatible change.
pub(crate) const PROTOCOL: u32 = 1;

/// Everything that requests share.
pub(crate) struct Kernel {
    pub(crate) config: Config,
    pub(crate) started: Instant,
    /// Ours: no other user may connect.
    pub(crate) uid: u32,
    pub(crate) host_key: HostKey,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) modules: Arc<Registry>,
    pub(crate) events: Arc<Events>,
    pub(crate) log: LogHandle,
    /// What modules count.
    pub(crate) metrics: Arc<Metrics>,
    /// Calls between modules.
    pub(crate) switchboard: Arc<Switchboard>,
    /// The runtime of what is nobody's request.
    pub(crate) control: Handle,
    pub(crate) connections: Connections,
    pub(crate) surroundings: Surroundings,
    /// What each worker shows of itself.
    pub(crate) beacons: Arc<Beacons>,
    /// Workers that a module holds.
    pub(crate) findings: Arc<Findings>,
    /// Cancelled when connections are to end after the request they have.
    pub(crate) closing: CancellationToken,
    /// Cancelled when connections may come.
    pub(crate) opened: CancellationToken,
    sweep: Notify,
    phase: AtomicU8,
    workers: OnceLock<Controls>,
    /// The path that clients dial.
    socket: String,
    stop: watch::Sender<Option<Stop>>,
}

/// Why the kernel is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Signal(i32),
    /// A host asked for it.
    Shutdown,
    /// The host that started the kernel has gone, or its bridge.
    HostGone,
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

impl Kernel {
    /// `socket` is the path that clients dial, and `instance` the name of this process.
    pub(crate) fn new(
        config: Config,
        instance: String,
        socket: &Path,
        log: LogHandle,
        started: Instant,
        control: Handle,
    ) -> Result<Arc<Kernel>, StartError> {
        let sessions = Sessions::new(config.sessions.clone(), instance);
        let sessions = Arc::new(sessions.map_err(|_| StartError::Randomness)?);
        let hosts = Arc::new(Hosts::default());
        let bridge: Arc<dyn secrets::Bridge> = Arc::clone(&hosts) as _;
        let broker = Arc::new(Broker::new(config.secrets.clone(), Some(bridge)));
        let closing = CancellationToken::new();
        let events = Arc::new(Events::new());
        let staging = Staging::new(
            &config.kernel.data_dir,
            &sessions.instance().replace(':', "-"),
        )?;
        let switchboard = Arc::<Switchboard>::default();
        let metrics = Arc::new(Metrics::new(
            Arc::clone(&sessions),
            routes::metrics::names(),
        ));
        let settings = registry::Settings {
            module_dirs: config.kernel.module_dirs.clone(),
            body_bytes: config.limits.body_bytes,
            body_bytes_max: config.limits.body_bytes_max,
            requests_max: config.limits.requests_per_module,
            state_bytes_max: config.limits.state_bytes,
            never_unload: config.kernel.unload == Unload::Never,
            quarantine_after: config.limits.quarantine_after,
            init_timeout: config.limits.init_timeout,
            stuck_after: config.limits.stuck_after,
            restart_wait: config.limits.restart_wait,
            workers: config.kernel.workers,
            log: log.clone(),
            metrics: Arc::clone(&metrics),
            carrier: Arc::clone(&switchboard) as _,
            configured: config
                .modules
                .iter()
                .map(|(name, module)| (name.clone(), spec(module)))
                .collect(),
        };
        let surroundings = surroundings(&config, &broker, &switchboard);
        let kernel = Arc::new(Kernel {
            started,
            uid: nix::unistd::Uid::effective().as_raw(),
            host_key: HostKey::generate().map_err(|_| StartError::Randomness)?,
            sessions,
            broker,
            hosts,
            modules: Arc::new(Registry::new(
                staging,
                settings,
                Arc::clone(&events),
                control.clone(),
            )),
            events,
            log,
            metrics,
            switchboard: Arc::clone(&switchboard),
            control,
            connections: Connections::new(&config.limits),
            surroundings,
            beacons: Beacons::new(config.kernel.workers),
            findings: Arc::default(),
            closing,
            sweep: Notify::new(),
            phase: AtomicU8::new(STARTING),
            workers: OnceLock::new(),
            socket: socket.display().to_string(),
            stop: watch::Sender::new(None),
            opened: CancellationToken::new(),
            config,
        });
        switchboard.connect(&kernel);
        Ok(kernel)
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

    /// The workers have started: what calls from the modules' beginnings need. They take no connections yet.
    pub(crate) fn set_workers(&self, workers: Controls) {
        self.modules.set_workers(workers.clone());
        // Once.
        let _ = self.workers.set(workers);
    }

    /// The modules are loaded: connections may come.
    pub(crate) fn set_ready(&self) {
        self.phase.store(READY, Ordering::Release);
        self.opened.cancel();
    }

    /// From here on nothing is changed, and connections end after the request they have.
    pub(crate) fn start_draining(&self) {
        self.phase.store(DRAINING, Ordering::Release);
        self.closing.cancel();
    }

    /// Runs `future` on some worker's thread, as a request is; `None` when none takes it.
    pub(crate) async fn run_on_any_worker<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.workers.get()?.run_on_any(future).await
    }

    /// The same for what nobody waits for.
    pub(crate) fn spawn_on_any_worker(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(workers) = self.workers.get() {
            workers.spawn_on_any(future);
        }
    }

    /// The path that clients dial.
    pub(crate) fn socket(&self) -> &str {
        &self.socket
    }

    /// Asks for the end. The first reason counts, except that a host that has gone leaves no time.
    pub(crate) fn stop(&self, why: Stop) {
        self.stop.send_if_modified(|stop| {
            let counts = stop.is_none() || why == Stop::HostGone;
            if counts {
                *stop = Some(why);
            }
            counts
        });
    }

    /// Sees why the kernel is to end.
    pub(crate) fn stopping(&self) -> watch::Receiver<Option<Stop>> {
        self.stop.subscribe()
    }

    /// A secret has changed: wiped wherever it lives, it is asked for at its next use. Returns how many sessions had it.
    pub(crate) fn forget_secret(&self, secret_key_id: &str) -> usize {
        // First, so that an older answer that comes now is not kept.
        self.broker.changed(secret_key_id);
        let sessions = self.sessions.forget_secret(secret_key_id);
        if sessions > 0 {
            process::forget_secret(secret_key_id);
        }
        sessions
    }

    /// Resolves when [`Kernel::wake_sweeper`] has been called. Cancel-safe.
    pub(crate) async fn sweep_wanted(&self) {
        self.sweep.notified().await;
    }

    /// There is a session to forget some time.
    pub(crate) fn wake_sweeper(&self) {
        self.sweep.notify_one();
    }
}

fn surroundings(
    config: &Config,
    broker: &Arc<Broker>,
    switchboard: &Arc<Switchboard>,
) -> Surroundings {
    let broker = Arc::clone(broker);
    Surroundings {
        body_stall_timeout: config.limits.body_stall_timeout,
        sockets: SocketLimits {
            message_len_max: config.limits.websocket_message_bytes,
            idle_timeout: config.limits.websocket_idle_timeout,
            ping_interval: config.limits.websocket_ping_interval,
            messages_per_second: config.limits.websocket_messages_per_second,
        },
        refresh: Arc::new(move |session: Arc<Session>, module: &str| {
            let broker = Arc::clone(&broker);
            let request = SecretRequest {
                secret_key_id: session.secret_key_id().unwrap_or_default().to_owned(),
                environment: session.environment().to_owned(),
                session_id: session.id().to_owned(),
                module: Some(module.to_owned()),
            };
            Box::pin(async move {
                for _ in 0..ROUNDS_MAX {
                    let (secret, watch) = broker.get(request.clone()).await?;
                    session.replace_secret(secret);
                    if !watch.has_changed() {
                        return Ok(());
                    }
                    // Whoever forgot it may have come before it was here.
                    session.wipe_secret();
                    process::forget_secret(&request.secret_key_id);
                }
                Err(keeps_changing(&request.secret_key_id))
            })
        }),
        calls: Arc::clone(switchboard) as _,
    }
}

fn spec(module: &config::Module) -> Spec {
    let grants = match &module.grants {
        None => GrantSpec::All,
        Some(grants) => GrantSpec::Only(grants.clone()),
    };
    Spec {
        path: module.path.clone(),
        isolation: module.isolation,
        confine: module.confine.clone().unwrap_or_default(),
        config: module.config.clone(),
        grants,
        public: module.public,
        sha256: module.sha256.clone(),
        drain_timeout: module.drain_timeout,
        rollback: module.rollback,
    }
}
