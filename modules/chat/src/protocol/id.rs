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
    }
}
