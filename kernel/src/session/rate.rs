//! How many requests a session may make: the generic cell rate algorithm (ITU-T I.371, annex A), in one atomic.
//!
//! A session may use up its minute's requests at once, and then gets one back every `60 s / requests_per_minute`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MINUTE_NS: u64 = 60_000_000_000;

pub(super) struct RateLimiter {
    /// Between two requests that are given back.
    interval_ns: u64,
    /// When every request used so far will have been given back, on the caller's monotonic clock.
    used_until_ns: AtomicU64,
}

impl RateLimiter {
    /// `requests_per_minute` is at least 1.
    pub(super) fn new(requests_per_minute: u32) -> RateLimiter {
        RateLimiter {
            interval_ns: MINUTE_NS / u64::from(requests_per_minute.max(1)),
            used_until_ns: AtomicU64::new(0),
        }
    }

    /// Takes one request at `now`, or says how long to wait for one.
    pub(super) fn take(&self, now: Duration) -> Result<(), Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX / 2);
        let mut used_until = self.used_until_ns.load(Ordering::Relaxed);
        loop {
            let next = used_until.max(now) + self.interval_ns;
            // A minute's worth at most is used ahead of time.
            if next > now + MINUTE_NS {
                return Err(Duration::from_nanos(next - now - MINUTE_NS));
            }
            match self.used_until_ns.compare_exchange_weak(
                used_until,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(other) => used_until = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_at_once_then_one_by_one() {
        let limiter = RateLimiter::new(4);
        let at = Duration::from_secs;
        for _ in 0..4 {
            assert_eq!(limiter.take(at(100)), Ok(()));
        }
        assert_eq!(limiter.take(at(100)), Err(at(15)));
        assert_eq!(limiter.take(at(114)), Err(at(1)));
        assert_eq!(limiter.take(at(115)), Ok(()));
        assert_eq!(limiter.take(at(115)), Err(at(15)));
        for _ in 0..4 {
            assert_eq!(limiter.take(at(1000)), Ok(()));
        }
        assert_eq!(limiter.take(at(1000)), Err(at(15)));
    }

    #[test]
    fn the_rate_holds_for_every_number() {
        for per_minute in [1, 2, 7, 59, 60, 61, 1000, 600_000] {
            let limiter = RateLimiter::new(per_minute);
            let granted = (0..20)
                .map(|_| limiter.take(Duration::from_secs(5)))
                .filter(Result::is_ok)
                .count();
            assert_eq!(
                granted,
                usize::min(20, per_minute as usize),
                "{per_minute} a minute"
            );
        }
    }
}
