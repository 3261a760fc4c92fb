//! One session: what it allows, and whether it lives.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::rate::RateLimiter;
use super::token;
use crate::secrets::Secret;

/// What a session is made from, checked by whoever asks for it.
#[derive(Debug)]
pub(crate) struct NewSession {
    pub(crate) user: String,
    /// At least one.
    pub(crate) modules: Vec<String>,
    /// Space-separated.
    pub(crate) scope: String,
    pub(crate) environment: String,
    pub(crate) secret_key_id: Option<String>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) rate_limit: Option<Rate>,
    /// Seconds.
    pub(crate) expires_in: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "RateLimit"))]
pub(crate) struct Rate {
    pub(crate) requests_per_minute: u32,
}

pub(crate) struct Session {
    id: String,
    new: NewSession,
    /// The metadata as it crosses to modules.
    metadata_json: String,
    created_at: u64,
    expires_at: AtomicU64,
    /// Wiped with the session's end.
    secret: ArcSwapOption<Secret>,
    limiter: Option<RateLimiter>,
    revoked: AtomicBool,
    ended: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SessionStatus"))]
pub(crate) enum Status {
    Active,
    Expired,
    Revoked,
}

/// A session as the API shows it; never with a token.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Session"))]
pub(crate) struct View<'a> {
    id: &'a str,
    #[cfg_attr(feature = "schema", schemars(extend("const" = "session")))]
    object: &'static str,
    status: Status,
    user: &'a str,
    modules: &'a [String],
    scope: &'a str,
    secret_key_id: Option<&'a str>,
    environment: &'a str,
    created_at: u64,
    expires_at: u64,
    rate_limit: Option<Rate>,
    metadata: &'a Map<String, Value>,
}

impl View<'_> {
    /// Shows `expires_at` as the end.
    pub(crate) fn ending(mut self, expires_at: u64) -> Self {
        self.expires_at = expires_at;
        self
    }
}

impl Session {
    /// `ses_` and 128 random bits.
    pub(crate) fn new_id() -> Result<String, ring::error::Unspecified> {
        Ok(format!("ses_{}", token::random_id()?))
    }

    pub(crate) fn new(
        id: String,
        new: NewSession,
        secret: Option<Arc<Secret>>,
        now: u64,
    ) -> Session {
        Session {
            id,
            metadata_json: Value::Object(new.metadata.clone()).to_string(),
            created_at: now,
            expires_at: AtomicU64::new(now.saturating_add(new.expires_in)),
            secret: ArcSwapOption::new(secret),
            limiter: new
                .rate_limit
                .map(|rate| RateLimiter::new(rate.requests_per_minute)),
            revoked: AtomicBool::new(false),
            ended: CancellationToken::new(),
            new,
        }
    }

    /// The image, in a module process, of a session that lives in the kernel.
    pub(crate) fn image(
        id: String,
        new: NewSession,
        metadata_json: String,
        secret: Option<Arc<Secret>>,
        expires_at: u64,
    ) -> Session {
        Session {
            metadata_json,
            expires_at: AtomicU64::new(expires_at),
            ..Session::new(id, new, secret, 0)
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn user(&self) -> &str {
        &self.new.user
    }

    pub(crate) fn modules(&self) -> &[String] {
        &self.new.modules
    }

    pub(crate) fn allows_module(&self, module: &str) -> bool {
        self.new.modules.iter().any(|allowed| allowed == module)
    }

    pub(crate) fn scope(&self) -> &str {
        &self.new.scope
    }

    pub(crate) fn environment(&self) -> &str {
        &self.new.environment
    }

    pub(crate) fn secret_key_id(&self) -> Option<&str> {
        self.new.secret_key_id.as_deref()
    }

    pub(crate) fn metadata_json(&self) -> &str {
        &self.metadata_json
    }

    /// Unix seconds.
    pub(crate) fn created_at(&self) -> u64 {
        self.created_at
    }

    /// Unix seconds: when its youngest token ends.
    pub(crate) fn expires_at(&self) -> u64 {
        self.expires_at.load(Ordering::Relaxed)
    }

    pub(super) fn extend(&self, expires_at: u64) {
        self.expires_at.fetch_max(expires_at, Ordering::Relaxed);
    }

    pub(crate) fn status(&self, now: u64) -> Status {
        if self.is_revoked() {
            Status::Revoked
        } else if now >= self.expires_at() {
            Status::Expired
        } else {
            Status::Active
        }
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    /// Ends it at once, with everything that waits in [`Session::revoked`]. False when it was revoked already.
    pub(super) fn revoke(&self) -> bool {
        let first = !self.revoked.swap(true, Ordering::AcqRel);
        self.wipe_secret();
        self.ended.cancel();
        first
    }

    /// Resolves when the session is revoked. Cancel-safe.
    pub(crate) async fn revoked(&self) {
        self.ended.cancelled().await;
    }

    /// The key that lives with the session.
    pub(crate) fn secret(&self) -> Option<Arc<Secret>> {
        self.secret.load_full()
    }

    /// Replaces the key, unless the session has ended.
    pub(crate) fn replace_secret(&self, secret: Arc<Secret>) {
        self.secret.store(Some(secret));
        if self.is_revoked() {
            self.wipe_secret();
        }
    }

    /// The last holder of the key wipes it; who needs it again asks its source.
    pub(crate) fn wipe_secret(&self) {
        self.secret.store(None);
    }

    /// Takes one request of the session's rate, or says how long to wait. `now`, on a monotonic clock, is only asked where
    /// there is a rate.
    pub(crate) fn take_rate(&self, now: impl FnOnce() -> Duration) -> Result<(), Duration> {
        self.limiter
            .as_ref()
            .map_or(Ok(()), |limiter| limiter.take(now()))
    }

    pub(crate) fn view(&self, now: u64) -> View<'_> {
        View {
            id: &self.id,
            object: "session",
            status: self.status(now),
            user: &self.new.user,
            modules: &self.new.modules,
            scope: &self.new.scope,
            secret_key_id: self.new.secret_key_id.as_deref(),
            environment: &self.new.environment,
            created_at: self.created_at,
            expires_at: self.expires_at(),
            rate_limit: self.new.rate_limit,
            metadata: &self.new.metadata,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
