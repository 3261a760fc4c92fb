//! Under which keys what is kept. Changing one of them loses what stands under it: other versions look there.
//!
//! | key | record |
//! |---|---|
//! | `t/USER/THREAD` | the thread's metadata |
//! | `l/USER/CREATED/THREAD` | the same, in the order of lists |
//! | `n/USER/THREAD` | the position of the thread's next item; is there as long as the thread is |
//! | `i/USER/THREAD/POSITION` | an item |
//! | `p/USER/THREAD/ITEM` | the item's position |
//! | `f/USER/THREAD/ITEM` | what the user thinks of it |
//! | `a/USER/ATTACHMENT` | what is known of an attachment |
//! | `d/USER/THREAD` | the thread is deleted, but not all of its items are |
//! | `c` | the epoch in which changes are noted now |
//! | `c/EPOCH/USER/THREAD` | the thread changed in that epoch |
//!
//! Numbers have sixteen hexadecimal digits, so that their order is that of the keys; times are in microseconds.

use std::fmt::Write as _;

use ring::digest;

use crate::protocol::id::{AttachmentId, ItemId, ThreadId};
use crate::protocol::timestamp::Timestamp;

pub(super) const EPOCH: &str = "c";
pub(super) const ATTACHMENTS: &str = "a/";
pub(super) const TOMBSTONES: &str = "d/";

/// Three of these and a number fit the module store's keys, of 1,024 bytes.
const SEGMENT_BYTES_MAX: usize = 200;

pub(super) fn listed_by(user: &str) -> String {
    format!("l/{}/", segment(user))
}

pub(super) fn listed(user: &str, created_at: Timestamp, thread: &ThreadId) -> String {
    let at = created_at.micros();
    format!("{}{at:016x}/{}", listed_by(user), segment(thread.as_str()))
}

pub(super) fn attachment(user: &str, id: &AttachmentId) -> String {
    format!("{ATTACHMENTS}{}/{}", segment(user), segment(id.as_str()))
}

/// Of all changes noted in an epoch, and before those of the next.
pub(super) fn epoch(number: u64) -> String {
    format!("c/{number:016x}/")
}

pub(super) fn change(number: u64, user: &str, thread: &ThreadId) -> String {
    let epoch = epoch(number);
    format!("{epoch}{}/{}", segment(user), segment(thread.as_str()))
}

/// The keys of one thread of one user's.
#[derive(Debug, Clone)]
pub(super) struct ThreadKeys {
    /// `USER/THREAD`
    of: String,
}

impl ThreadKeys {
    pub(super) fn new(user: &str, thread: &ThreadId) -> ThreadKeys {
        ThreadKeys {
            of: format!("{}/{}", segment(user), segment(thread.as_str())),
        }
    }

    pub(super) fn metadata(&self) -> String {
        format!("t/{}", self.of)
    }

    pub(super) fn counter(&self) -> String {
        format!("n/{}", self.of)
    }

    pub(super) fn tombstone(&self) -> String {
        format!("{TOMBSTONES}{}", self.of)
    }

    pub(super) fn items(&self) -> String {
        format!("i/{}/", self.of)
    }

    pub(super) fn item_at(&self, position: u64) -> String {
        format!("i/{}/{position:016x}", self.of)
    }

    pub(super) fn positions(&self) -> String {
        format!("p/{}/", self.of)
    }

    pub(super) fn position(&self, item: &ItemId) -> String {
        format!("p/{}/{}", self.of, segment(item.as_str()))
    }

    pub(super) fn all_feedback(&self) -> String {
        format!("f/{}/", self.of)
    }

    pub(super) fn feedback(&self, item: &ItemId) -> String {
        format!("f/{}/{}", self.of, segment(item.as_str()))
    }
}

/// A part of a key: two texts have the same one only if they are the same, and none holds a slash. Long ones are known by their
/// SHA-256, behind a tilde, which no other begins with.
fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                segment.push(char::from(byte));
            }
            _ => write!(segment, "%{byte:02x}").expect("a string takes all that is written"),
        }
        if segment.len() > SEGMENT_BYTES_MAX {
            let hash = digest::digest(&digest::SHA256, text.as_bytes());
            return hash
                .as_ref()
                .iter()
                .fold("~".to_owned(), |hex, byte| format!("{hex}{byte:02x}"));
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_other_versions_look_for() {
        let (thread, item) = (ThreadId::from("thr_1"), ItemId::from("msg_2"));
        let keys = ThreadKeys::new("ada@x", &thread);
        assert_eq!(keys.metadata(), "t/ada%40x/thr_1");
        assert_eq!(keys.counter(), "n/ada%40x/thr_1");
        assert_eq!(keys.tombstone(), "d/ada%40x/thr_1");
        assert_eq!(keys.item_at(31), "i/ada%40x/thr_1/000000000000001f");
        assert_eq!(keys.position(&item), "p/ada%40x/thr_1/msg_2");
        assert_eq!(keys.feedback(&item), "f/ada%40x/thr_1/msg_2");
        let listed = listed("ada@x", Timestamp::from_micros(255), &thread);
        assert_eq!(listed, "l/ada%40x/00000000000000ff/thr_1");
        assert_eq!(attachment("ada@x", &"atc_1".into()), "a/ada%40x/atc_1");
        assert_eq!(
            change(16, "ada@x", &thread),
            "c/0000000000000010/ada%40x/thr_1"
        );
        for (prefix, key) in [
            (keys.items(), keys.item_at(1)),
            (keys.positions(), keys.position(&item)),
            (keys.all_feedback(), keys.feedback(&item)),
            (listed_by("ada@x"), listed),
        ] {
            assert!(key.starts_with(&prefix), "{key}");
        }
    }

    #[test]
    fn parts_differ_as_the_texts_do_and_fit() {
        let check = |text: &str, expect: &str| assert_eq!(segment(text), expect, "{text}");
        check("", "");
        check("thr_0a-b.c", "thr_0a-b.c");
        check("a/b", "a%2fb");
        check("a%2fb", "a%252fb");
        check("~", "%7e");
        check("ä", "%c3%a4");
        let (long, longer) = (segment(&"x".repeat(201)), segment(&"x".repeat(202)));
        assert!(long.starts_with('~') && long.len() == 65, "{long}");
        assert_ne!(long, longer);
        assert_eq!(segment(&"x".repeat(200)).len(), 200);
        assert_eq!(segment(&"/".repeat(200)).len(), 65);
        // With the largest parts, a key is still one.
        let text = "x".repeat(200);
        let keys = ThreadKeys::new(&text, &text.as_str().into());
        assert!(keys.position(&text.as_str().into()).len() < 1_024);
    }
}
