//! What is asked of storage, and what it answers.

use bytes::Bytes;

/// The most entries that a page can have.
const PAGE_ENTRIES_MAX: usize = 1_000;

/// Grows with every commit of the module. An entry has that of the commit that wrote it, so that no two states of a key have
/// the same one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A key with what is kept under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Bytes,
    pub version: Version,
    /// Empty if only keys were asked for.
    pub value: Bytes,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// Whether there are entries behind the last of these: they come with its key as [`Scan::after`].
    pub more: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub entries: u64,
    /// Of keys and values together.
    pub bytes: u64,
    pub quota_bytes: u64,
    /// Of the module's last commit.
    pub version: Version,
}

/// A range of keys, in pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    pub(super) from: Bytes,
    pub(super) to: Option<Bytes>,
    pub(super) after: Option<Bytes>,
    pub(super) reverse: bool,
    pub(super) limit: usize,
    pub(super) keys_only: bool,
}

impl Scan {
    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Scan {
        let prefix = prefix.as_ref();
        let to = prefix
            .iter()
            .rposition(|byte| *byte != u8::MAX)
            .map(|last| {
                let mut to = prefix[..=last].to_vec();
                to[last] += 1;
                to.into()
            });
        Scan {
            from: Bytes::copy_from_slice(prefix),
            to,
            after: None,
            reverse: false,
            limit: PAGE_ENTRIES_MAX,
            keys_only: false,
        }
    }

    /// The keys from `from`, which belongs to them, to `to`, which does not.
    pub fn range(from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Scan {
        Scan {
            from: Bytes::copy_from_slice(from.as_ref()),
            to: Some(Bytes::copy_from_slice(to.as_ref())),
            ..Scan::prefix("")
        }
    }

    /// Behind `key`, in the direction of the scan; the key need not be there.
    pub fn after(mut self, key: impl AsRef<[u8]>) -> Scan {
        self.after = Some(Bytes::copy_from_slice(key.as_ref()));
        self
    }

    /// From the highest key to the lowest.
    pub fn reverse(mut self) -> Scan {
        self.reverse = true;
        self
    }

    /// At most this many entries, 1,000 being the most that a page can have.
    pub fn limit(mut self, entries: usize) -> Scan {
        self.limit = entries;
        self
    }

    /// Without the values, which then need not be read.
    pub fn keys_only(mut self) -> Scan {
        self.keys_only = true;
        self
    }
}

/// What is committed at once: expectations, which are looked at first, and writes, none of them to a key twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub(super) expect: Vec<(Bytes, Expectation)>,
    pub(super) write: Vec<(Bytes, Option<Bytes>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expectation {
    Absent,
    Present,
    Version(Version),
    Value(Bytes),
}

impl Batch {
    pub fn new() -> Batch {
        Batch::default()
    }

    pub fn put(mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Batch {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.write.push((key, Some(value.into())));
        self
    }

    /// The key need not be there.
    pub fn delete(mut self, key: impl AsRef<[u8]>) -> Batch {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.write.push((key, None));
        self
    }

    pub fn expect_absent(self, key: impl AsRef<[u8]>) -> Batch {
        self.expect(key, Expectation::Absent)
    }

    pub fn expect_present(self, key: impl AsRef<[u8]>) -> Batch {
        self.expect(key, Expectation::Present)
    }

    /// The key was not written, deleted or made anew since it was read with this version.
    pub fn expect_version(self, key: impl AsRef<[u8]>, version: Version) -> Batch {
        self.expect(key, Expectation::Version(version))
    }

    pub fn expect_value(self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Batch {
        self.expect(key, Expectation::Value(value.into()))
    }

    /// Expectations and writes.
    pub fn len(&self) -> usize {
        self.expect.len() + self.write.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn expect(mut self, key: impl AsRef<[u8]>, expectation: Expectation) -> Batch {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.expect.push((key, expectation));
        self
    }
}
