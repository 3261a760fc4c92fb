//! What the kernel's routes take and return. Members that a newer kernel adds are passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The token of a session; `Debug` does not show it.
#[derive(Clone, Deserialize)]
pub struct ClientSecret(String);

impl ClientSecret {
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

/// What a new session is to allow; what is left out, the kernel chooses.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NewSession {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `None` for all that are loaded now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modules: Option<Vec<String>>,
    /// Words with spaces between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    pub requests_per_minute: u32,
}

/// A session with its token, which is shown this once.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct IssuedSession {
    pub id: String,
    pub client_secret: ClientSecret,
    /// Seconds from now.
    pub expires_in: u64,
    /// Unix seconds.
    pub expires_at: u64,
    pub user: String,
    pub modules: Vec<String>,
    #[serde(default)]
    pub scope: String,
    pub secret_key_id: Option<String>,
    pub environment: String,
    pub rate_limit: Option<RateLimit>,
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// A session, as the host sees it.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Session {
    pub id: String,
    /// `active`, `expired` or `revoked`.
    pub status: String,
    pub user: String,
    pub modules: Vec<String>,
    #[serde(default)]
    pub scope: String,
    pub secret_key_id: Option<String>,
    pub environment: String,
    /// Unix seconds.
    pub created_at: Option<u64>,
    /// Unix seconds.
    pub expires_at: u64,
    pub rate_limit: Option<RateLimit>,
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// Some sessions, newest first.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct SessionPage {
    pub data: Vec<Session>,
    /// Whether there are older ones; ask again with the last `id` as `after`.
    #[serde(default)]
    pub has_more: bool,
}

/// How the kernel is. The last members are for the host alone.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// `ok` or `degraded`.
    pub status: String,
    pub version: String,
    pub protocol: u32,
    pub uptime_s: Option<u64>,
    pub pid: Option<u32>,
    pub instance: Option<String>,
    pub modules: Option<Vec<HealthModule>>,
    /// Workers that modules hold and do not give back.
    #[serde(default)]
    pub stuck_workers: Vec<StuckWorker>,
}

/// A worker of the kernel that a module holds.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct StuckWorker {
    pub worker: usize,
    pub module: String,
    pub generation: u64,
    /// Method and path below the module's prefix.
    pub route: String,
    pub request_id: String,
    pub held_s: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct HealthModule {
    pub name: String,
    pub version: String,
    pub generation: u64,
    pub state: String,
    /// `in-process` or `process`; of an older kernel nothing.
    #[serde(default)]
    pub isolation: String,
}

/// A loaded module.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Module {
    pub name: String,
    pub version: String,
    pub generation: u64,
    pub state: String,
    pub sha256: String,
    pub path: Option<PathBuf>,
    #[serde(default)]
    pub grants: Vec<String>,
    #[serde(default)]
    pub public: bool,
    #[serde(default)]
    pub in_flight_requests: u64,
    #[serde(default)]
    pub open_websockets: u64,
    /// The time its code ran, on all workers.
    #[serde(default)]
    pub poll_seconds: f64,
    #[serde(default)]
    pub requests: RequestCounts,
    /// Generations whose code is in memory, this one included.
    #[serde(default)]
    pub resident_generations: u64,
    /// `in-process` or `process`; of an older kernel nothing.
    #[serde(default)]
    pub isolation: String,
    /// `None` in the kernel's process.
    pub process: Option<ModuleProcess>,
}

/// The process that a module has to itself.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct ModuleProcess {
    /// `None` while it is started again, and in quarantine.
    pub pid: Option<u32>,
    /// How often one has ended that should not have, since the kernel started.
    #[serde(default)]
    pub crashes: u64,
    pub last_crash: Option<Crash>,
    /// What is in force of its confinement; `None` when it is not confined.
    pub confined: Option<Value>,
}

/// How a module's process ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Crash {
    pub generation: u64,
    /// A signal's name, an exit status, or why the kernel killed it.
    pub reason: String,
    /// The name of the signal that ended it, if one did.
    pub signal: Option<String>,
    /// Method and path of the requests that were under way in it, newest first; eight at most.
    #[serde(default)]
    pub routes: Vec<String>,
    /// Unix seconds.
    pub at: u64,
}

/// `GET /modules`
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct ModuleList {
    /// Those that take requests, by name.
    pub modules: Vec<Module>,
    /// Those that were replaced or taken away and have requests to finish, oldest first.
    #[serde(default)]
    pub draining: Vec<DrainingGeneration>,
}

/// A generation that finishes what is under way on it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct DrainingGeneration {
    pub name: String,
    pub version: String,
    pub generation: u64,
    pub in_flight_requests: u64,
}

/// Answers by status class (`2xx`, …), and `cancelled`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct RequestCounts(pub BTreeMap<String, u64>);

impl RequestCounts {
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// `0` for a class that the kernel did not name.
    #[must_use]
    pub fn of(&self, class: &str) -> u64 {
        self.0.get(class).copied().unwrap_or(0)
    }
}

/// What to load as a module; what is left out stays as it is configured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ModuleSource {
    /// Absolute, and in one of the kernel's module directories.
    pub path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
}

/// What a load, a swap or an unload did.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Receipt {
    pub module: String,
    pub from: Option<Identity>,
    pub to: Option<Identity>,
    /// For how long new requests waited; `None` when there was nothing to exchange.
    pub swap_us: Option<u64>,
    /// `None` while draining.
    pub drain_ms: Option<u64>,
    #[serde(default)]
    pub requests: ReceiptRequests,
    /// `None` when the old one had nothing to hand over.
    pub state: Option<ReceiptState>,
    /// Whether the old code has left the process; `None` while draining.
    pub unloaded: Option<bool>,
    pub resident_reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    pub generation: u64,
    pub version: String,
    pub sha256: String,
}

/// Requests that were under way on the old generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct ReceiptRequests {
    pub finished_on_old: u64,
    pub cancelled: u64,
}

/// State that the old generation handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ReceiptState {
    pub bytes: u64,
    pub schema: u32,
    /// `false`: the new one takes no state, and has begun anew.
    pub accepted: bool,
}

/// The new signing key's name.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct RotatedKeys {
    pub kid: String,
}
