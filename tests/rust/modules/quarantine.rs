//! Polls that hold up a worker: told, and in the end not repeated.

use serde_json::json;

use super::{faults, logged};
use crate::harness::{Kernel, OnlyHere};

async fn faults_with(config: &str) -> (Kernel, String) {
    let kernel = Kernel::builder()
        .config(config)
        .module("faults", "")
        .start()
        .await;
    let token = kernel.session(json!({"user": "ada"})).await;
    (kernel, token)
}

#[tokio::test]
async fn a_poll_of_a_second_puts_the_module_in_quarantine_until_it_is_reloaded() {
    if OnlyHere::Quarantine.skip() {
        return;
    }
    let (kernel, token) = faults("").await;
    let mut events = kernel.host("GET", "/events").stream().await;
    let slow = kernel
        .get("/api/faults/block/1100")
        .bearer(&token)
        .send()
        .await;
    slow.expect_status(200);
    logged(&kernel, &["slow poll", "GET /block/1100", "faults#1"]).await;
    let refused = kernel.get("/api/faults/marker").bearer(&token).send().await;
    refused.expect_problem(503, "module_unavailable");
    let health = kernel
        .host("GET", "/health")
        .send()
        .await
        .expect_status(200)
        .json();
    assert_eq!(health["status"], "degraded", "{health}");
    assert_eq!(health["modules"][0]["state"], "faulted", "{health}");
    events
        .read_until("\"reason\":\"one poll of GET /block/1100 took ")
        .await;
    let receipt = kernel
        .host("POST", "/modules/faults/reload")
        .json(&json!({}))
        .send()
        .await;
    receipt.expect_status(200);
    let answer = kernel.get("/api/faults/marker").bearer(&token).send().await;
    answer.expect_status(200);
    let health = kernel.host("GET", "/health").send().await.json();
    assert_eq!(health["status"], "ok", "{health}");
}

#[tokio::test]
async fn a_poll_that_does_not_return_puts_it_there_meanwhile() {
    if OnlyHere::Quarantine.skip() {
        return;
    }
    let (kernel, token) = faults_with("[limits]\nquarantine_after = \"200ms\"").await;
    let held = kernel
        .get("/api/faults/hold-worker/one")
        .bearer(&token)
        .stream();
    let held = tokio::spawn(async move {
        // It ends with the kernel.
        let _ = held.await;
    });
    logged(
        &kernel,
        &["one poll of GET /hold-worker/one has taken longer than 200ms and goes on"],
    )
    .await;
    let refused = kernel.get("/api/faults/marker").bearer(&token).send().await;
    refused.expect_problem(503, "module_unavailable");
    held.abort();
}
