//! The proof that a swap or an unload returns.

use serde::Serialize;

use super::generation::Generation;

/// What was replaced by what, and how what was under way on the old one ended.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Receipt {
    pub(crate) module: String,
    pub(crate) from: Option<Identity>,
    pub(crate) to: Option<Identity>,
    /// For how long new requests waited: for the hand-over of state, or the end of an exclusive module's old generation, and the
    /// exchange of the route; `None` when there was nothing to exchange.
    pub(crate) swap_us: Option<u64>,
    /// `None` while draining.
    pub(crate) drain_ms: Option<u64>,
    pub(crate) requests: Requests,
    /// `None` when the old generation had nothing to hand over.
    pub(crate) state: Option<HandedOver>,
    /// Whether the old code has left the process; `None` while draining.
    pub(crate) unloaded: Option<bool>,
    pub(crate) resident_reason: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Identity {
    pub(crate) generation: u64,
    pub(crate) version: String,
    pub(crate) sha256: String,
}

/// State that the old generation handed over.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ReceiptState"))]
pub(crate) struct HandedOver {
    pub(crate) bytes: usize,
    pub(crate) schema: u32,
    /// Whether the new one takes state at all; one that takes it and refuses it is not loaded.
    pub(crate) accepted: bool,
}

/// Requests that were under way on the old generation at the exchange.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ReceiptRequests"))]
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
