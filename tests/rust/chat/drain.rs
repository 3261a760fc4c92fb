//! Answers that outlast a drain: their streams end with a word of the module's, before the kernel would cut them.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::turn;
use crate::harness::Kernel;

/// Of which an answer takes longer than the drain.
const DRAIN: &str = "2s";
const CONFIG: &str = "config = { provider = \"echo\", echo_delay = \"50ms\", store = \"memory\" }";
const WORDS: usize = 200;

async fn kernel(isolation: &str) -> (Kernel, String) {
    println!("chat {isolation}");
    let settings = format!("isolation = {isolation:?}\ndrain_timeout = {DRAIN:?}\n{CONFIG}");
    let kernel = Kernel::builder()
        .module("chat", &settings)
        .config(&format!("[kernel]\nshutdown_timeout = {DRAIN:?}\n"))
        .start()
        .await;
    let token = kernel.session(json!({"user": "ada"})).await;
    (kernel, token)
}

fn assert_last_word((text, whole): (String, bool)) {
    assert!(whole, "{text}");
    let last = text.trim_end().lines().last().unwrap();
    let last: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    let word = json!([last["type"], last["code"], last["allow_retry"]]);
    assert_eq!(word, json!(["error", "stream.error", true]), "{last}");
}

#[tokio::test]
async fn a_reload_with_a_short_drain_ends_streams_with_a_word() {
    for isolation in ["in-process", "process"] {
        let (kernel, token) = kernel(isolation).await;
        let stream = turn(&kernel, &token, &"word ".repeat(WORDS)).stream().await;
        let reload = kernel.host("POST", "/modules/chat/reload?wait=drained");
        let (rest, receipt) = tokio::join!(stream.rest(), reload.send());
        assert_last_word(rest);
        let finished = json!({"finished_on_old": 1, "cancelled": 0});
        assert_eq!(receipt.json()["requests"], finished);
    }
}

#[tokio::test]
async fn whoever_unloads_the_module_may_give_answers_more_time() {
    let (kernel, token) = kernel("in-process").await;
    let stream = turn(&kernel, &token, &"word ".repeat(WORDS / 4))
        .stream()
        .await;
    let unload = kernel.host("DELETE", "/modules/chat?drain_ms=30000");
    let (rest, receipt) = tokio::join!(stream.rest(), unload.send());
    let (text, whole) = rest;
    assert!(
        whole && text.contains("thread.item.done") && !text.contains("stream.error"),
        "{text}"
    );
    let finished = json!({"finished_on_old": 1, "cancelled": 0});
    assert_eq!(receipt.json()["requests"], finished);
}

#[tokio::test]
async fn the_end_of_the_kernel_ends_streams_with_a_word() {
    for isolation in ["in-process", "process"] {
        let (kernel, token) = kernel(isolation).await;
        let stream = turn(&kernel, &token, &"word ".repeat(WORDS)).stream().await;
        kernel.signal(Signal::SIGTERM);
        assert_last_word(stream.rest().await);
        assert!(kernel.wait().await.success());
    }
}
