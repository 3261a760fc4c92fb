//! One load of a module: what it was granted, what it has done, and who still uses it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::descriptor::{Descriptor, RoutePattern};
use super::grants::Grants;
use super::instance::{Instance, Retired};
use super::life::{Phase, Transition};
use super::loader::{LoadError, Owner};
use super::private_copy::PrivateCopy;
use super::state::SavedState;
use crate::events::{Event, Events};
use crate::isolation::process::Process;

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

/// What a generation has done. Counters only grow, but for `sockets`.
#[derive(Default)]
pub(crate) struct Stats {
    /// By the first digit of the status, 1 to 5.
    by_class: [AtomicU64; 5],
    pub(crate) poll_ns: AtomicU64,
    pub(crate) slow_polls: AtomicU64,
    pub(crate) panics: AtomicU64,
    /// The code failed: panics, and what it told the kernel as a failure.
    pub(crate) failures: AtomicU64,
    /// The client left, the session was revoked or the drain was cut before the answer was whole.
    pub(crate) cancelled: AtomicU64,
    /// Of those, the ones that a drain cut.
    pub(crate) cut: AtomicU64,
    /// Open WebSockets.
    pub(crate) sockets: AtomicU64,
    /// Messages from clients, and to them.
    pub(crate) messages_in: AtomicU64,
    pub(crate) messages_out: AtomicU64,
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

    /// Takes hold of the generation for one request.
    pub(crate) fn pin(self: &Arc<Generation>) -> Result<Pin, Refused> {
        // Counted before the phase is read, and `drain` sets the phase before it reads the count: one of the two sees
        // the other.
        let pins = self.pins.fetch_add(1, Ordering::SeqCst);
        let pin = Pin {
            generation: Arc::clone(self),
            streaming: false,
        };
        match self.phase() {
            Phase::Serving if pins >= self.requests_max => Err(Refused::Full),
            Phase::Serving => Ok(pin),
            Phase::Held => Err(Refused::Held),
            // Whoever takes its place in a moment takes the request.
            _ if self.is_held() => Err(Refused::Held),
            Phase::Faulted => Err(Refused::Faulted),
            _ => Err(Refused::Draining),
        }
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

    /// How many bytes a request body on `path` may have.
    pub(crate) fn body_limit(&self, path: &str) -> u64 {
        let declared = self
            .body_limits
            .iter()
            .filter(|(pattern, _)| pattern.matches(path))
            .map(|(_, bytes)| *bytes);
        declared.max().unwrap_or(self.body_bytes)
    }

    /// What the module declared: pattern and bytes.
    pub(crate) fn body_limits(&self) -> impl Iterator<Item = (&RoutePattern, u64)> {
        self.body_limits
            .iter()
            .map(|(pattern, bytes)| (pattern, *bytes))
    }

    /// Whether `path` needs no session here.
    pub(crate) fn is_public(&self, path: &str) -> bool {
        self.public
            && !self.is_internal(path)
            && self
                .descriptor
                .public_routes
                .iter()
                .any(|pattern| pattern.matches(path))
    }

    /// Whether `path` is open to other modules, and to nobody else.
    pub(crate) fn is_internal(&self, path: &str) -> bool {
        let internal = &self.descriptor.internal_routes;
        internal.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether `path` is closed to clients: also one that only reads as an internal one once it is decoded or its slashes are
    /// merged, as some routers do.
    pub(crate) fn is_internal_to_clients(&self, path: &str) -> bool {
        if self.descriptor.internal_routes.is_empty() {
            return false;
        }
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let mut merged = String::with_capacity(decoded.len());
        for c in decoded.chars() {
            if c != '/' || !merged.ends_with('/') {
                merged.push(c);
            }
        }
        self.is_internal(path) || self.is_internal(&decoded) || self.is_internal(&merged)
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

    /// Lets new requests wait until the hold is dropped or another generation has taken its place.
    pub(crate) fn hold(self: &Arc<Generation>) -> Hold {
        self.held.store(true, Ordering::SeqCst);
        self.owner.life.advance(Transition::Hold);
        Hold(Arc::clone(self))
    }

    /// Takes no more requests, and lets new ones wait until the hold is dropped: it ends before another has its place.
    pub(crate) fn give_way(self: &Arc<Generation>) -> Hold {
        let hold = self.hold();
        self.owner.life.advance(Transition::Replace);
        hold
    }

    /// Takes no more requests from here on.
    pub(crate) fn stop_taking(&self) {
        self.owner.life.advance(Transition::Replace);
        self.held.store(false, Ordering::SeqCst);
        self.restarting.store(false, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Takes no more requests until it is replaced: `reason` says what it did.
    pub(crate) fn quarantine(&self, reason: &str) {
        if !self.owner.life.advance(Transition::Fault) {
            return;
        }
        self.changed.notify_waiters();
        self.failed.notify_waiters();
        self.tell_faulted(reason);
    }

    fn tell_faulted(&self, reason: &str) {
        tracing::error!(module = %self.label, reason, "a module is in quarantine until it is reloaded");
        self.events.publish(Event::ModuleFaulted {
            module: self.name.to_string(),
            generation: self.number,
            reason: reason.to_owned(),
        });
    }

    /// Counts and tells of a poll that held up others; one that took far too long puts it in quarantine, unless it has a process
    /// to itself, where it holds up nobody else.
    pub(crate) fn slow_poll(&self, route: &str, request_id: &str, taken: Duration) {
        if let Some(kernel) = &self.kernel {
            return kernel.slow_poll(route, request_id, taken);
        }
        self.stats.slow_polls.fetch_add(1, Ordering::Relaxed);
        let poll_ms = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(module = %self.label, route, request_id, poll_ms, "slow poll");
        if taken > self.quarantine_after && self.process().is_none() {
            self.quarantine(&format!("one poll of {route} took {poll_ms} ms"));
        }
    }

    /// It asked for a secret without the grant.
    pub(crate) fn denied_secret(&self, request_id: &str) {
        match &self.kernel {
            Some(kernel) => kernel.denied_secret(request_id),
            None => {
                tracing::warn!(module = %self.label, request_id, "a module asked for a secret without the grant");
            }
        }
    }

    /// Counts a failure of its code.
    pub(crate) fn count_failure(&self) {
        self.stats.failures.fetch_add(1, Ordering::Relaxed);
        self.failed.notify_waiters();
    }

    pub(crate) fn failures(&self) -> u64 {
        self.stats.failures.load(Ordering::Relaxed)
    }

    /// Resolves when its code has failed more than `max` times, or was put in quarantine. Cancel-safe.
    pub(crate) async fn failed_more_often_than(&self, max: u64) {
        loop {
            let failed = self.failed.notified();
            if self.failures() > max || self.phase() == Phase::Faulted {
                return;
            }
            failed.await;
        }
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

    /// Claims the one call of `save` that there may be; until it is dropped the generation is not ended.
    pub(crate) fn claim_save(self: &Arc<Generation>) -> Option<SaveClaim> {
        let claimed = self
            .saving
            .compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst);
        claimed.is_ok().then(|| SaveClaim(Arc::clone(self)))
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

    /// Its process has ended by itself, and nobody has given up on it yet.
    pub(crate) fn is_restarting(&self) -> bool {
        self.restarting.load(Ordering::SeqCst)
    }

    /// Its process has ended: lets new requests wait until another has taken its place, or it was given up. Does nothing to
    /// one that takes no requests any more.
    pub(crate) fn start_restarting(&self) {
        self.restarting.store(true, Ordering::SeqCst);
        if !self.owner.life.advance(Transition::Fault) && self.phase() != Phase::Faulted {
            self.restarting.store(false, Ordering::SeqCst);
            // Whoever looked meanwhile went to wait.
            self.changed.notify_waiters();
        }
        self.failed.notify_waiters();
    }

    /// Nobody starts it again: what waits for it is refused.
    pub(crate) fn give_up_restart(&self, reason: &str) {
        if self.restarting.swap(false, Ordering::SeqCst) {
            self.changed.notify_waiters();
            self.tell_faulted(reason);
        }
    }

    /// While what this returns lives, the version before takes its place if it fails.
    pub(crate) fn open_way_back(self: &Arc<Generation>) -> WayBackWindow {
        self.way_back.store(true, Ordering::SeqCst);
        WayBackWindow(Arc::clone(self))
    }

    pub(crate) fn has_way_back(&self) -> bool {
        self.way_back.load(Ordering::SeqCst)
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

/// A hold on a generation's life: while there is one, its instance lives. Taken and released by kernel code outside the
/// module's frames.
pub(crate) struct Pin {
    generation: Arc<Generation>,
    streaming: bool,
}

impl Pin {
    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    pub(super) fn instance(&self) -> &Instance {
        &self.generation.instance
    }

    /// The answer has begun, and what follows of it may take its time.
    pub(crate) fn set_streaming(&mut self) {
        if !std::mem::replace(&mut self.streaming, true) {
            self.generation.streaming.fetch_add(1, Ordering::SeqCst);
            self.generation.tell_unless_serving();
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let generation = &self.generation;
        if self.streaming {
            generation.streaming.fetch_sub(1, Ordering::SeqCst);
        }
        generation.pins.fetch_sub(1, Ordering::SeqCst);
        generation.tell_unless_serving();
    }
}

/// The right to have a generation saved.
pub(crate) struct SaveClaim(Arc<Generation>);

impl SaveClaim {
    pub(crate) fn label(&self) -> &str {
        &self.0.label
    }

    /// What the generation hands over, if anything. May block: call it on a control thread.
    pub(crate) fn save(&self) -> Result<Option<SavedState>, LoadError> {
        self.0.instance.save(&self.0.owner)
    }
}

impl Drop for SaveClaim {
    fn drop(&mut self) {
        self.0.saving.store(false, Ordering::SeqCst);
    }
}

/// The time in which a version may be replaced by the one before.
pub(crate) struct WayBackWindow(Arc<Generation>);

impl Drop for WayBackWindow {
    fn drop(&mut self) {
        self.0.way_back.store(false, Ordering::SeqCst);
    }
}

/// New requests wait while there is one.
pub(crate) struct Hold(Arc<Generation>);

impl Drop for Hold {
    fn drop(&mut self) {
        // Not taken when another generation has its place, or it is in quarantine.
        self.0.owner.life.advance(Transition::Release);
        self.0.held.store(false, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}
