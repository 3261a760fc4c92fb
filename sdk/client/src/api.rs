//! What the routes take and answer. Members that a newer kernel adds are ignored.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A session to be issued. What is left out, the kernel chooses.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewSession {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modules: Option<Vec<String>>,
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

/// A session.
#[derive(Debug, Clone, Deserialize)]
pub struct Session {
    pub id: String,
    /// `active`, `expired` or `revoked`.
    pub status: String,
    pub user: String,
    pub modules: Vec<String>,
    pub scope: String,
    pub secret_key_id: Option<String>,
    pub environment: String,
    /// Unix seconds.
    pub created_at: u64,
    /// Unix seconds.
    pub expires_at: u64,
    pub rate_limit: Option<RateLimit>,
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// A session with its token.
#[derive(Debug, Clone, Deserialize)]
pub struct IssuedSession {
    pub client_secret: ClientSecret,
    /// Seconds.
    pub expires_in: u64,
    #[serde(flatten)]
    pub session: Session,
}

/// A session's token. Not printed by `Debug`.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct ClientSecret(String);

impl ClientSecret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A page of sessions, newest first.
#[derive(Debug, Clone, Deserialize)]
pub struct Sessions {
    pub data: Vec<Session>,
    pub has_more: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Health {
    pub status: String,
    pub version: String,
    pub protocol: u32,
    /// The host is told these.
    pub uptime_s: Option<u64>,
    pub pid: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Modules {
    pub modules: Vec<Module>,
}

/// A running module.
#[derive(Debug, Clone, Deserialize)]
pub struct Module {
    pub name: String,
    pub version: String,
    pub generation: u64,
    pub state: String,
    pub sha256: String,
    pub path: String,
    pub grants: Vec<String>,
    pub in_flight_requests: u64,
    pub resident_generations: u64,
    pub requests: Map<String, Value>,
}

/// A module to be loaded, or swapped.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewModule {
    /// Absolute.
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
}

/// The proof of a swap or unload.
#[derive(Debug, Clone, Deserialize)]
pub struct Receipt {
    pub module: String,
    pub from: Option<Identity>,
    pub to: Option<Identity>,
    pub swap_us: Option<u64>,
    /// `None` while draining.
    pub drain_ms: Option<u64>,
    pub requests: ReceiptRequests,
    /// `None` while draining.
    pub unloaded: Option<bool>,
    pub resident_reason: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Identity {
    pub generation: u64,
    pub version: String,
    pub sha256: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct ReceiptRequests {
    pub finished_on_old: u64,
    pub cancelled: u64,
}
