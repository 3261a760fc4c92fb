//! What a receipt counts, and how drains end that the process's end overtakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{eventually, expect_well, faults, module};
use crate::harness::{Kernel, Stream, connect};

const END: &str = "event: midplane.end\ndata: {\"reason\":\"draining\"}\n\n";

/// A stream that ends by itself, and its lines but the first, as this generation writes them, one in `ms`.
async fn finite(kernel: &Kernel, token: &str, generation: u64, ms: u64) -> (Stream, String) {
    let path = format!("/api/faults/count-to/4/{ms}");
    let mut stream = kernel.get(&path).bearer(token).stream().await;
    let line = |step| format!("faults#{generation} {step}\n");
    stream.read_until(&line(0)).await;
    (stream, (1..4).map(line).collect())
}

async fn endless(kernel: &Kernel, token: &str) -> Stream {
    let path = "/api/faults/events";
    let mut stream = kernel.get(path).bearer(token).stream().await;
    stream.read_until("data: one\n\n").await;
    stream
}

async fn reload(kernel: &Kernel, query: &str) -> Value {
    let reload = kernel.host("POST", &format!("/modules/faults/reload{query}"));
    let answer = reload.json(&json!({})).send().await;
    answer.expect_status(200).json()
}

/// Generation and requests under way of each that drains.
async fn draining(kernel: &Kernel) -> Vec<(u64, u64)> {
    let list = kernel.host("GET", "/modules").send().await.json();
    let of = |one: &Value| {
        assert_eq!(one["name"], "faults");
        assert_eq!(one["state"], "draining");
        let number = |member: &str| one[member].as_u64().unwrap();
        (number("generation"), number("in_flight_requests"))
    };
    let list = list["draining"].as_array().unwrap();
    list.iter().map(of).collect()
}

#[tokio::test]
async fn a_receipt_counts_what_finished_on_the_old_one_and_what_was_cut() {
    let (kernel, token) = faults("drain_timeout = \"4s\"").await;
    for generation in 1..=2 {
        let mut finite_ones = Vec::new();
        for _ in 0..3 {
            finite_ones.push(finite(&kernel, &token, generation, 600).await);
        }
        let endless_ones = [
            endless(&kernel, &token).await,
            endless(&kernel, &token).await,
        ];
        assert_eq!(module(&kernel).await["in_flight_requests"], 5);
        let watch = eventually(&kernel, "the drain", async || {
            let draining = draining(&kernel).await;
            (draining == [(generation, 5)]).then_some(())
        });
        let (receipt, ()) = tokio::join!(reload(&kernel, "?wait=drained"), watch);
        assert_eq!(receipt["from"]["generation"], generation, "{receipt}");
        assert_eq!(
            receipt["requests"],
            json!({"finished_on_old": 3, "cancelled": 2}),
            "{receipt}"
        );
        for (stream, lines) in finite_ones {
            assert_eq!(stream.rest().await, (lines, true));
        }
        for stream in endless_ones {
            assert_eq!(stream.rest().await, (END.to_owned(), true));
        }
        assert_eq!(draining(&kernel).await, []);
    }
    expect_well(&kernel, &token).await;
}

#[tokio::test]
async fn receipts_under_load_add_up() {
    const SHORT: u64 = 4;
    const STREAMS: u64 = 3;
    let (kernel, token) = faults("").await;
    let shared = Arc::new((kernel, token, AtomicBool::new(false)));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..SHORT {
        let shared = Arc::clone(&shared);
        clients.spawn(async move {
            let (kernel, token, over) = &*shared;
            let (mut sender, _connection) = connect(&kernel.socket).await;
            while !over.load(Ordering::SeqCst) {
                let request = kernel.get("/api/faults/timer").bearer(token);
                request.send_on(&mut sender).await.expect_status(200);
            }
        });
    }
    let (kernel, token, over) = &*shared;
    for generation in 1..=5 {
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            streams.push(finite(kernel, token, generation, 250).await);
        }
        let receipt = reload(kernel, "?wait=drained").await;
        // The streams were under way for certain, and of each client's short requests one may have been.
        let finished = receipt["requests"]["finished_on_old"].as_u64().unwrap();
        assert!((STREAMS..=STREAMS + SHORT).contains(&finished), "{receipt}");
        assert_eq!(receipt["requests"]["cancelled"], 0, "{receipt}");
        for (stream, lines) in streams {
            assert_eq!(stream.rest().await, (lines, true));
        }
    }
    over.store(true, Ordering::SeqCst);
    clients.join_all().await;
}

#[tokio::test]
async fn the_end_of_the_process_waits_for_what_was_replaced_before() {
    let (kernel, token) = faults("").await;
    // Longer than connections are given once nothing is under way.
    let (old, lines) = finite(&kernel, &token, 1, 1000).await;
    reload(&kernel, "").await;
    assert_eq!(draining(&kernel).await, [(1, 1)]);
    // Nothing is under way on the new one.
    kernel.signal(Signal::SIGTERM);
    assert_eq!(old.rest().await, (lines, true));
    let status = kernel.wait().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn the_end_of_the_process_cuts_drains_short_and_tells_their_streams() {
    // Both drains would take longer than the test waits.
    let builder = Kernel::builder().config("[kernel]\nshutdown_timeout = \"1s\"");
    let builder = builder.module("faults", "drain_timeout = \"10m\"");
    let kernel = builder.start().await;
    let token = kernel.session(json!({})).await;
    let old = endless(&kernel, &token).await;
    reload(&kernel, "").await;
    let new = endless(&kernel, &token).await;
    kernel.signal(Signal::SIGTERM);
    for stream in [old, new] {
        assert_eq!(stream.rest().await, (END.to_owned(), true));
    }
    let status = kernel.wait().await;
    assert!(status.success(), "{status}");
    for label in ["faults#1", "faults#2"] {
        let retired = |line: &str| line.contains("module retired") && line.contains(label);
        assert!(kernel.log().lines().any(retired), "{}", kernel.log());
    }
}
