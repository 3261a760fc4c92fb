//! Hosts that flood, or do not read: what they hold up is their own.

use serde_json::{Value, json};

use super::{expect_serving, slow};
use crate::harness::{Bridge, framed};

#[tokio::test]
async fn one_that_does_not_read_is_closed_while_others_go_on() {
    let kernel = slow()
        .config("[limits]\nwrite_stall_timeout = \"1s\"")
        .start()
        .await;
    let mut deaf = Bridge::attach(&kernel, "deaf", json!({"secrets": true, "events": true})).await;
    let mut other = Bridge::attach(&kernel, "other", json!({"events": true})).await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "nothing"}).to_string();
    let many = framed(&list).repeat(64);
    // It asks and asks, and takes no answer: until the kernel takes no more of it, and then no longer.
    let gone = |event: &Value| event["type"] == "host.gone" && event["host"] == "deaf#1";
    let flooding = async { while deaf.try_write(many.as_bytes()).await {} };
    let others = async {
        for _ in 0..50 {
            expect_serving(&kernel, &mut other).await;
        }
        other.notified("event", gone).await;
    };
    tokio::join!(flooding, others);
    kernel.wait_for_log("the host did not read for 1s");
    expect_serving(&kernel, &mut other).await;
}

/// Events and lines that one does not take are lost to it, and it is told how many events.
#[tokio::test]
async fn one_that_falls_behind_is_told_what_it_missed() {
    let kernel = slow().start().await;
    let mut behind = Bridge::attach(&kernel, "behind", json!({"events": true})).await;
    let mut other = Bridge::attach(&kernel, "other", json!({})).await;
    let long = "u".repeat(256);
    // More than its socket and the backlog hold.
    for _ in 0..1500 {
        let issued = other.call("session/create", json!({"user": long})).await;
        issued.unwrap();
    }
    let lost = |event: &Value| event["type"] == "events.lost";
    let told = behind.notified("event", lost).await;
    assert!(told["count"].as_u64().unwrap() > 0, "{told}");
    expect_serving(&kernel, &mut behind).await;
}

/// One line for each that was written, of the levels asked for, without a word of the bridge's own traffic making more.
#[tokio::test]
async fn log_lines_come_as_they_are_written_from_the_level_on_that_was_asked_for() {
    let kernel = slow()
        .config("[kernel]\nlog_filter = \"trace\"")
        .start()
        .await;
    let mut all = Bridge::attach(&kernel, "all", json!({"log": "trace"})).await;
    let mut some = Bridge::attach(&kernel, "some", json!({"log": "info"})).await;
    let session = kernel.issue(json!({"user": "ada"})).await;
    let id = session["id"].clone();
    let issued = |line: &Value| line["message"] == "session issued" && line["session"] == id;
    for host in [&mut all, &mut some] {
        let line = host.notified("log", issued).await;
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["fields"]["user"], "ada");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(line["target"].as_str().unwrap().starts_with("kernel::"));
    }
    let levels = ["ERROR", "WARN", "INFO"];
    some.call("shutdown", json!({})).await.unwrap();
    all.rest().await;
    for message in some.rest().await {
        if message["method"] == "log" {
            let level = message["params"]["level"].as_str().unwrap();
            assert!(levels.contains(&level), "{message}");
        }
    }
    // What the bridge sends is no reason to send more.
    let lines = kernel.log().lines().count();
    assert!(lines < 5000, "{lines} lines of log");
}
