//! Which keys are read in one go, and in which order.

use bytes::Bytes;

use crate::batch::check_key;
use crate::limits::{KEY_BYTES_MAX, PAGE_ENTRIES_MAX};
use crate::{Entry, StoreError};

/// A range of keys, and where in it to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The lowest key; empty for the first there is.
    pub from: Bytes,
    /// Above the highest key; `None` for no end.
    pub to: Option<Bytes>,
    /// The last key of the page before, in the direction of the scan.
    pub after: Option<Bytes>,
    /// From the highest key to the lowest.
    pub reverse: bool,
    pub limit: usize,
    pub keys_only: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// Whether there are entries behind the last of these.
    pub more: bool,
}

impl Scan {
    /// All keys that begin with `prefix`, in pages of the largest size.
    pub fn prefix(prefix: &[u8]) -> Scan {
        Scan {
            from: Bytes::copy_from_slice(prefix),
            to: above_prefix(prefix),
            after: None,
            reverse: false,
            limit: PAGE_ENTRIES_MAX,
            keys_only: false,
        }
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.limit == 0 || self.limit > PAGE_ENTRIES_MAX {
            return Err(StoreError::PageLimit { limit: self.limit });
        }
        if let Some(after) = &self.after {
            check_key(after)?;
        }
        for bound in [Some(&self.from), self.to.as_ref()].into_iter().flatten() {
            if bound.len() > KEY_BYTES_MAX {
                return Err(StoreError::KeyLength { len: bound.len() });
            }
        }
        Ok(())
    }

    /// The lowest key that is still to be read, and what all of them are below.
    pub(crate) fn bounds(&self) -> (Bytes, Option<Bytes>) {
        let (mut from, mut to) = (self.from.clone(), self.to.clone());
        match &self.after {
            None => {}
            Some(after) if self.reverse => {
                to = Some(to.map_or_else(|| after.clone(), |to| to.min(after.clone())));
            }
            // The next of all byte strings is the same with a zero behind it.
            Some(after) => from = from.max([after, &b"\0"[..]].concat().into()),
        }
        (from, to)
    }
}

/// The lowest of all keys that are above every key with this prefix; `None` if there is none.
fn above_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut above = prefix[..=last].to_vec();
    above[last] += 1;
    Some(above.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        for (prefix, above) in [
            (&b""[..], None),
            (b"a", Some(&b"b"[..])),
            (b"item/", Some(b"item0")),
            (b"a\xff", Some(b"b")),
            (b"a\xff\xff", Some(b"b")),
            (b"\xff\xff", None),
            (b"\xfe\xff", Some(b"\xff")),
        ] {
            assert_eq!(above_prefix(prefix).as_deref(), above, "{prefix:?}");
        }
    }

    #[test]
    fn a_cursor_narrows_the_range_in_its_direction_and_never_widens_it() {
        let check = |after: &'static [u8], reverse, from: &[u8], to: &[u8]| {
            let scan = Scan {
                after: Some(Bytes::from_static(after)),
                reverse,
                ..Scan::prefix(b"b")
            };
            let bounds = scan.bounds();
            assert_eq!(
                (&*bounds.0, bounds.1.as_deref()),
                (from, Some(to)),
                "{scan:?}"
            );
        };
        check(b"b5", false, b"b5\0", b"c");
        check(b"b5", true, b"b", b"b5");
        check(b"a", false, b"b", b"c");
        check(b"x", true, b"b", b"c");
        let all = Scan {
            after: Some(Bytes::from_static(b"k")),
            reverse: true,
            ..Scan::prefix(b"")
        };
        assert_eq!(all.bounds(), (Bytes::new(), Some(Bytes::from_static(b"k"))));
    }

    #[test]
    fn limits_are_named_in_the_refusal() {
        let check = |scan: Scan, expect: Result<(), StoreError>| assert_eq!(scan.check(), expect);
        let limit = |limit| Scan {
            limit,
            ..Scan::prefix(b"")
        };
        check(limit(1), Ok(()));
        check(limit(0), Err(StoreError::PageLimit { limit: 0 }));
        check(limit(1_001), Err(StoreError::PageLimit { limit: 1_001 }));
        check(
            Scan::prefix(&[b'p'; KEY_BYTES_MAX + 1]),
            Err(StoreError::KeyLength { len: 1_025 }),
        );
        check(
            Scan {
                after: Some(Bytes::new()),
                ..Scan::prefix(b"")
            },
            Err(StoreError::KeyLength { len: 0 }),
        );
    }
}
