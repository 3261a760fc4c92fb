//! Parameters of which no one type has all: those of methods that are routes, whose members stand in a path, a query and a
//! body, and lines of the log, which are written without one.

use schemars::JsonSchema;
use serde_json::{Map, Value};

use crate::routes::modules::{Put, Reload};
use crate::routes::sessions::Renew;

/// Which session, and for how long.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct SessionRenewParams {
    /// Of the session.
    id: String,
    #[schemars(flatten)]
    body: Renew,
}

/// Which session.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct SessionRevokeParams {
    /// Of the session.
    id: String,
}

/// Which module, and what of it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ModuleLoadParams {
    /// The name that it gets.
    name: String,
    #[schemars(flatten)]
    body: Put,
    /// When the answer comes; at once when left out.
    wait: Option<Wait>,
}

/// Which module, and with what.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ModuleReloadParams {
    /// Of the module.
    name: String,
    #[schemars(flatten)]
    body: Reload,
    /// When the answer comes; at once when left out.
    wait: Option<Wait>,
}

/// Which module, and how soon.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ModuleUnloadParams {
    /// Of the module.
    name: String,
    /// How long what is under way on it may take, up to ten minutes; what is configured when left out.
    drain_ms: Option<u64>,
    /// Unloads it although other modules were granted calls of it.
    force: Option<bool>,
}

/// When the answer to a load comes.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum Wait {
    /// When the old generation is gone, however long its requests take.
    Drained,
}

/// A line of the log, as `--log json` writes it.
#[derive(JsonSchema)]
pub(super) struct LogLine {
    /// RFC 3339, in UTC, to the millisecond.
    timestamp: String,
    level: LineLevel,
    /// Where in the program it was written.
    target: String,
    /// The same text for the same thing: what differs stands in the fields.
    message: String,
    /// The module that it is about, or whose it is.
    #[schemars(skip_serializing_if = "left_out")]
    module: String,
    #[schemars(skip_serializing_if = "left_out")]
    generation: u64,
    #[schemars(skip_serializing_if = "left_out")]
    request_id: String,
    #[schemars(skip_serializing_if = "left_out")]
    session: String,
    #[schemars(skip_serializing_if = "left_out")]
    fields: Map<String, Value>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
enum LineLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
