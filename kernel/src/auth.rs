//! Who sends a request: nobody, the host, or a session.
//!
//! The header is the only place a credential may stand. What a token is worth is decided in `session`; here it is only
//! found, remembered for the connection, and turned into an error where a route asks for more.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::problem::{Code, Problem};
use crate::session::{Sessions, Verified};

/// Tokens a connection may alternate between before the oldest is verified again: a relay for a few webviews.
const REMEMBERED_TOKENS: usize = 4;

/// The host's credential: `mph_` and 256 random bits.
pub(crate) struct HostKey(Zeroizing<String>);

impl HostKey {
    const PREFIX: &'static str = "mph_";

    pub(crate) fn generate() -> Result<HostKey, ring::error::Unspecified> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        SystemRandom::new().fill(bytes.as_mut())?;
        Ok(HostKey(Zeroizing::new(format!(
            "{}{}",
            HostKey::PREFIX,
            &*Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_ref()))
        ))))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// Who sent a request.
pub(crate) enum Caller {
    Nobody,
    Host,
    Session(Verified),
}

/// Tokens that were verified on one connection, by their exact bytes.
#[derive(Default)]
pub(crate) struct TokenMemory(Mutex<Vec<Remembered>>);

struct Remembered {
    token: Zeroizing<Vec<u8>>,
    verified: Verified,
}

/// Finds out who sends a request with these headers.
pub(crate) fn identify(
    headers: &HeaderMap,
    memory: &TokenMemory,
    host_key: &HostKey,
    sessions: &Sessions,
    now: u64,
) -> Result<Caller, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(Caller::Nobody);
    };
    if values.next().is_some() {
        return Err(Problem::new(
            Code::SeveralCredentials,
            "send one Authorization header",
        ));
    }
    let credential = bearer(value).ok_or_else(invalid)?;
    if credential.starts_with(HostKey::PREFIX.as_bytes()) {
        return if same_bytes(credential, host_key.expose().as_bytes()) {
            Ok(Caller::Host)
        } else {
            Err(invalid())
        };
    }
    memory
        .verify(credential, sessions, now)
        .map(Caller::Session)
}

impl TokenMemory {
    fn verify(&self, token: &[u8], sessions: &Sessions, now: u64) -> Result<Verified, Problem> {
        let mut remembered = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(at) = remembered
            .iter()
            .position(|known| same_bytes(&known.token, token))
        {
            if sessions.recheck(&remembered[at].verified, now) {
                return Ok(remembered[at].verified.clone());
            }
            remembered.swap_remove(at);
            return Err(invalid());
        }
        let verified = sessions.verify(token, now).map_err(|error| {
            tracing::debug!(%error, "a token was refused");
            invalid()
        })?;
        if remembered.len() == REMEMBERED_TOKENS {
            remembered.remove(0);
        }
        remembered.push(Remembered {
            token: Zeroizing::new(token.to_vec()),
            verified: verified.clone(),
        });
        Ok(verified)
    }
}

impl Caller {
    /// Refuses everyone but the host.
    pub(crate) fn require_host(&self) -> Result<(), Problem> {
        match self {
            Caller::Host => Ok(()),
            Caller::Session(_) => Err(Problem::new(
                Code::InsufficientScope,
                "this route is the host's: use the host key",
            )),
            Caller::Nobody => Err(credential_required("the host key")),
        }
    }

    /// Refuses everyone but a session.
    pub(crate) fn require_session(self) -> Result<Verified, Problem> {
        match self {
            Caller::Session(verified) => Ok(verified),
            Caller::Host => Err(Problem::new(
                Code::InsufficientScope,
                "this route is a session's: create one with POST /sessions and use its client secret",
            )),
            Caller::Nobody => Err(credential_required("a session's client secret")),
        }
    }
}

fn credential_required(what: &str) -> Problem {
    Problem::new(
        Code::CredentialRequired,
        format!("send {what} as `Authorization: Bearer …`"),
    )
}

/// One and the same for everything that is wrong with a credential.
fn invalid() -> Problem {
    Problem::new(
        Code::InvalidToken,
        "the credential is malformed, forged, expired or revoked: get a new one",
    )
}

/// The credential of `Bearer <credential>` (RFC 6750 section 2.1; the scheme is case-insensitive, RFC 9110 section 11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, credential) = value.as_bytes().split_at_checked(b"Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !credential.is_empty()).then_some(credential)
}

/// Compares in a time that depends on the lengths only, so that a guess learns nothing from how long it took.
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && std::hint::black_box(
            a.iter()
                .zip(b)
                .fold(0, |different, (a, b)| different | (a ^ b)),
        ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_form_is_a_credential() {
        let check = |value: &'static str, expect: Option<&str>| {
            assert_eq!(
                bearer(&HeaderValue::from_static(value)),
                expect.map(str::as_bytes),
                "{value:?}"
            );
        };
        check("Bearer abc", Some("abc"));
        check("bearer abc", Some("abc"));
        check("BEARER abc def", Some("abc def"));
        check("Bearer  abc", Some(" abc"));
        check("Bearer ", None);
        check("Bearer", None);
        check("Basic abc", None);
        check("abc", None);
        check("", None);
    }

    #[test]
    fn comparing_is_exact() {
        for (a, b, expect) in [
            ("", "", true),
            ("a", "a", true),
            ("a", "b", false),
            ("a", "", false),
            ("ab", "ac", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(
                same_bytes(a.as_bytes(), b.as_bytes()),
                expect,
                "{a:?} {b:?}"
            );
        }
    }

    #[test]
    fn host_keys_have_their_documented_form() {
        let key = HostKey::generate().unwrap();
        assert_eq!(key.expose().len(), 4 + 43);
        assert!(
            key.expose()[4..]
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        assert_ne!(key.expose(), HostKey::generate().unwrap().expose());
    }
}
