//! How much one operation may carry. What a module may keep altogether is its quota, which the operator sets.

use std::time::Duration;

/// Keys are names, not content: long enough for a path of identifiers, and short enough that a page of the database holds
/// several.
pub const KEY_BYTES_MAX: usize = 1024;

/// What the kernel takes as a body by default (`[limits] body_bytes`), so that what a client may send can be kept.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Expectations and writes together: what a transaction does while every other writer waits.
pub const BATCH_OPERATIONS_MAX: usize = 1_000;

/// Of keys and values in a batch, for the same reason; four values of the largest size.
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// Entries that one page has at most.
pub const PAGE_ENTRIES_MAX: usize = 1_000;

/// Of keys and values on one page; a single entry may have more and then is a page of its own.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// What a module may keep where the operator says nothing.
pub const QUOTA_BYTES: u64 = 1 << 30;

/// How long a writer waits for one in another process. A transaction takes milliseconds; whoever holds the lock for
/// longer than this is stopped, or on a disk that is.
pub const BUSY_WAIT: Duration = Duration::from_secs(5);
