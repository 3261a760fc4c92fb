//! The proof that a swap or an unload returns.

use serde::Serialize;

use super::generation::Generation;

/// What was replaced by what, and how what was under way on the old one ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Receipt {
    pub(crate) module: String,
    pub(crate) from: Option<Identity>,
    pub(crate) to: Option<Identity>,
    /// How long the exchange of the route took; `None` when there was nothing to exchange.
    pub(crate) swap_us: Option<u64>,
    /// `None` while draining.
    pub(crate) drain_ms: Option<u64>,
    pub(crate) requests: Requests,
    /// State handed over; this version hands over none.
    pub(crate) state: Option<()>,
    /// Whether the old code has left the process; `None` while draining.
    pub(crate) unloaded: Option<bool>,
    pub(crate) resident_reason: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Identity {
    pub(crate) generation: u64,
    pub(crate) version: String,
    pub(crate) sha256: String,
}

/// Requests that were under way on the old generation at the exchange.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Requests {
    pub(crate) finished_on_old: u64,
    pub(crate) cancelled: u64,
}

impl Identity {
    pub(crate) fn of(generation: &Generation) -> Identity {
        Identity {
            generation: generation.number,
            version: generation.descriptor.version.clone(),
            sha256: generation.sha256.clone(),
        }
    }
}
