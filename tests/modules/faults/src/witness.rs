//! What was dropped: how a test sees that a future or a body is gone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::routing::get;
use axum::{Json, Router};

static COUNTS: Mutex<BTreeMap<&str, u64>> = Mutex::new(BTreeMap::new());

pub(crate) fn count(what: &'static str) {
    *COUNTS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(what)
        .or_default() += 1;
}

/// Counts its drop, and may panic then.
pub(crate) struct Witness {
    name: &'static str,
    panics: bool,
}

impl Witness {
    pub(crate) fn new(name: &'static str) -> Witness {
        Witness {
            name,
            panics: false,
        }
    }

    pub(crate) fn that_panics(name: &'static str) -> Witness {
        Witness { name, panics: true }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        count(self.name);
        if self.panics {
            panic!("the drop of {} panics on purpose", self.name);
        }
    }
}

pub(crate) fn routes() -> Router {
    Router::new().route(
        "/counts",
        get(|| async {
            Json(
                COUNTS
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone(),
            )
        }),
    )
}
