//! How a module's process ended that should not have.

use serde::Serialize;

/// What is told of a crash.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Crash {
    pub(crate) generation: u64,
    /// A signal's name, an exit status, or why the kernel killed it.
    pub(crate) reason: String,
    /// The name of the signal that ended it, if one did.
    pub(crate) signal: Option<&'static str>,
    /// Method and path of the requests that were under way in it, newest first; eight at most.
    pub(crate) routes: Vec<String>,
    /// Unix seconds.
    pub(crate) at: u64,
}
