//! The provider's key of one request, fetched when it is needed and held by nobody.

use std::fmt;

use futures_util::future::{BoxFuture, FutureExt};
use http::HeaderValue;
use midplane_sdk::{Secret, SecretError, Session};
use zeroize::Zeroizing;

/// Where the key of a provider's request comes from.
pub(crate) trait Credential: Send + Sync {
    /// The key as it is now.
    fn current(&self) -> BoxFuture<'_, Result<Key, CredentialError>>;

    /// The key after its source was asked again, since the provider refused the one at hand.
    fn refreshed(&self) -> BoxFuture<'_, Result<Key, CredentialError>>;

    /// For whom is asked, where what it costs is to be counted.
    fn session(&self) -> Option<&Session>;
}

/// A provider's key, wiped when it is dropped.
pub(crate) struct Key(Zeroizing<String>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CredentialError {
    #[error("{0}")]
    Secret(SecretError),
    #[error("it cannot stand in a header")]
    Unusable,
}

impl Key {
    /// `Authorization: Bearer …` (RFC 6750 section 2.1).
    pub(crate) fn bearer(&self) -> Result<HeaderValue, CredentialError> {
        sensitive(&Zeroizing::new(format!("Bearer {}", *self.0)))
    }

    /// The key alone, for a header that is its own.
    pub(crate) fn bare(&self) -> Result<HeaderValue, CredentialError> {
        sensitive(&self.0)
    }
}

#[cfg(test)]
impl Key {
    pub(crate) fn for_tests(text: &str) -> Key {
        Key(Zeroizing::new(text.to_owned()))
    }
}

impl From<&Secret> for Key {
    fn from(secret: &Secret) -> Key {
        Key(Zeroizing::new(secret.expose().to_owned()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Credential for Session {
    fn current(&self) -> BoxFuture<'_, Result<Key, CredentialError>> {
        async {
            let secret = self.secret().await.map_err(CredentialError::Secret)?;
            Ok(Key::from(&secret))
        }
        .boxed()
    }

    fn refreshed(&self) -> BoxFuture<'_, Result<Key, CredentialError>> {
        async {
            let secret = self.refresh_secret().await;
            Ok(Key::from(&secret.map_err(CredentialError::Secret)?))
        }
        .boxed()
    }

    fn session(&self) -> Option<&Session> {
        Some(self)
    }
}

/// Marked so that neither `Debug` nor a log shows it.
fn sensitive(text: &str) -> Result<HeaderValue, CredentialError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| CredentialError::Unusable)?;
    value.set_sensitive(true);
    Ok(value)
}
