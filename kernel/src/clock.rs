//! The wall clock, in the unit of every time in the API.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix seconds.
pub(crate) fn unix_now() -> u64 {
    // A clock before 1970 makes every token expired, which is the safe side of nonsense; half of the range, so that sums of
    // it and a lifetime fit.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(u64::MAX / 2, |since| since.as_secs())
}
