//! A version that fails too often within its window is replaced by the one before it.

use serde_json::{Value, json};

use super::state::{add, count, keeper, load};
use super::{faults, logged};
use crate::harness::{Answer, Kernel, OnlyHere};

const ON: &str = "rollback = { window = \"1m\", max_failures = 2 }";

async fn reload(kernel: &Kernel, name: &str, config: Value) -> Answer {
    let request = kernel.host("POST", &format!("/modules/{name}/reload"));
    request.json(&json!({"config": config})).send().await
}

async fn fail(kernel: &Kernel, token: &str, path: &str, times: u64) {
    for _ in 0..times {
        kernel
            .get(path)
            .bearer(token)
            .send()
            .await
            .expect_status(500);
    }
}

#[tokio::test]
async fn panics_bring_the_version_before_back_and_answers_do_not() {
    let (kernel, token) = faults(ON).await;
    let mut events = kernel.host("GET", "/events").stream().await;
    reload(&kernel, "faults", json!({"marker": "new"}))
        .await
        .expect_status(200);
    let unwell = r#"/api/faults/answer?status=503"#;
    for _ in 0..5 {
        kernel.get(unwell).bearer(&token).send().await;
    }
    fail(&kernel, &token, "/api/faults/panic", 2).await;
    let answer = kernel.get("/api/faults/marker").bearer(&token).send().await;
    assert_eq!(
        (answer.text(), answer.header("x-midplane-module")),
        ("new", "faults#2")
    );
    fail(&kernel, &token, "/api/faults/panic", 1).await;
    let told = events.read_until("module.rolled_back").await;
    let told = if told.ends_with("\n\n") {
        told
    } else {
        told + &events.read_until("\n\n").await
    };
    assert!(told.contains(r#""from":2,"to":3"#), "{told}");
    let answer = kernel.get("/api/faults/marker").bearer(&token).send().await;
    assert_eq!(
        (answer.text(), answer.header("x-midplane-module")),
        ("", "faults#3")
    );
    // The version before has no version before: it stays.
    fail(&kernel, &token, "/api/faults/panic", 5).await;
    let answer = kernel.get("/api/faults/marker").bearer(&token).send().await;
    assert_eq!(answer.header("x-midplane-module"), "faults#3");
    // And the next swap has its own way back, with what was configured.
    reload(&kernel, "faults", json!({"marker": "newer"}))
        .await
        .expect_status(200);
    fail(&kernel, &token, "/api/faults/panic", 3).await;
    events.read_until(r#""from":4,"to":5"#).await;
}

#[tokio::test]
async fn a_quarantine_brings_it_back_at_once() {
    if OnlyHere::Quarantine.skip() {
        return;
    }
    let (kernel, token) = faults(ON).await;
    let mut events = kernel.host("GET", "/events").stream().await;
    reload(&kernel, "faults", json!({"marker": "new"}))
        .await
        .expect_status(200);
    let slow = kernel
        .get("/api/faults/block/1100")
        .bearer(&token)
        .send()
        .await;
    slow.expect_status(200);
    events.read_until("module.rolled_back").await;
    let answer = kernel.get("/api/faults/marker").bearer(&token).send().await;
    assert_eq!(
        (answer.text(), answer.header("x-midplane-module")),
        ("", "faults#3")
    );
}

#[tokio::test]
async fn it_is_off_unless_it_is_configured() {
    let (kernel, token) = faults("").await;
    reload(&kernel, "faults", json!({"marker": "new"}))
        .await
        .expect_status(200);
    fail(&kernel, &token, "/api/faults/panic", 20).await;
    let answer = kernel.get("/api/faults/marker").bearer(&token).send().await;
    assert_eq!(
        (answer.text(), answer.header("x-midplane-module")),
        ("new", "faults#2")
    );
}

#[tokio::test]
async fn the_state_comes_back_with_it_from_the_failing_version_or_else_from_before() {
    for (save, expect) in [("none", "3"), ("panic", "2")] {
        let (kernel, token) = keeper("", ON).await;
        let mut events = kernel.host("GET", "/events").stream().await;
        add(&kernel, &token, 2).await;
        let config = json!({"save": save, "reason": "oh no"});
        reload(&kernel, "keeper", config).await.expect_status(200);
        add(&kernel, &token, 1).await;
        fail(&kernel, &token, "/api/keeper/panic", 3).await;
        events.read_until("module.rolled_back").await;
        assert_eq!(count(&kernel, &token).await, expect, "{save}");
    }
}

#[tokio::test]
async fn it_stays_off_where_the_version_before_cannot_read_the_state() {
    let (kernel, token) = keeper("", ON).await;
    load(&kernel, "keeper-v2", json!({}))
        .await
        .expect_status(200);
    logged(&kernel, &["rollback stays off", "keeper#2"]).await;
    fail(&kernel, &token, "/api/keeper/panic", 5).await;
    let answer = kernel
        .get("/api/keeper/version")
        .bearer(&token)
        .send()
        .await;
    assert_eq!(answer.text(), "2");
}
