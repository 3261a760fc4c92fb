//! Which generation a host call comes from when it belongs to no request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use bytes::{Bytes, BytesMut};
use midplane_abi::{Status, status};

use crate::modules::calls::Carrier;
use crate::modules::calls::made::Made;
use crate::modules::descriptor::RoutePattern;
use crate::modules::grants::Grants;
use crate::modules::life::Life;
use crate::modules::metrics::ModuleMetrics;
use crate::telemetry::ModuleLog;

static OWNERS: RwLock<Option<HashMap<u64, Arc<Owner>>>> = RwLock::new(None);
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A generation as its module names it in `log` and `body_limit`. It exists before the instance does.
pub(crate) struct Owner {
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) number: u64,
    pub(crate) life: Life,
    /// Highest value for a body limit.
    pub(crate) body_bytes_max: u64,
    /// `[limits] state_bytes`
    pub(crate) state_bytes_max: usize,
    pub(crate) log: Arc<dyn ModuleLog>,
    /// What all generations of this name count.
    pub(crate) metrics: Arc<ModuleMetrics>,
    /// The calls to other modules that it has under way.
    pub(crate) made: Arc<Made>,
    /// What carries those that belong to none of its requests.
    pub(crate) carrier: Arc<dyn Carrier>,
    /// None of its code runs any more.
    ended: AtomicBool,
    /// What it was given; known before any of its code runs.
    grants: OnceLock<Grants>,
    body_limits: Mutex<Option<Vec<(RoutePattern, u64)>>>,
    /// What `save` has written so far; there only while it runs.
    saving: Mutex<Option<BytesMut>>,
}

impl Owner {
    pub(crate) fn register(
        name: Arc<str>,
        number: u64,
        body_bytes_max: u64,
        state_bytes_max: usize,
        log: Arc<dyn ModuleLog>,
        metrics: Arc<ModuleMetrics>,
        carrier: Arc<dyn Carrier>,
    ) -> Arc<Owner> {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let body_limits = Mutex::new(Some(Vec::new()));
        let owner = Arc::new(Owner {
            id,
            name,
            number,
            life: Life::new(),
            body_bytes_max,
            state_bytes_max,
            log,
            metrics,
            made: Arc::default(),
            carrier,
            ended: AtomicBool::new(false),
            grants: OnceLock::new(),
            body_limits,
            saving: Mutex::new(None),
        });
        let mut owners = OWNERS.write().unwrap_or_else(PoisonError::into_inner);
        owners
            .get_or_insert_default()
            .insert(id, Arc::clone(&owner));
        owner
    }

    /// Once.
    pub(crate) fn grant(&self, grants: Grants) {
        let _ = self.grants.set(grants);
    }

    pub(crate) fn grants(&self) -> Grants {
        self.grants.get().cloned().unwrap_or_default()
    }

    /// Notes that none of its code runs any more, so that what it owned is free.
    pub(crate) fn set_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// `chat#3`
    pub(crate) fn label(&self) -> String {
        format!("{}#{}", self.name, self.number)
    }

    pub(crate) fn may_call(&self, module: &str) -> bool {
        let grants = self.grants.get();
        grants.is_some_and(|grants| grants.may_call(module))
    }

    /// Forgets it: later calls with its id find nothing, and calls to other modules end.
    pub(crate) fn unregister(&self) {
        self.made.end();
        self.metrics.forget_generation(self.number);
        if let Some(owners) = OWNERS
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            owners.remove(&self.id);
        }
    }

    /// Whether it was forgotten.
    pub(crate) fn is_over(&self) -> bool {
        Owner::find(self.id).is_none()
    }

    pub(super) fn find(id: u64) -> Option<Arc<Owner>> {
        OWNERS
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()?
            .get(&id)
            .cloned()
    }

    /// Adds a body limit; false once `restore` is over.
    pub(crate) fn add_body_limit(&self, pattern: RoutePattern, bytes: u64) -> bool {
        let mut limits = self
            .body_limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        limits
            .as_mut()
            .map(|limits| limits.push((pattern, bytes)))
            .is_some()
    }

    /// What `init` and `restore` asked for; there will be no more.
    pub(crate) fn seal(&self) -> Vec<(RoutePattern, u64)> {
        self.body_limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or_default()
    }

    /// Takes what `save` writes from here on.
    pub(super) fn start_saving(&self) {
        *self.saving() = Some(BytesMut::new());
    }

    /// Adds to what `save` writes.
    pub(super) fn add_state(&self, bytes: &[u8]) -> Status {
        let mut saving = self.saving();
        let Some(written) = saving.as_mut() else {
            return status::INVALID;
        };
        if bytes.len() > self.state_bytes_max - written.len() {
            return status::TOO_LARGE;
        }
        written.extend_from_slice(bytes);
        status::OK
    }

    /// What `save` has written.
    pub(super) fn end_saving(&self) -> Bytes {
        self.saving().take().unwrap_or_default().freeze()
    }

    fn saving(&self) -> MutexGuard<'_, Option<BytesMut>> {
        self.saving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
