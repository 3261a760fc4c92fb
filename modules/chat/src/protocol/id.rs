//! Identifiers of threads, items and attachments, in the style of `default_generate_id` in `chatkit/store.py`: a prefix that tells
//! the kind, and random hexadecimal digits.

use std::fmt;
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// 64 random bits, twice what the reference draws: ids are keys here, and must not meet in a million items.
const RANDOM_BYTES: usize = 8;
/// A few times what is generated, so that longer ones may come.
const ATTACHMENT_ID_REST_BYTES_MAX: usize = 64;

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

        impl $name {
            pub(crate) fn as_str(&self) -> &str {
                &self.0
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
    /// `msg_…`, `tc_…`, `wf_…` or `shcx_…`.
    ItemId
);
/// Longer than any server's ids.
const LEN_MAX: usize = 64;

/// `atc_…`: lower-case letters and digits, since it is the name of a file, too. There is no other way to get one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct AttachmentId(Arc<str>);

impl ThreadId {
    pub(crate) fn generate() -> ThreadId {
        ThreadId(generate("thr"))
    }
}

impl ItemId {
    pub(crate) fn message() -> ItemId {
        ItemId(generate("msg"))
    }

    pub(crate) fn tool_call() -> ItemId {
        ItemId(generate("tc"))
    }

    pub(crate) fn workflow() -> ItemId {
        ItemId(generate("wf"))
    }

    pub(crate) fn hidden_context() -> ItemId {
        ItemId(generate("shcx"))
    }

    /// Whether somebody else may have given an item this id: 1 to 64 letters, digits, `_`, `-`, `.` and `:`.
    pub(crate) fn is_well_formed(&self) -> bool {
        let fits = (1..=LEN_MAX).contains(&self.0.len());
        fits && self
            .0
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte))
    }
}

impl AttachmentId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn generate() -> AttachmentId {
        AttachmentId(generate("atc"))
    }

    pub(crate) fn parse(text: &str) -> Result<AttachmentId, NotAnAttachment> {
        let rest = text.strip_prefix("atc_").unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        match (1..=ATTACHMENT_ID_REST_BYTES_MAX).contains(&rest.len()) && rest.bytes().all(is_plain)
        {
            true => Ok(AttachmentId(text.into())),
            false => Err(NotAnAttachment),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an attachment's id looks like `atc_0123456789abcdef`")]
pub(crate) struct NotAnAttachment;

impl TryFrom<String> for AttachmentId {
    type Error = NotAnAttachment;

    fn try_from(text: String) -> Result<AttachmentId, NotAnAttachment> {
        AttachmentId::parse(&text)
    }
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
impl From<&str> for AttachmentId {
    fn from(text: &str) -> AttachmentId {
        AttachmentId(text.into())
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
        assert!(ItemId::tool_call().to_string().starts_with("tc_"));
        assert!(ItemId::workflow().to_string().starts_with("wf_"));
        assert!(ItemId::hidden_context().to_string().starts_with("shcx_"));
        assert!(AttachmentId::generate().to_string().starts_with("atc_"));
    }

    #[test]
    fn only_an_id_of_an_attachment_is_one() {
        let id = AttachmentId::generate();
        assert_eq!(AttachmentId::parse(&id.to_string()), Ok(id));
        let long = format!("atc_{}", "0".repeat(65));
        for text in [
            "",
            "atc_",
            "atc_0123456789ABCDEF",
            "atc_../../../../etc",
            "atc_0123456789abcd/.",
            "atc_..",
            "atc_01.part",
            "atc_0123456789abcd\0f",
            "thr_0123456789abcdef",
            "../atc_0123456789abcdef",
            &long,
        ] {
            assert_eq!(AttachmentId::parse(text), Err(NotAnAttachment), "{text:?}");
            assert!(
                serde_json::from_value::<AttachmentId>(text.into()).is_err(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn ids_of_others_are_short_and_plain() {
        for (id, expect) in [
            ("msg_1", true),
            ("fc_a-b.c:d", true),
            ("", false),
            ("a b", false),
            ("é", false),
            (&*"x".repeat(64), true),
            (&*"x".repeat(65), false),
        ] {
            assert_eq!(ItemId::from(id).is_well_formed(), expect, "{id}");
        }
    }
}
