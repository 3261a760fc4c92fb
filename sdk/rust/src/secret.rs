//! An API key in a module's hands: wiped when dropped, and never printed.

use std::fmt;

use zeroize::Zeroizing;

/// The secret of a session. Ask for it when it is needed, use it, let it go.
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: Zeroizing<String>) -> Secret {
        Secret(text)
    }

    /// The key itself. Mark a header made of it sensitive ([`http::HeaderValue::set_sensitive`]).
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

/// Why there is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretError {
    /// The module was not granted `secrets`: it must ask for the grant in its attribute, and the operator must give it.
    Denied,
    /// The session has no secret, or the request it belongs to is over.
    Absent,
    /// Its source was asked and did not give it; the message is fit for a person.
    Failed(String),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretError::Denied => f.write_str("the module was not granted `secrets`"),
            SecretError::Absent => f.write_str("the session has no secret"),
            SecretError::Failed(message) => write!(f, "the secret could not be had: {message}"),
        }
    }
}

impl std::error::Error for SecretError {}
