//! Identifiers of threads, items and attachments, in the style of `default_generate_id` in `chatkit/store.py`: a prefix that tells
//! the kind, and random hexadecimal digits.

use std::fmt;
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// 64 random bits, twice what the reference draws: ids are keys here, and must not meet in a million items.
const RANDOM_BYTES: usize = 8;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub(crate) struct $name(Arc<str>);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        #[cfg(test)]
        impl From<&str> for $name {
            fn from(text: &str) -> $name {
                $name(text.into())
            }
        }
    };
}

id!(
    /// `thr_…`
    ThreadId
);
id!(
    /// `msg_…`, `wf_…` or `shcx_…`.
    ItemId
);
id!(
    /// `atc_…`
    AttachmentId
);

impl ThreadId {
    pub(crate) fn generate() -> ThreadId {
        ThreadId(generate("thr"))
    }
}

impl ItemId {
    pub(crate) fn message() -> ItemId {
        ItemId(generate("msg"))
    }

    pub(crate) fn workflow() -> ItemId {
        ItemId(generate("wf"))
    }

    pub(crate) fn hidden_context() -> ItemId {
        ItemId(generate("shcx"))
    }
}

impl AttachmentId {
    pub(crate) fn generate() -> AttachmentId {
        AttachmentId(generate("atc"))
    }

    /// The id, if it has the form of those that are generated here: nothing else can be the name of a file.
    pub(crate) fn parse(text: &str) -> Option<AttachmentId> {
        let digits = text.strip_prefix("atc_")?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (digits.len() == 2 * RANDOM_BYTES && digits.bytes().all(is_digit))
            .then(|| AttachmentId(text.into()))
    }
}

fn generate(prefix: &str) -> Arc<str> {
    let mut bytes = [0_u8; RANDOM_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system gives random bytes");
    format!("{prefix}_{:016x}", u64::from_ne_bytes(bytes)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_their_kind_and_differ() {
        let first = ThreadId::generate().to_string();
        assert_eq!(first.len(), "thr_".len() + 16);
        assert!(first.starts_with("thr_"));
        assert_ne!(first, ThreadId::generate().to_string());
        assert!(ItemId::message().to_string().starts_with("msg_"));
        assert!(ItemId::workflow().to_string().starts_with("wf_"));
        assert!(ItemId::hidden_context().to_string().starts_with("shcx_"));
        assert!(AttachmentId::generate().to_string().starts_with("atc_"));
    }

    #[test]
    fn only_an_id_of_an_attachment_is_one() {
        let id = AttachmentId::generate();
        assert_eq!(AttachmentId::parse(&id.to_string()), Some(id));
        for text in [
            "",
            "atc_",
            "atc_0123456789abcde",
            "atc_0123456789abcdef0",
            "atc_0123456789ABCDEF",
            "atc_../../../../etc",
            "atc_0123456789abcd/.",
            "atc_0123456789abcd\0f",
            "thr_0123456789abcdef",
            "../atc_0123456789abcdef",
        ] {
            assert_eq!(AttachmentId::parse(text), None, "{text:?}");
        }
    }
}
