//! How many messages a client may send on one socket: the generic cell rate algorithm (ITU-T I.371, annex A).

use std::time::Duration;

use tokio::time::Instant;

/// How much may be used at once: what came together while the module was busy is no flood.
const BURST: Duration = Duration::from_secs(10);

pub(super) struct MessageRate {
    interval: Duration,
    /// When every message so far will have been given back.
    used_until: Instant,
}

impl MessageRate {
    /// `per_second` is at least 1.
    pub(super) fn new(per_second: u32, now: Instant) -> MessageRate {
        MessageRate {
            interval: Duration::from_secs(1) / per_second.max(1),
            used_until: now,
        }
    }

    /// Takes a message at `now`; false when it is one too many.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let next = self.used_until.max(now) + self.interval;
        if next > now + BURST {
            return false;
        }
        self.used_until = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_worth_at_once_then_one_by_one() {
        let start = Instant::now();
        let mut rate = MessageRate::new(2, start);
        assert!((0..20).all(|_| rate.take(start)));
        assert!(!rate.take(start));
        assert!(!rate.take(start + Duration::from_millis(499)));
        assert!(rate.take(start + Duration::from_millis(500)));
        assert!(!rate.take(start + Duration::from_millis(500)));
        assert!((0..20).all(|_| rate.take(start + Duration::from_secs(60))));
        assert!(!rate.take(start + Duration::from_secs(60)));
    }
}
