//! What came of an attempt: `{"allowed": true, "found": …}` or `{"allowed": false, "errno": 13}`.

use std::io;

use axum::Json;
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) type Outcome = Json<Value>;

pub(crate) fn ended<T: Serialize>(result: io::Result<T>) -> Outcome {
    Json(match result {
        Ok(found) => json!({"allowed": true, "found": found}),
        Err(error) => json!({
            "allowed": false,
            "errno": error.raw_os_error(),
            "why": error.to_string(),
        }),
    })
}

/// As a system call answers: -1 and the number of the error.
pub(crate) fn tried(answer: impl Into<i64>) -> Outcome {
    ended(number(answer))
}

pub(crate) fn number(answer: impl Into<i64>) -> io::Result<i64> {
    match answer.into() {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}
