//! Points in time, written as pydantic writes a `datetime`: RFC 3339 in UTC, microseconds only where there are any.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(SystemTime);

impl Timestamp {
    /// In whole microseconds, so that what is written is all there is.
    pub(crate) fn now() -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let micros = Duration::new(since.as_secs(), since.subsec_micros() * 1_000);
        Timestamp(UNIX_EPOCH + micros)
    }

    /// Since the Unix epoch.
    pub(crate) fn micros(self) -> u64 {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// How long before `later` this was; zero when the clock was set back.
    pub(crate) fn until(self, later: Timestamp) -> Duration {
        later.0.duration_since(self.0).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn from_micros(micros: u64) -> Timestamp {
        Timestamp(UNIX_EPOCH + Duration::from_micros(micros))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text)
            .map(Timestamp)
            .map_err(serde::de::Error::custom)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let micros = self
            .0
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .subsec_micros();
        let text = match micros {
            0 => humantime::format_rfc3339_seconds(self.0),
            _ => humantime::format_rfc3339_micros(self.0),
        };
        serializer.collect_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_pydantic_writes_it_and_read_again() {
        let check = |micros, expect: &str| {
            let json = serde_json::to_value(Timestamp::from_micros(micros)).unwrap();
            assert_eq!(json, expect);
            let read: Timestamp = serde_json::from_value(json).unwrap();
            assert_eq!(read, Timestamp::from_micros(micros));
        };
        check(0, "1970-01-01T00:00:00Z");
        check(1_500_000, "1970-01-01T00:00:01.500000Z");
        check(1_795_000_000_000_001, "2026-11-18T11:06:40.000001Z");
    }

    #[test]
    fn now_is_read_as_it_was_written() {
        let now = Timestamp::now();
        let json = serde_json::to_value(now).unwrap();
        assert_eq!(serde_json::from_value::<Timestamp>(json).unwrap(), now);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "yesterday", "2026-11-18", "2026-13-18T11:06:40Z"] {
            assert!(serde_json::from_value::<Timestamp>(text.into()).is_err());
        }
    }

    #[test]
    fn a_clock_set_back_gives_no_duration() {
        let (early, late) = (Timestamp::from_micros(1), Timestamp::from_micros(5));
        assert_eq!(early.until(late), Duration::from_micros(4));
        assert_eq!(late.until(early), Duration::ZERO);
    }
}
