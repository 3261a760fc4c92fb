//! Modules that call each other are loaded, swapped and taken away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use super::{Calls, each, expect_code, in_time};

const RELOADS: u64 = 5;

#[tokio::test]
async fn a_module_that_others_may_call_is_not_taken_away_by_mistake() {
    let here = ("in-process", "in-process");
    let calls = Calls::start(here, "", "grants = [\"call:callee\"]", "").await;
    let delete = |path: &str| calls.kernel.host("DELETE", path).send();
    let refused = delete("/modules/callee").await;
    refused.expect_problem(409, "module_in_use");
    assert!(
        refused.text().contains("may be called by caller"),
        "{refused}"
    );
    delete("/modules/callee?force=false")
        .await
        .expect_problem(409, "module_in_use");
    delete("/modules/callee?force=yes")
        .await
        .expect_problem(400, "invalid_request");
    calls.expect_well().await;
    // Nobody may call the caller, but itself and one that is asked for in vain.
    let forced = delete("/modules/callee?force=true&drain_ms=0").await;
    forced.expect_status(200);
    expect_code(&calls.call("who").await, 503, "call_failed");
    delete("/modules/caller").await.expect_status(200);
}

#[tokio::test]
async fn no_call_is_lost_when_modules_are_swapped() {
    for calls in each("", "").await {
        let calls = Arc::new(calls);
        let (over, rounds) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (calls, over) = (Arc::clone(&calls), Arc::clone(&over));
                let rounds = Arc::clone(&rounds);
                tokio::spawn(async move {
                    let from = ["session", "nobody", "background", "task"][client];
                    while !over.load(Ordering::SeqCst) {
                        let path = format!("/call/in/echo?from={from}");
                        let body = "x".repeat(70_000);
                        let answer = calls.request("POST", &path).body(body.clone()).send().await;
                        assert_eq!(answer.expect_status(200).text(), body, "{from}");
                        rounds.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for reload in 1..=RELOADS {
            for module in ["callee", "caller"] {
                let path = format!("/modules/{module}/reload");
                let swapped = calls.kernel.host("POST", &path).send().await;
                assert_eq!(
                    swapped.expect_status(200).json()["to"]["generation"],
                    reload + 1
                );
                let before = rounds.load(Ordering::SeqCst);
                crate::harness::eventually("more calls", async || {
                    let failed = clients.iter().any(|client| client.is_finished());
                    (failed || rounds.load(Ordering::SeqCst) > before + 4).then_some(())
                })
                .await;
            }
        }
        over.store(true, Ordering::SeqCst);
        for client in clients {
            in_time("a client", client).await.unwrap();
        }
        let who = calls.call("who").await.expect_status(200).json();
        assert_eq!(who["generation"], RELOADS + 1);
        assert_eq!(who["caller"]["generation"], RELOADS + 1);
    }
}

#[tokio::test]
async fn a_call_that_is_under_way_ends_on_the_generation_it_began_on() {
    for calls in each("", "").await {
        let mut events = calls.get("/call/in/events").stream().await;
        events.read_until("first").await;
        for module in ["callee", "caller"] {
            let path = format!("/modules/{module}/reload");
            calls
                .kernel
                .host("POST", &path)
                .send()
                .await
                .expect_status(200);
        }
        let who = calls.call("who").await.expect_status(200).json();
        assert_eq!(
            (&who["generation"], &who["caller"]["generation"]),
            (&json!(2), &json!(2))
        );
        // The old ones still have it, and only their end cuts it.
        let draining = calls.kernel.host("GET", "/modules").send().await.json();
        let draining = draining["draining"].as_array().unwrap().len();
        assert_eq!(draining, 2, "{}", calls.isolations);
        drop(events);
        crate::harness::eventually("the end of the old ones", async || {
            let list = calls.kernel.host("GET", "/modules").send().await.json();
            list["draining"]
                .as_array()
                .unwrap()
                .is_empty()
                .then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_kernel_takes_callers_away_first() {
    for calls in each("", "grants = [\"secrets\"]").await {
        let client = tokio::spawn(calls.get("/call/in/never").send());
        calls.counted("waiting", 1).await;
        let finishing = tokio::spawn(calls.get("/call/in/events").send());
        calls.counted("waiting", 2).await;
        calls.release().await;
        assert!(
            in_time("the events", finishing)
                .await
                .unwrap()
                .text()
                .contains("last")
        );
        calls.kernel.signal(nix::sys::signal::Signal::SIGTERM);
        calls.kernel.wait_for_log("draining");
        client.abort();
        let status = in_time("the end", calls.kernel.wait()).await;
        assert!(status.success(), "{}", calls.kernel.log());
        let log = calls.kernel.log();
        let retired = |name: &str| {
            let line = format!("module={name}#1");
            log.lines()
                .position(|entry| entry.contains("module retired") && entry.contains(&line))
        };
        assert!(retired("caller") < retired("callee"), "{log}");
    }
}
