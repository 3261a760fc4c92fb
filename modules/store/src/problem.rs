//! A failure of the store as an answer: a code for the SDK, a sentence for a person.

use std::sync::LazyLock;
use std::time::Instant;

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::{ETAG, HeaderValue, RETRY_AFTER};
use midplane_sdk::Problem;
use midplane_sdk::storage::wire::CONFLICT_KEY;
use midplane_store_backend::limits::{BATCH_BYTES_MAX, VALUE_BYTES_MAX};
use midplane_store_backend::{StoreError, Version, written_key};

use crate::complaints::Complaints;

static COMPLAINTS: LazyLock<Complaints> = LazyLock::new(Complaints::default);

/// What a request was refused with.
#[derive(Debug)]
pub(crate) enum Refusal {
    Store(StoreError),
    Problem(Problem),
}

impl Refusal {
    pub(crate) fn malformed(detail: impl Into<String>) -> Refusal {
        Problem::new(StatusCode::BAD_REQUEST, "malformed", detail).into()
    }

    /// How much larger is not known: no more of it is read.
    pub(crate) fn value_too_large(key: &[u8]) -> Refusal {
        let detail = format!(
            "the value for {} has more than {VALUE_BYTES_MAX} bytes, which are allowed: split it over several keys",
            written_key(key)
        );
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "value_too_large", detail).into()
    }

    /// The same.
    pub(crate) fn batch_too_large() -> Refusal {
        let detail = format!(
            "the batch has more than {BATCH_BYTES_MAX} bytes, which are allowed: commit it in parts"
        );
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "batch_too_large", detail).into()
    }

    pub(crate) fn not_found() -> Refusal {
        let detail = "there is nothing under this key";
        Problem::new(StatusCode::NOT_FOUND, "key_not_found", detail).into()
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Store(error)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal::Problem(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = match self {
            Refusal::Problem(problem) => return problem.into_response(),
            Refusal::Store(error) => error,
        };
        let (status, code) = told_as(&error);
        if status == StatusCode::INTERNAL_SERVER_ERROR || status == StatusCode::INSUFFICIENT_STORAGE
        {
            // Whoever called may keep it to itself; the operator has to know.
            if let Some(withheld) = COMPLAINTS.another(code, Instant::now()) {
                tracing::error!(%error, code, withheld, "the store failed");
            }
        }
        let mut response = Problem::new(status, code, error.to_string()).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let StoreError::Conflict { key, found } = &error {
            let key = HeaderValue::try_from(BASE64_URL_SAFE_NO_PAD.encode(key));
            headers.insert(CONFLICT_KEY, key.expect("base64url makes a header"));
            if let Some(version) = found {
                headers.insert(ETAG, etag(*version));
            }
        }
        response
    }
}

pub(crate) fn etag(version: Version) -> HeaderValue {
    HeaderValue::try_from(format!("\"{}\"", version.0)).expect("digits make a header")
}

fn told_as(error: &StoreError) -> (StatusCode, &'static str) {
    match error {
        StoreError::KeyLength { .. } => (StatusCode::BAD_REQUEST, "key_length"),
        StoreError::ValueTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "value_too_large"),
        StoreError::BatchTooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "batch_too_long"),
        StoreError::BatchTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "batch_too_large"),
        StoreError::WrittenTwice { .. } => (StatusCode::BAD_REQUEST, "written_twice"),
        StoreError::PageLimit { .. } => (StatusCode::BAD_REQUEST, "page_limit"),
        StoreError::Conflict { .. } => (StatusCode::PRECONDITION_FAILED, "conflict"),
        StoreError::Quota { .. } => (StatusCode::INSUFFICIENT_STORAGE, "quota_exceeded"),
        StoreError::DiskFull { .. } => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
        StoreError::DiskQuota { .. } => (StatusCode::INSUFFICIENT_STORAGE, "disk_quota_exceeded"),
        StoreError::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "store_busy"),
        StoreError::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "store_overloaded"),
        StoreError::Closing => (StatusCode::SERVICE_UNAVAILABLE, "store_closing"),
        StoreError::Damaged { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "store_damaged"),
        StoreError::Database { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "store_failed"),
    }
}
