//! What is committed at once.

use std::collections::HashSet;

use bytes::Bytes;

use crate::limits::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::{StoreError, Version};

/// Expectations, which are looked at first, and writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub expect: Vec<(Bytes, Expectation)>,
    /// No key twice.
    pub write: Vec<Write>,
}

/// What a key has to be for the batch to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    Absent,
    Present,
    Version(Version),
    Value(Bytes),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Put { key: Bytes, value: Bytes },
    Delete { key: Bytes },
}

impl Batch {
    pub fn put(key: Bytes, value: Bytes) -> Batch {
        Batch {
            expect: Vec::new(),
            write: vec![Write::Put { key, value }],
        }
    }

    pub fn delete(key: Bytes) -> Batch {
        Batch {
            expect: Vec::new(),
            write: vec![Write::Delete { key }],
        }
    }

    /// Whether it is within the limits. An absent key may be deleted; that changes nothing.
    pub fn check(&self) -> Result<(), StoreError> {
        let operations = self.operations();
        if operations > BATCH_OPERATIONS_MAX {
            return Err(StoreError::BatchTooLong { operations });
        }
        let mut written = HashSet::with_capacity(self.write.len());
        for (key, expectation) in &self.expect {
            check_key(key)?;
            if let Expectation::Value(value) = expectation {
                check_value(key, value)?;
            }
        }
        for write in &self.write {
            let key = write.key();
            check_key(key)?;
            if let Write::Put { value, .. } = write {
                check_value(key, value)?;
            }
            if !written.insert(key) {
                return Err(StoreError::WrittenTwice { key: key.clone() });
            }
        }
        let bytes = self.bytes();
        if bytes > BATCH_BYTES_MAX {
            return Err(StoreError::BatchTooLarge { bytes });
        }
        Ok(())
    }

    /// Expectations and writes.
    pub fn operations(&self) -> usize {
        self.expect.len() + self.write.len()
    }

    /// Of keys and values.
    pub fn bytes(&self) -> usize {
        let expected = self
            .expect
            .iter()
            .map(|(key, expectation)| match expectation {
                Expectation::Value(value) => key.len() + value.len(),
                _ => key.len(),
            });
        let written = self.write.iter().map(|write| match write {
            Write::Put { key, value } => key.len() + value.len(),
            Write::Delete { key } => key.len(),
        });
        expected.chain(written).sum()
    }
}

impl Expectation {
    /// Whether it holds for a key that has this version and value; nothing if it is absent.
    pub fn holds(&self, found: Option<(Version, &[u8])>) -> bool {
        match (self, found) {
            (Expectation::Absent, found) => found.is_none(),
            (_, None) => false,
            (Expectation::Present, Some(_)) => true,
            (Expectation::Version(expected), Some((version, _))) => *expected == version,
            (Expectation::Value(expected), Some((_, value))) => expected == value,
        }
    }
}

impl Write {
    pub fn key(&self) -> &Bytes {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
        }
    }
}

pub(crate) fn check_key(key: &[u8]) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(StoreError::KeyLength { len: key.len() });
    }
    Ok(())
}

fn check_value(key: &Bytes, value: &[u8]) -> Result<(), StoreError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(StoreError::ValueTooLarge {
            key: key.clone(),
            len: value.len(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize) -> Bytes {
        Bytes::from(vec![b'x'; len])
    }

    fn puts(count: usize, value_len: usize) -> Batch {
        Batch {
            expect: Vec::new(),
            write: (0..count)
                .map(|n| Write::Put {
                    key: Bytes::from(format!("{n:04}")),
                    value: bytes(value_len),
                })
                .collect(),
        }
    }

    #[test]
    fn limits_are_inclusive_and_named_in_the_refusal() {
        let mut checks = puts(BATCH_OPERATIONS_MAX - 1, 0);
        checks.expect = vec![(bytes(1), Expectation::Absent)];
        for (what, batch, expect) in [
            ("empty", Batch::default(), "ok"),
            (
                "longest key",
                Batch::put(bytes(KEY_BYTES_MAX), bytes(0)),
                "ok",
            ),
            (
                "key too long",
                Batch::put(bytes(KEY_BYTES_MAX + 1), bytes(0)),
                "has 1025",
            ),
            ("no key", Batch::delete(bytes(0)), "has 0"),
            (
                "largest value",
                Batch::put(bytes(1), bytes(VALUE_BYTES_MAX)),
                "ok",
            ),
            (
                "value too large",
                Batch::put(bytes(1), bytes(VALUE_BYTES_MAX + 1)),
                "has 1048577 bytes",
            ),
            ("most operations", puts(BATCH_OPERATIONS_MAX, 0), "ok"),
            ("checks count, too", checks.clone(), "ok"),
            (
                "too many",
                puts(BATCH_OPERATIONS_MAX + 1, 0),
                "has 1001 operations",
            ),
            ("most bytes", puts(8, BATCH_BYTES_MAX / 8 - 4), "ok"),
            (
                "too many bytes",
                puts(8, BATCH_BYTES_MAX / 8 - 3),
                "has 4194312 bytes",
            ),
        ] {
            let found = match batch.check() {
                Ok(()) => "ok".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expect), "{what}: {found}");
        }
        checks.expect.push((bytes(1), Expectation::Present));
        assert_eq!(
            checks.check(),
            Err(StoreError::BatchTooLong { operations: 1_001 })
        );
    }

    #[test]
    fn a_key_is_written_once_and_may_be_expected_as_well() {
        let key = Bytes::from_static(b"k");
        let mut batch = Batch::put(key.clone(), bytes(1));
        batch.expect.push((key.clone(), Expectation::Absent));
        assert_eq!(batch.check(), Ok(()));
        batch.write.push(Write::Delete { key: key.clone() });
        assert_eq!(batch.check(), Err(StoreError::WrittenTwice { key }));
    }

    #[test]
    fn expectations_hold_for_what_they_name_only() {
        let value = || Expectation::Value(Bytes::from_static(b"v"));
        let version = || Expectation::Version(Version(3));
        let there = |version, value: &'static [u8]| Some((Version(version), value));
        for (expectation, found, holds) in [
            (Expectation::Absent, None, true),
            (Expectation::Absent, there(3, b"v"), false),
            (Expectation::Present, there(3, b""), true),
            (Expectation::Present, None, false),
            (version(), there(3, b"v"), true),
            (version(), there(4, b"v"), false),
            (version(), None, false),
            (value(), there(9, b"v"), true),
            (value(), there(3, b"w"), false),
            (value(), None, false),
        ] {
            assert_eq!(expectation.holds(found), holds, "{expectation:?} {found:?}");
        }
    }
}
