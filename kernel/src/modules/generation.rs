//! One load of a module: what it was granted, what it has done, and who still uses it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::descriptor::{Descriptor, Grants, RoutePattern};
use super::loader::{Instance, Owner};
use super::private_copy::PrivateCopy;

/// A poll over this holds up the worker's other requests noticeably, and is counted and logged.
pub(crate) const SLOW_POLL: Duration = Duration::from_millis(10);

pub(crate) struct Generation {
    pub(crate) name: Arc<str>,
    pub(crate) number: u64,
    /// `hello#3`
    pub(crate) label: String,
    pub(crate) label_value: HeaderValue,
    pub(crate) descriptor: Descriptor,
    /// Of the artifact, lower-case hex.
    pub(crate) sha256: String,
    pub(crate) path: PathBuf,
    pub(crate) grants: Grants,
    /// Whether its public routes are.
    pub(crate) public: bool,
    pub(crate) openapi: Option<String>,
    pub(crate) drain_timeout: Duration,
    pub(crate) stats: Stats,
    /// Fired when its drain has taken too long: what still runs on it is cut.
    pub(crate) cut: CancellationToken,
    body_limits: Vec<(RoutePattern, u64)>,
    body_bytes: u64,
    requests_max: usize,
    owner: Arc<Owner>,
    instance: Instance,
    /// After the instance, which is ended before it goes.
    _copy: PrivateCopy,
    phase: AtomicU8,
    pins: AtomicUsize,
    unpinned: Notify,
}

/// What a generation is made from.
pub(crate) struct Parts {
    pub(crate) owner: Arc<Owner>,
    pub(crate) descriptor: Descriptor,
    pub(crate) sha256: String,
    pub(crate) path: PathBuf,
    pub(crate) grants: Grants,
    pub(crate) public: bool,
    pub(crate) drain_timeout: Duration,
    pub(crate) body_bytes: u64,
    pub(crate) requests_max: usize,
    pub(crate) instance: Instance,
    pub(crate) copy: PrivateCopy,
}

/// Where a generation stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub(crate) enum Phase {
    Serving = 0,
    Draining = 1,
    Retired = 2,
}

/// What a generation has done. Counters only grow.
#[derive(Default)]
pub(crate) struct Stats {
    /// By the first digit of the status, 1 to 5.
    by_class: [AtomicU64; 5],
    pub(crate) poll_ns: AtomicU64,
    pub(crate) slow_polls: AtomicU64,
    pub(crate) panics: AtomicU64,
    /// The client left, the session was revoked or the drain was cut before the answer was whole.
    pub(crate) cancelled: AtomicU64,
    /// Of those, the ones that a drain cut.
    pub(crate) cut: AtomicU64,
}

/// Why a generation takes no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another one has taken its place, or none.
    Draining,
    /// `[limits] requests_per_module`.
    Full,
}

impl Generation {
    pub(crate) fn new(parts: Parts) -> Arc<Generation> {
        let Parts {
            owner,
            descriptor,
            sha256,
            path,
            grants,
            public,
            drain_timeout,
            body_bytes,
            requests_max,
            instance,
            copy,
        } = parts;
        let label = format!("{}#{}", owner.name, owner.number);
        Arc::new(Generation {
            name: Arc::clone(&owner.name),
            number: owner.number,
            label_value: HeaderValue::from_str(&label).expect("module names are visible ASCII"),
            label,
            descriptor,
            sha256,
            path,
            grants,
            public,
            openapi: instance.openapi(),
            drain_timeout,
            stats: Stats::default(),
            cut: CancellationToken::new(),
            body_limits: owner.seal(),
            body_bytes,
            requests_max,
            owner,
            instance,
            _copy: copy,
            phase: AtomicU8::new(Phase::Serving as u8),
            pins: AtomicUsize::new(0),
            unpinned: Notify::new(),
        })
    }

    /// Takes hold of the generation for one request.
    pub(crate) fn pin(self: &Arc<Generation>) -> Result<Pin, Refused> {
        // Counted before the phase is read, and `drain` sets the phase before it reads the count: one of the two sees
        // the other.
        let pins = self.pins.fetch_add(1, Ordering::SeqCst);
        let pin = Pin(Arc::clone(self));
        if self.phase() != Phase::Serving {
            return Err(Refused::Draining);
        }
        if pins >= self.requests_max {
            return Err(Refused::Full);
        }
        Ok(pin)
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Retired,
        }
    }

    /// Requests under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.pins.load(Ordering::SeqCst)
    }

    /// How many bytes a request body on `path` may have.
    pub(crate) fn body_limit(&self, path: &str) -> u64 {
        let declared = self
            .body_limits
            .iter()
            .filter(|(pattern, _)| pattern.matches(path))
            .map(|(_, bytes)| *bytes);
        declared.max().unwrap_or(self.body_bytes)
    }

    /// Whether `path` needs no session here.
    pub(crate) fn is_public(&self, path: &str) -> bool {
        self.public
            && self
                .descriptor
                .public_routes
                .iter()
                .any(|pattern| pattern.matches(path))
    }

    pub(crate) fn needs_secret(&self) -> bool {
        self.instance.needs_secret()
    }

    pub(crate) fn checks_sessions(&self) -> bool {
        self.instance.checks_sessions()
    }

    /// Takes no more requests from here on.
    pub(crate) fn stop_taking(&self) {
        let (serving, draining) = (Phase::Serving as u8, Phase::Draining as u8);
        // A generation that is further on stays where it is.
        let _ = self
            .phase
            .compare_exchange(serving, draining, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Tells the module that no new request will come. May block: call it on a control thread, once.
    pub(crate) fn quiesce(&self) {
        self.instance.quiesce();
    }

    /// Resolves when no request is under way. Cancel-safe.
    pub(crate) async fn unpinned(&self) {
        loop {
            let notified = self.unpinned.notified();
            if self.in_flight() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Ends the instance. Blocks: call it on a control thread, when the generation drains and nothing pins it.
    pub(crate) fn retire(&self) {
        self.phase.store(Phase::Retired as u8, Ordering::SeqCst);
        self.instance.fini();
        self.owner.unregister();
    }
}

impl Stats {
    pub(crate) fn count_status(&self, status: StatusCode) {
        if let Some(class) = self
            .by_class
            .get(usize::from(status.as_u16() / 100).wrapping_sub(1))
        {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Answers by the first digit of their status, 1 to 5.
    pub(crate) fn by_class(&self) -> [u64; 5] {
        self.by_class
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed))
    }
}

/// A hold on a generation: while there is one, its instance lives. Taken and released by kernel code outside the module's
/// frames.
pub(crate) struct Pin(Arc<Generation>);

impl Pin {
    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.0
    }

    pub(super) fn instance(&self) -> &Instance {
        &self.0.instance
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.0.pins.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.phase() != Phase::Serving {
            self.0.unpinned.notify_waiters();
        }
    }
}
