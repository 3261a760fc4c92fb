//! Sessions and their tokens: who may do what, for how long.
//!
//! | file | concern |
//! |---|---|
//! | `token` | the JWS itself: signing and strict verification under a given key; no state |
//! | `keyring` | the keys of this process, current and previous |
//! | `state` | one session: what it allows, whether it lives |
//! | `rate` | how many requests a session may make |
//! | `store` | all sessions, bounded |
//!
//! A token is verified in this order: length, form, signature, claims, and only then the store is asked whether its session
//! lives: a forged token costs one HMAC and touches nothing.

mod keyring;
mod rate;
mod state;
mod store;
#[cfg(test)]
mod tests;
pub mod token;

use std::sync::{Arc, RwLock};

pub(crate) use state::{NewSession, Rate, Session, Status, View};
pub(crate) use store::{Filter, SessionLimit};

use keyring::Keyring;
use store::Store;
use token::{Claims, RejectReason};
use zeroize::Zeroizing;

use crate::config;

/// Everything about sessions; shared by all workers.
pub(crate) struct Sessions {
    settings: config::Sessions,
    instance: String,
    keys: RwLock<Keyring>,
    store: Store,
}

/// A token that was found valid.
#[derive(Clone)]
pub(crate) struct Verified {
    pub(crate) session: Arc<Session>,
    /// Unix seconds.
    pub(crate) expires_at: u64,
    key: keyring::KeyState,
}

/// A session's token, handed out once.
pub(crate) struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// Why a session was not renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RenewError {
    NotFound,
    /// Revoked, or at the end of its longest life.
    Ended,
}

impl Sessions {
    /// The name of a process, new each time.
    pub(crate) fn new_instance() -> Result<String, ring::error::Unspecified> {
        Ok(format!("midplane:{}", token::random_id()?))
    }

    pub(crate) fn new(
        settings: config::Sessions,
        instance: String,
    ) -> Result<Sessions, ring::error::Unspecified> {
        Ok(Sessions {
            store: Store::new(settings.max, settings.stream_grace),
            settings,
            instance,
            keys: RwLock::new(Keyring::new()?),
        })
    }

    /// `iss` of every token: this process.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    pub(crate) fn settings(&self) -> &config::Sessions {
        &self.settings
    }

    /// Whether one more session fits.
    pub(crate) fn check_room(&self, now: u64) -> Result<(), SessionLimit> {
        self.store.check_room(now)
    }

    /// Adds a session that has been checked, and signs its first token.
    pub(crate) fn issue(
        &self,
        session: &Arc<Session>,
        now: u64,
    ) -> Result<ClientSecret, SessionLimit> {
        self.store.insert(session, now)?;
        Ok(self.sign(session, now, session.expires_at()))
    }

    /// A new token for the same session. A session lives for `[sessions] max_ttl` at the longest, counted from its creation.
    pub(crate) fn renew(
        &self,
        id: &str,
        expires_in: u64,
        now: u64,
    ) -> Result<(Arc<Session>, ClientSecret, u64), RenewError> {
        let session = self.store.get(id).ok_or(RenewError::NotFound)?;
        let end = session.created_at() + self.settings.max_ttl.as_secs();
        let expires_at = now.saturating_add(expires_in).min(end);
        if session.status(now) == Status::Revoked || expires_at <= now {
            return Err(RenewError::Ended);
        }
        session.extend(expires_at);
        self.store.ends(&session, session.expires_at());
        let secret = self.sign(&session, now, expires_at);
        Ok((session, secret, expires_at - now))
    }

    /// Ends a session at once, and says whether it was active. `None` when there is no such session; for one that has ended
    /// already that changes its status only.
    pub(crate) fn revoke(&self, id: &str, now: u64) -> Option<(Arc<Session>, bool)> {
        let session = self.store.get(id)?;
        let ended = self.end(&session, now);
        Some((session, ended))
    }

    /// Ends every live session that matches.
    pub(crate) fn revoke_matching(&self, filter: &Filter, now: u64) -> Vec<Arc<Session>> {
        self.revoke_where(now, |session| filter.matches(session))
    }

    /// The same for any reason there may be.
    pub(crate) fn revoke_where(
        &self,
        now: u64,
        matches: impl Fn(&Session) -> bool,
    ) -> Vec<Arc<Session>> {
        let matching = self.store.matching(matches);
        matching
            .into_iter()
            .filter(|session| self.end(session, now))
            .collect()
    }

    /// False when it had ended already. One that has expired is revoked all the same: its streams may be in their grace, and
    /// it could be renewed.
    fn end(&self, session: &Session, now: u64) -> bool {
        let was_active = session.status(now) == Status::Active;
        let ends = session.revoke() && was_active;
        if ends {
            self.store.ends(session, now);
        }
        ends
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.store.get(id)
    }

    /// Wipes a key wherever it lives; who needs it again asks its source. Returns how many sessions had it.
    pub(crate) fn forget_secret(&self, secret_key_id: &str) -> usize {
        let holders = self.store.matching(|session| {
            session.secret_key_id() == Some(secret_key_id) && session.secret().is_some()
        });
        for session in &holders {
            session.wipe_secret();
        }
        holders.len()
    }

    /// Newest first; those older than `after` if that is given. `None` when `after` is no session.
    pub(crate) fn list(
        &self,
        limit: usize,
        after: Option<&str>,
    ) -> Option<(Vec<Arc<Session>>, bool)> {
        self.store.list(limit, after)
    }

    pub(crate) fn count(&self) -> usize {
        self.store.len()
    }

    /// The whole way from bytes to a living session.
    pub(crate) fn verify(&self, token: &[u8], now: u64) -> Result<Verified, RejectReason> {
        let (claims, key) = {
            let keys = self
                .keys
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            keys.verify(token)?
        };
        if claims.iss != self.instance {
            return Err(RejectReason::Claims);
        }
        // No skew: issuer and verifier share a clock.
        if now >= claims.exp || now < claims.nbf {
            return Err(RejectReason::Expired);
        }
        let session = self.store.get(&claims.jti).ok_or(RejectReason::NoSession)?;
        let verified = Verified {
            session,
            expires_at: claims.exp,
            key,
        };
        if self.recheck(&verified, now) {
            Ok(verified)
        } else {
            Err(RejectReason::NoSession)
        }
    }

    /// Whether a token that was verified before is still good: no HMAC, no look-up, no lock.
    pub(crate) fn recheck(&self, verified: &Verified, now: u64) -> bool {
        now < verified.expires_at && !verified.session.is_revoked() && verified.key.is_valid()
    }

    /// A new signing key. Tokens of the one before hold until they expire, unless `revoke_previous`. Returns the new `kid`.
    pub(crate) fn rotate(&self, revoke_previous: bool) -> Result<String, ring::error::Unspecified> {
        self.keys
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .rotate(revoke_previous)
    }

    /// Forgets sessions that ended a while ago. Returns when to look again, in Unix seconds, if any is left.
    pub(crate) fn sweep(&self, now: u64) -> Option<u64> {
        self.store.sweep(now)
    }

    fn sign(&self, session: &Session, now: u64, expires_at: u64) -> ClientSecret {
        let claims = Claims {
            iss: self.instance.clone(),
            sub: session.user().to_owned(),
            aud: session.modules().to_vec(),
            jti: session.id().to_owned(),
            iat: now,
            nbf: now,
            exp: expires_at,
            scope: session.scope().to_owned(),
        };
        let keys = self
            .keys
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        ClientSecret(Zeroizing::new(keys.sign(&claims)))
    }
}
