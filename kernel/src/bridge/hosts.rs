//! All attached hosts, and which of them is asked for a secret: the one that attached last first, and then the others.
//!
//! A host that is gone for `[sessions] host_grace` takes with it the sessions whose keys it gave.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::frame::Frame;
use super::host::{Host, Refused};
use super::methods::Initialize;
use crate::clock;
use crate::events::Event;
use crate::kernel::Kernel;
use crate::secrets::{self, SecretError, SecretRequest, no_host};

/// One for each window of an editor, a terminal and a script or two.
pub(crate) const HOSTS_MAX: usize = 32;
/// Hosts that may leave one question unanswered before whoever waits is told so: each has its time.
const SILENT_MAX: usize = 3;

/// The attached hosts.
#[derive(Default)]
pub(crate) struct Hosts {
    all: Mutex<All>,
    /// Every bridge, attached or not.
    pub(super) bridges: TaskTracker,
    /// Cancelled when they are to end.
    pub(super) ending: CancellationToken,
}

#[derive(Default)]
struct All {
    /// The one that attached last is the first.
    attached: VecDeque<Arc<Host>>,
    generation: u64,
    /// Hosts that gave keys and are gone, by identity, and since when. Forgotten when they are back, or their sessions ended.
    gone: HashMap<Arc<str>, Instant>,
}

/// There are as many hosts as there may be.
#[derive(Debug)]
pub(super) struct HostLimit;

/// A host for as long as it is attached.
pub(super) struct Attached {
    pub(super) host: Arc<Host>,
    kernel: Arc<Kernel>,
}

impl Hosts {
    pub(super) fn attach(
        kernel: &Arc<Kernel>,
        initialize: &Initialize,
        outgoing: mpsc::Sender<Frame>,
    ) -> Result<Attached, HostLimit> {
        let host = {
            let mut all = kernel.hosts.lock();
            if all.attached.len() >= HOSTS_MAX {
                return Err(HostLimit);
            }
            all.generation += 1;
            let client = &initialize.client;
            let label = format!("{}#{}", client.name, all.generation);
            let identity = match &client.instance {
                // No name has a control character.
                Some(instance) => format!("{}\n{instance}", client.name),
                None => label.clone(),
            };
            let host = Host::new(
                identity.into(),
                label,
                all.generation,
                initialize.capabilities.secrets,
                outgoing,
            );
            if all.gone.remove(&host.identity).is_some() {
                host.set_gave();
            }
            let host = Arc::new(host);
            all.attached.push_front(Arc::clone(&host));
            host
        };
        tracing::info!(
            host = host.label,
            version = initialize.client.version,
            protocol = initialize.protocol,
            "host attached"
        );
        kernel.events.publish(Event::HostAttached {
            host: host.label.clone(),
        });
        Ok(Attached {
            host,
            kernel: Arc::clone(kernel),
        })
    }

    /// Ends all bridges; what was said last still goes out, as far as that takes no longer than `timeout`.
    pub(crate) async fn close(&self, timeout: Duration) {
        self.ending.cancel();
        self.bridges.close();
        let _ = tokio::time::timeout(timeout, self.bridges.wait()).await;
    }

    /// Those that give secrets, in the order in which they are asked.
    fn in_order(&self) -> Vec<Arc<Host>> {
        let all = self.lock();
        let mut hosts: Vec<_> = all
            .attached
            .iter()
            .filter(|host| host.gives_secrets)
            .cloned()
            .collect();
        // Stable: among those that answer, the youngest stays first.
        hosts.sort_by_key(|host| host.is_silent());
        hosts
    }

    /// A host that has left. If it gave keys, and nobody of its identity is there, since when it is gone.
    fn detach(&self, left: &Host) -> Option<Instant> {
        let mut all = self.lock();
        all.attached
            .retain(|host| host.generation != left.generation);
        if !left.gave() {
            return None;
        }
        let same = |host: &&Arc<Host>| host.identity == left.identity;
        if let Some(other) = all.attached.iter().find(same) {
            other.set_gave();
            return None;
        }
        let since = Instant::now();
        all.gone.insert(Arc::clone(&left.identity), since);
        Some(since)
    }

    /// Whether it has not been back in between; asked once.
    fn stayed_away(&self, identity: &str, since: Instant) -> bool {
        let mut all = self.lock();
        let stayed = all.gone.get(identity) == Some(&since);
        if stayed {
            all.gone.remove(identity);
        }
        stayed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl secrets::Bridge for Hosts {
    fn ask(&self, request: SecretRequest) -> secrets::Answer {
        let hosts = self.in_order();
        Box::pin(async move {
            let mut why = None;
            let mut silent = 0;
            for host in hosts {
                if silent == SILENT_MAX {
                    break;
                }
                match host.secret(&request).await {
                    Ok(secret) => return Ok(secret),
                    Err(Refused::Finally(error)) => return Err(error),
                    Err(Refused::Here(error)) => {
                        silent += usize::from(error == SecretError::Timeout);
                        why = Some(graver(why, error));
                    }
                }
            }
            Err(why.unwrap_or_else(|| no_host(&request.secret_key_id)))
        })
    }
}

/// Of what several hosts said, what the caller hears: a host that may have it and does not answer comes before one that has
/// not got it.
fn graver(before: Option<SecretError>, now: SecretError) -> SecretError {
    let rank = |error: &SecretError| match error {
        SecretError::Timeout => 2,
        SecretError::NotFound(_) => 1,
        _ => 0,
    };
    match before {
        Some(before) if rank(&before) >= rank(&now) => before,
        _ => now,
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let kernel = &self.kernel;
        let since = kernel.hosts.detach(&self.host);
        self.host.abandon();
        tracing::info!(host = self.host.label, "host gone");
        kernel.events.publish(Event::HostGone {
            host: self.host.label.clone(),
        });
        if let Some(since) = since {
            let identity = Arc::clone(&self.host.identity);
            let grace = kernel.config.sessions.host_grace;
            let kernel = Arc::downgrade(kernel);
            // Ends with the runtime at the latest.
            self.kernel.control.spawn(async move {
                tokio::time::sleep(grace).await;
                if let Some(kernel) = kernel.upgrade()
                    && kernel.hosts.stayed_away(&identity, since)
                {
                    end_sessions(&kernel, &identity);
                }
            });
        }
    }
}

/// Ends the sessions whose keys came from a host that did not come back.
fn end_sessions(kernel: &Kernel, identity: &str) {
    let ended = kernel.sessions.revoke_where(clock::unix_now(), |session| {
        session
            .secret()
            .is_some_and(|secret| secret.host() == Some(identity))
    });
    if ended.is_empty() {
        return;
    }
    kernel.wake_sweeper();
    tracing::info!(
        sessions = ended.len(),
        "sessions ended with the host that gave their keys"
    );
    for session in ended {
        kernel.events.publish(Event::SessionRevoked {
            session: session.id().to_owned(),
        });
    }
}
