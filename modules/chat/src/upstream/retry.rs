//! When a request is tried again: pure decisions, with time as an argument.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

/// The first pause, doubled for each further try; what OpenAI's own clients start with.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// As OpenAI's own clients.
const BACKOFF_MAX: Duration = Duration::from_secs(8);
/// A provider that asks for more than this is not waited for: the user decides.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// OpenAI's finer form of `Retry-After`.
const RETRY_AFTER_MS: &str = "retry-after-ms";
const SHOULD_RETRY: &str = "x-should-retry";

/// Whether an answer means "not now": as OpenAI's own clients read it, who also find there a word of the server's on it.
pub(crate) fn is_transient(status: StatusCode, headers: &HeaderMap) -> bool {
    match headers.get(SHOULD_RETRY).map(|value| value.as_bytes()) {
        Some(b"true") => status.as_u16() >= 400,
        Some(b"false") => false,
        _ => matches!(status.as_u16(), 408 | 409 | 429 | 500..),
    }
}

/// How long to wait before the next try, counted from 0; nothing when there must be none.
pub(crate) fn pause(tried: u32, retries: u32, asked_for: Option<Duration>) -> Option<Duration> {
    if tried >= retries {
        return None;
    }
    match asked_for {
        Some(wait) => (wait <= RETRY_AFTER_MAX).then_some(wait),
        None => Some(
            BACKOFF_FIRST
                .saturating_mul(2_u32.saturating_pow(tried))
                .min(BACKOFF_MAX),
        ),
    }
}

/// How long the provider asks to wait: seconds or a date (RFC 9110 section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(wait) = text(RETRY_AFTER_MS).and_then(|ms| ms.parse().ok()) {
        return Some(Duration::from_millis(wait));
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let check = |tried, retries, asked_for: Option<u64>, expect: Option<u64>| {
            let pause = pause(tried, retries, asked_for.map(Duration::from_millis));
            assert_eq!(
                pause,
                expect.map(Duration::from_millis),
                "{tried} of {retries}, {asked_for:?}"
            );
        };
        check(0, 0, None, None);
        check(0, 2, None, Some(500));
        check(1, 2, None, Some(1_000));
        check(2, 2, None, None);
        check(9, 10, None, Some(8_000));
        check(0, 2, Some(0), Some(0));
        check(0, 2, Some(30_000), Some(30_000));
        check(0, 2, Some(30_001), None);
        check(2, 2, Some(0), None);
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let check = |name: &'static str, value: &'static str, expect: Option<u64>| {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(
                retry_after(&headers, now),
                expect.map(Duration::from_millis),
                "{name}: {value}"
            );
        };
        check("retry-after", "2", Some(2_000));
        check("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT", Some(3_000));
        check("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check("retry-after", "soon", None);
        check("retry-after", "-1", None);
        check("retry-after-ms", "15", Some(15));
        check("x-other", "2", None);
    }

    #[test]
    fn only_not_now_is_tried_again() {
        let check = |headers: &HeaderMap, expect: &[u16]| {
            let statuses = [200, 400, 401, 404, 408, 409, 422, 429, 500, 503, 529];
            let transient = statuses
                .into_iter()
                .filter(|status| is_transient(StatusCode::from_u16(*status).unwrap(), headers));
            assert_eq!(transient.collect::<Vec<_>>(), expect, "{headers:?}");
        };
        let told = |word: &'static str| {
            HeaderMap::from_iter([(SHOULD_RETRY.parse().unwrap(), word.parse().unwrap())])
        };
        check(&HeaderMap::new(), &[408, 409, 429, 500, 503, 529]);
        check(&told("maybe"), &[408, 409, 429, 500, 503, 529]);
        check(&told("false"), &[]);
        check(
            &told("true"),
            &[400, 401, 404, 408, 409, 422, 429, 500, 503, 529],
        );
    }
}
