//! Which generation a host call comes from when it belongs to no request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::modules::descriptor::RoutePattern;
use crate::telemetry::LogHandle;

static OWNERS: RwLock<Option<HashMap<u64, Arc<Owner>>>> = RwLock::new(None);
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A generation as its module names it in `log` and `body_limit`. It exists before the instance does.
pub(crate) struct Owner {
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) number: u64,
    /// Highest value for a body limit.
    pub(crate) body_bytes_max: u64,
    pub(super) log: LogHandle,
    body_limits: Mutex<Option<Vec<(RoutePattern, u64)>>>,
}

impl Owner {
    pub(crate) fn register(
        name: Arc<str>,
        number: u64,
        body_bytes_max: u64,
        log: LogHandle,
    ) -> Arc<Owner> {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let body_limits = Mutex::new(Some(Vec::new()));
        let owner = Arc::new(Owner {
            id,
            name,
            number,
            body_bytes_max,
            log,
            body_limits,
        });
        let mut owners = OWNERS.write().unwrap_or_else(PoisonError::into_inner);
        owners
            .get_or_insert_default()
            .insert(id, Arc::clone(&owner));
        owner
    }

    /// Forgets it: later calls with its id find nothing.
    pub(crate) fn unregister(&self) {
        if let Some(owners) = OWNERS
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            owners.remove(&self.id);
        }
    }

    pub(super) fn find(id: u64) -> Option<Arc<Owner>> {
        OWNERS
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()?
            .get(&id)
            .cloned()
    }

    /// Adds a body limit; false once `init` is over.
    pub(super) fn add_body_limit(&self, pattern: RoutePattern, bytes: u64) -> bool {
        let mut limits = self
            .body_limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        limits
            .as_mut()
            .map(|limits| limits.push((pattern, bytes)))
            .is_some()
    }

    /// What `init` asked for; there will be no more.
    pub(crate) fn seal(&self) -> Vec<(RoutePattern, u64)> {
        self.body_limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or_default()
    }
}
