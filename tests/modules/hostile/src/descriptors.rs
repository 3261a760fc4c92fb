//! What it was started with: descriptors and environment.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

/// More than any process here has.
const NUMBERS: i32 = 4096;
/// No word of any protocol; enough to be more than one frame's head.
const GARBAGE: [u8; 64] = [0xff; 64];

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/descriptors", get(list))
        .route("/flood", get(flood))
        .route("/environment", get(environment))
}

/// Every open one by its number, with what it leads to. The directory that lists them may be closed to it.
async fn list() -> Json<Value> {
    Json(json!({"allowed": true, "found": open().collect::<BTreeMap<i32, String>>()}))
}

fn open() -> impl Iterator<Item = (i32, String)> {
    (0..NUMBERS)
        // SAFETY: only asks, also of a number that is none.
        .filter(|&number| unsafe { libc::fcntl(number, libc::F_GETFD) } != -1)
        .map(|number| {
            let target = match fs::read_link(format!("/proc/self/fd/{number}")) {
                Ok(target) => target.to_string_lossy().into_owned(),
                Err(error) => format!("unknown: {error}"),
            };
            (number, target)
        })
}

/// Sends garbage on each that is a socket: what holds the kernel is at the other end of some.
async fn flood() -> Json<Value> {
    let mut sent = BTreeMap::new();
    for (number, target) in open().filter(|(_, target)| target.starts_with("socket:")) {
        // SAFETY: the bytes live through the call, which writes nothing here; and it does not wait.
        let answer = unsafe {
            libc::send(
                number,
                GARBAGE.as_ptr().cast(),
                GARBAGE.len(),
                libc::MSG_DONTWAIT,
            )
        };
        let error = (answer == -1).then(|| io::Error::last_os_error().to_string());
        sent.insert(
            number,
            json!({"target": target, "sent": answer, "error": error}),
        );
    }
    Json(json!({"allowed": true, "found": sent}))
}

async fn environment() -> Json<Value> {
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect();
    Json(json!({"allowed": true, "found": variables}))
}
