//! Identifiers of threads and items, in the style of `default_generate_id` in `chatkit/store.py`: a prefix that tells
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
id!(
    /// `atc_…`
    AttachmentId
);

/// Longer than any server's ids.
const LEN_MAX: usize = 64;

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
    pub(crate) fn generate() -> AttachmentId {
        AttachmentId(generate("atc"))
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
