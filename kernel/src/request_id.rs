//! The name of a request in log lines, problems and the header `x-request-id`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::routes::X_REQUEST_ID;

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
fn next() -> HeaderValue {
    static PREFIX: OnceLock<String> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let prefix = PREFIX.get_or_init(|| {
        let mut bytes = [0_u8; 6];
        // Without randomness the ids of two processes may be alike, which costs a reader of both logs some care only.
        let _ = SystemRandom::new().fill(&mut bytes);
        format!("req_{}", URL_SAFE_NO_PAD.encode(bytes))
    });
    let id = format!("{prefix}{:x}", COUNT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_maybe_shared(bytes::Bytes::from(id))
        .expect("base64url and digits are visible ASCII")
}

fn is_sane(id: &[u8]) -> bool {
    (1..=CALLERS_LEN_MAX).contains(&id.len())
        && id
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(b))
}
