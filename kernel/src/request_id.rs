//! The name of a request in log lines, problems and the header `x-request-id`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::rand::{SecureRandom as _, SystemRandom};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ones than this of a caller's are replaced: they would stand in every log line.
const CALLERS_LEN_MAX: usize = 64;

/// The caller's id if it is a sane one, else a new one.
pub(crate) fn of(headers: &HeaderMap) -> HeaderValue {
    match headers.get(&X_REQUEST_ID) {
        Some(id) if is_sane(id.as_bytes()) => id.clone(),
        _ => next(),
    }
}

/// Unique in this process, and with its random part among processes.
pub(crate) fn next() -> HeaderValue {
    static PREFIX: OnceLock<String> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let prefix = PREFIX.get_or_init(|| {
        let mut bytes = [0_u8; 6];
        // Without randomness the ids of two processes may be alike, which costs a reader of both logs some care only.
        let _ = SystemRandom::new().fill(&mut bytes);
        format!("req_{}", URL_SAFE_NO_PAD.encode(bytes))
    });
    // By hand, since it is done for every request: the formatting machinery costs as much as a host call.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let digits = (u64::BITS - count.leading_zeros()).div_ceil(4);
    let mut id = Vec::with_capacity(prefix.len() + digits as usize);
    id.extend_from_slice(prefix.as_bytes());
    id.extend(
        (0..digits)
            .rev()
            .map(|digit| b"0123456789abcdef"[(count >> (4 * digit) & 0xf) as usize]),
    );
    HeaderValue::from_maybe_shared(bytes::Bytes::from(id))
        .expect("base64url and digits are visible ASCII")
}

fn is_sane(id: &[u8]) -> bool {
    (1..=CALLERS_LEN_MAX).contains(&id.len())
        && id
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_are_sane_and_count_up() {
        let number = |id: &HeaderValue| {
            let text = id.to_str().unwrap();
            assert!(is_sane(text.as_bytes()), "{text}");
            u64::from_str_radix(&text["req_".len() + 8..], 16).unwrap()
        };
        let (first, second) = (next(), next());
        assert!(number(&first) < number(&second), "{first:?} {second:?}");
    }

    #[test]
    fn a_callers_id_is_taken_if_it_is_sane() {
        for (id, taken) in [
            ("a", true),
            ("7f3e-1.2:3_4", true),
            ("", false),
            ("a b", false),
            ("a\u{e9}", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(
                X_REQUEST_ID,
                HeaderValue::from_bytes(id.as_bytes()).unwrap(),
            );
            assert_eq!(of(&headers) == id, taken, "{id:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            X_REQUEST_ID,
            HeaderValue::from_str(&"a".repeat(65)).unwrap(),
        );
        assert_ne!(of(&headers), "a".repeat(65));
    }
}
