//! One load of a module: what it was granted, what it has done, and who still uses it.

mod declared;
mod failing;
mod guards;
mod stats;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::descriptor::{Descriptor, RoutePattern};
use super::grants::Grants;
use super::instance::{Instance, Retired};
use super::life::{Phase, Transition};
use super::loader::Owner;
use super::private_copy::PrivateCopy;
use crate::events::{Event, Events};
use crate::isolation::process::Process;

pub(crate) use guards::{Hold, Pin, SaveClaim};
pub(crate) use stats::Stats;

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
    /// `[limits] quarantine_after`
    pub(crate) quarantine_after: Duration,
    pub(crate) stats: Stats,
    /// Fired when its drain has taken too long: what still runs on it is cut.
    pub(crate) cut: CancellationToken,
    /// Fired when it drains and its module has been told: WebSockets are closed soon after.
    pub(crate) quiesced: CancellationToken,
    body_limits: Vec<(RoutePattern, u64)>,
    body_bytes: u64,
    requests_max: usize,
    /// Dropped before its owner, which is there for as long as its code may run.
    instance: Instance,
    owner: Arc<Owner>,
    /// It belongs to the code, and goes with it.
    copy: Weak<PrivateCopy>,
    kernel: Option<Box<dyn Tell>>,
    events: Arc<Events>,
    pins: AtomicUsize,
    /// Pins of requests whose answer has begun.
    streaming: AtomicUsize,
    /// `save` is on a control thread's stack, or will be.
    saving: AtomicBool,
    /// There is a [`Hold`], whatever the phase is.
    held: AtomicBool,
    /// Its process has ended, and another is to take its place.
    restarting: AtomicBool,
    /// The version before takes its place if it fails.
    way_back: AtomicBool,
    /// A failure was counted.
    failed: Notify,
    /// The phase or the pins have changed; told only while it does not simply serve.
    changed: Notify,
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
    pub(crate) quarantine_after: Duration,
    pub(crate) instance: Instance,
    pub(crate) events: Arc<Events>,
    pub(crate) copy: Arc<PrivateCopy>,
    /// In a module process: the kernel's ear.
    pub(crate) kernel: Option<Box<dyn Tell>>,
}

/// Tells the kernel what a module did in a process of its own.
pub(crate) trait Tell: Send + Sync {
    fn slow_poll(&self, route: &str, request_id: &str, taken: Duration);
    /// It asked for a secret without the grant.
    fn denied_secret(&self, request_id: &str);
}

/// Why a generation takes no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its state is being handed over, or it ends first: it or another takes the request in a moment.
    Held,
    /// Another one has taken its place, or none.
    Draining,
    /// It is in quarantine.
    Faulted,
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
            quarantine_after,
            instance,
            events,
            copy,
            kernel,
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
            quarantine_after,
            stats: Stats::default(),
            cut: CancellationToken::new(),
            quiesced: CancellationToken::new(),
            body_limits: owner.seal(),
            body_bytes,
            requests_max,
            owner,
            instance,
            copy: Arc::downgrade(&copy),
            kernel,
            events,
            pins: AtomicUsize::new(0),
            streaming: AtomicUsize::new(0),
            saving: AtomicBool::new(false),
            held: AtomicBool::new(false),
            restarting: AtomicBool::new(false),
            way_back: AtomicBool::new(false),
            failed: Notify::new(),
            changed: Notify::new(),
        })
    }

    /// The process that it has to itself.
    pub(crate) fn process(&self) -> Option<&Arc<Process>> {
        self.instance.process()
    }

    pub(crate) fn owner_id(&self) -> u64 {
        self.owner.id
    }

    pub(crate) fn phase(&self) -> Phase {
        self.owner.life.phase()
    }

    /// Requests under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.pins.load(Ordering::SeqCst)
    }

    pub(crate) fn needs_secret(&self) -> bool {
        self.instance.needs_secret()
    }

    pub(crate) fn checks_sessions(&self) -> bool {
        self.instance.checks_sessions()
    }

    /// New requests go to it from here on.
    pub(crate) fn serve(&self) {
        self.owner.life.advance(Transition::Serve);
    }

    /// Takes no more requests from here on.
    pub(crate) fn stop_taking(&self) {
        self.owner.life.advance(Transition::Replace);
        self.held.store(false, Ordering::SeqCst);
        self.restarting.store(false, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// The copy its code was loaded from, as long as that is mapped.
    pub(crate) fn copy(&self) -> Option<Arc<PrivateCopy>> {
        self.copy.upgrade()
    }

    /// Whether it may have state to hand over.
    pub(crate) fn saves(&self) -> bool {
        self.descriptor.state.is_some() && self.instance.saves()
    }

    /// Whether a call of `save` has not returned.
    pub(crate) fn is_saving(&self) -> bool {
        self.saving.load(Ordering::SeqCst)
    }

    /// Tells the module that no new request will come. May block: call it on a control thread, once.
    pub(crate) fn quiesce(&self, drain: Duration) {
        self.instance.quiesce(drain);
    }

    /// Resolves when no request is under way. Cancel-safe.
    pub(crate) async fn unpinned(&self) {
        self.until(|| self.in_flight() == 0).await;
    }

    /// Resolves when every request under way has begun its answer. Cancel-safe.
    pub(crate) async fn answered(&self) {
        self.until(|| self.in_flight() <= self.streaming.load(Ordering::SeqCst))
            .await;
    }

    /// Resolves when new requests need not wait. Cancel-safe.
    pub(crate) async fn released(&self) {
        self.until(|| !self.is_held()).await;
    }

    fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst) || self.is_restarting()
    }

    fn tell_unless_serving(&self) {
        if self.phase() != Phase::Serving {
            self.changed.notify_waiters();
        }
    }

    /// Resolves when `holds`, which can change only while the generation does not simply serve. Cancel-safe.
    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds() {
                return;
            }
            changed.await;
        }
    }

    /// Ends the instance. Blocks: call it on a control thread, once, when the generation drains and nothing pins it.
    pub(crate) fn retire(&self) -> Option<Retired> {
        self.owner.life.advance(Transition::Retire);
        let retired = self.instance.end();
        self.owner.unregister();
        self.owner.set_ended();
        retired
    }

    /// Whether nothing of it runs any more, so that what it owned is free.
    pub(crate) fn is_over(&self) -> bool {
        self.owner.has_ended()
    }

    /// Tells that its code has left the process after all.
    pub(crate) fn tell_gone(&self) {
        tracing::info!(module = %self.label, "a module that was held has left the process");
        self.events.publish(Event::ModuleUnloaded {
            module: self.name.to_string(),
            generation: self.number,
            unloaded: true,
        });
    }

    /// Its code has left the process, or has not.
    pub(crate) fn set_unloaded(&self, unloaded: bool) {
        let end = if unloaded {
            Transition::Unload
        } else {
            Transition::Keep
        };
        self.owner.life.advance(end);
    }
}
