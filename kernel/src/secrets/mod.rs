//! Secrets on their way from a source to a session.
//!
//! A secret is held here and in the session that asked, and is wiped with the last of them. Nothing here stores, logs or
//! serializes one.

mod broker;
mod command;
mod env;
mod group;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

pub(crate) use group::end_all as end_commands;

pub(crate) use broker::{
    Answer, Bridge, Broker, ROUNDS_MAX, SecretError, SecretRequest, Watch, keeps_changing, no_host,
};

/// The longest plausible key (http-api, "Sessions").
pub(crate) const MAX_SECRET_LEN: usize = 4096;

/// A key of a provider: one line of visible ASCII, wiped when dropped.
pub(crate) struct Secret {
    text: Zeroizing<String>,
    host: Option<Arc<str>>,
}

/// Why a value cannot be a key. Says nothing of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Implausible {
    #[error("the secret is empty")]
    Empty,
    #[error("the secret is longer than {MAX_SECRET_LEN} bytes")]
    TooLong,
    #[error("the secret has more than one line")]
    SeveralLines,
    #[error("the secret has bytes that are not visible ASCII")]
    NotVisibleAscii,
}

impl Secret {
    /// Takes the bytes over, and wipes them if they are refused.
    pub(crate) fn parse(bytes: impl Into<Vec<u8>>) -> Result<Secret, Implausible> {
        let mut bytes = Zeroizing::new(bytes.into());
        if bytes.is_empty() {
            return Err(Implausible::Empty);
        }
        if bytes.len() > MAX_SECRET_LEN {
            return Err(Implausible::TooLong);
        }
        if bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return Err(Implausible::SeveralLines);
        }
        if !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(Implausible::NotVisibleAscii);
        }
        let text = String::from_utf8(std::mem::take(&mut *bytes)).expect("ASCII is UTF-8");
        Ok(Secret {
            text: Zeroizing::new(text),
            host: None,
        })
    }

    /// Marks it as given by this host.
    pub(crate) fn given_by(self, host: Arc<str>) -> Secret {
        Secret {
            host: Some(host),
            ..self
        }
    }

    /// The host that gave it, if one did.
    pub(crate) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The value, for the one place that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plausible_keys_pass() {
        for (value, expected) in [
            (b"k".to_vec(), Ok(())),
            (vec![b'k'; MAX_SECRET_LEN], Ok(())),
            (vec![b'k'; MAX_SECRET_LEN + 1], Err(Implausible::TooLong)),
            (b"".to_vec(), Err(Implausible::Empty)),
            (b"a\nb".to_vec(), Err(Implausible::SeveralLines)),
            (b"a\n".to_vec(), Err(Implausible::SeveralLines)),
            (b"a b".to_vec(), Err(Implausible::NotVisibleAscii)),
            (b"a\0".to_vec(), Err(Implausible::NotVisibleAscii)),
            (
                "schl\u{fc}ssel".as_bytes().to_vec(),
                Err(Implausible::NotVisibleAscii),
            ),
        ] {
            assert_eq!(Secret::parse(value).map(|_| ()), expected);
        }
    }

    #[test]
    fn debug_does_not_show_it() {
        let secret = Secret::parse("sk-canary").unwrap();
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(secret.expose(), "sk-canary");
    }
}
