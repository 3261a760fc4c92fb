//! The provider's key of one request, fetched when it is needed and held by nobody.

use futures_util::future::{BoxFuture, FutureExt};
use http::HeaderValue;
use midplane_sdk::{Secret, SecretError, Session};
use zeroize::Zeroizing;

/// Where the `Authorization` of a provider's request comes from.
pub(crate) trait Credential: Send + Sync {
    /// The key as it is now.
    fn current(&self) -> BoxFuture<'_, Result<HeaderValue, CredentialError>>;

    /// The key after its source was asked again, since the provider refused the one at hand.
    fn refreshed(&self) -> BoxFuture<'_, Result<HeaderValue, CredentialError>>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CredentialError {
    #[error("{0}")]
    Secret(SecretError),
    #[error("it cannot stand in a header")]
    Unusable,
}

impl Credential for Session {
    fn current(&self) -> BoxFuture<'_, Result<HeaderValue, CredentialError>> {
        async { bearer(&self.secret().await.map_err(CredentialError::Secret)?) }.boxed()
    }

    fn refreshed(&self) -> BoxFuture<'_, Result<HeaderValue, CredentialError>> {
        async {
            bearer(
                &self
                    .refresh_secret()
                    .await
                    .map_err(CredentialError::Secret)?,
            )
        }
        .boxed()
    }
}

/// Marked sensitive, so that neither `Debug` nor a log shows it.
fn bearer(secret: &Secret) -> Result<HeaderValue, CredentialError> {
    let text = Zeroizing::new(format!("Bearer {}", secret.expose()));
    let mut value = HeaderValue::from_str(&text).map_err(|_| CredentialError::Unusable)?;
    value.set_sensitive(true);
    Ok(value)
}
