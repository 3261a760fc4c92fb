//! When something was, as a person says it.

use std::time::{Duration, SystemTime};

const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 60 * MINUTE_S;
const DAY_S: u64 = 24 * HOUR_S;
/// From here on a date says more than a number of days.
const DAYS_MAX: u64 = 30;

/// How long before `now` a time (RFC 3339) was; what is no time stays as it is.
pub(crate) fn ago(time: &str, now: SystemTime) -> String {
    // pydantic writes UTC as `Z`, others as `+00:00`.
    let utc = time.strip_suffix("+00:00").map(|time| format!("{time}Z"));
    let Ok(then) = humantime::parse_rfc3339_weak(utc.as_deref().unwrap_or(time)) else {
        return time.to_owned();
    };
    // A clock that was set back makes no future.
    let past = now.duration_since(then).unwrap_or(Duration::ZERO).as_secs();
    let of = |count: u64, unit: &str| match count {
        1 => format!("1 {unit} ago"),
        count => format!("{count} {unit}s ago"),
    };
    match past {
        0..MINUTE_S => "just now".to_owned(),
        MINUTE_S..HOUR_S => of(past / MINUTE_S, "minute"),
        HOUR_S..DAY_S => of(past / HOUR_S, "hour"),
        _ if past / DAY_S <= DAYS_MAX => of(past / DAY_S, "day"),
        _ => time.get(..10).unwrap_or(time).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_by_its_distance() {
        let now = humantime::parse_rfc3339("2026-03-01T12:00:00Z").expect("a time");
        for (time, expected) in [
            ("2026-03-01T12:00:00Z", "just now"),
            ("2026-03-01T13:00:00Z", "just now"),
            ("2026-03-01T11:59:01.123456Z", "just now"),
            ("2026-03-01T11:59:00Z", "1 minute ago"),
            ("2026-03-01T11:00:01Z", "59 minutes ago"),
            ("2026-03-01T10:59:00+00:00", "1 hour ago"),
            ("2026-02-28T12:00:01Z", "23 hours ago"),
            ("2026-02-27T12:00:00Z", "2 days ago"),
            ("2026-01-01T12:00:00Z", "2026-01-01"),
            ("yesterday", "yesterday"),
            ("", ""),
        ] {
            assert_eq!(ago(time, now), expected, "{time}");
        }
    }
}
