//! Who has a worker, as events, `/health` and the log tell it.

use serde::Serialize;

/// What holds a worker.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct HeldBy {
    pub(crate) module: String,
    pub(crate) generation: u64,
    /// Method and path below the module's prefix; `session check` for one.
    pub(crate) route: String,
    pub(crate) request_id: String,
}
