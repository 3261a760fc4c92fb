//! A socket lives no longer than what it was opened with.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{at_rest, sockets};
use crate::harness::{Frames, Kernel};

#[tokio::test]
async fn revocation_ends_a_socket_with_1008_within_a_second() {
    for path in [
        "/api/sockets/echo",
        "/api/sockets/flood",
        "/api/sockets/ignore",
    ] {
        let (kernel, _token) = sockets("").await;
        let issued = kernel.issue(json!({})).await;
        let token = issued["client_secret"].as_str().unwrap();
        let socket = kernel.websocket(path, token).await;
        let id = issued["id"].as_str().unwrap();
        let revoke = kernel.host("DELETE", &format!("/sessions/{id}"));
        revoke.send().await.expect_status(204);
        let start = Instant::now();
        let (code, reason) = socket.closed().await;
        assert_eq!((code, reason.as_str()), (1008, "the session was revoked"));
        assert!(start.elapsed() < Duration::from_secs(1), "{path}");
        at_rest(&kernel).await;
        let again = kernel.get(path).bearer(token).send().await;
        again.expect_problem(401, "invalid_token");
    }
}

#[tokio::test]
async fn a_socket_outlives_its_token_by_the_grace_of_streams() {
    let builder = Kernel::builder().config("[sessions]\nstream_grace = \"1s\"");
    let kernel = builder.module("sockets", "").start().await;
    let token = kernel.session(json!({"expires_in": 1})).await;
    let frames = Frames::open(&kernel, "/api/sockets/echo", &token).await;
    let (code, reason) = frames.closed().await;
    assert_eq!((code, reason.as_str()), (1008, "the session has expired"));
    at_rest(&kernel).await;
}
