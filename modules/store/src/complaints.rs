//! What the operator is told of failures: the first of each kind at once, and after that how many more there were.
//!
//! A module that is refused tries again and again, and each of its refusals in the log would fill the disk that is full.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two lines of one kind.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Complaints(Mutex<HashMap<&'static str, Told>>);

struct Told {
    at: Instant,
    /// Since then.
    withheld: u64,
}

impl Complaints {
    /// Whether to tell of another failure of this kind now; if so, how many were withheld since the last that was told.
    pub(crate) fn another(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().expect("no code panics under this lock");
        let Some(told) = kinds.get_mut(kind) else {
            let told = Told {
                at: now,
                withheld: 0,
            };
            kinds.insert(kind, told);
            return Some(0);
        };
        if now.saturating_duration_since(told.at) < TELL_EVERY {
            told.withheld += 1;
            return None;
        }
        told.at = now;
        Some(std::mem::take(&mut told.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_at_once_and_then_now_and_again() {
        let complaints = Complaints::default();
        let began = Instant::now();
        for (kind, after_s, expect) in [
            ("disk_full", 0, Some(0)),
            ("disk_full", 1, None),
            ("quota_exceeded", 1, Some(0)),
            ("disk_full", 9, None),
            ("disk_full", 10, Some(2)),
            ("disk_full", 11, None),
            ("disk_full", 100, Some(1)),
            ("disk_full", 200, Some(0)),
        ] {
            let told = complaints.another(kind, began + Duration::from_secs(after_s));
            assert_eq!(told, expect, "{kind} after {after_s} s");
        }
    }
}
