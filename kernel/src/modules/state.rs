//! State that one generation hands over to the next.

use std::fmt;

use bytes::Bytes;

/// State as a generation wrote it.
#[derive(Debug, Clone)]
pub(crate) struct SavedState {
    pub(crate) schema: u32,
    pub(crate) bytes: Bytes,
}

/// The schemas of state that a version of a module reads; it writes the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schemas {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

impl Schemas {
    pub(crate) fn contains(self, schema: u32) -> bool {
        (self.min..=self.max).contains(&schema)
    }
}

impl fmt::Display for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}
