//! Many streams at once, readers that are slow, and those that leave.

use std::time::{Duration, Instant};

use serde_json::json;

use super::provider::{Provider, Script};
use super::{said, turn};
use crate::harness::{DEADLINE, Kernel};

/// As many as the module is made for on two processors.
const STREAMS: usize = 200;

async fn kernel(provider: &Provider) -> (Kernel, String) {
    let kernel = Kernel::builder()
        .module("chat", &provider.config())
        .config("[limits]\nconnections_per_process = 512\n")
        .start()
        .await;
    let token = kernel.session(json!({"user": "ada"})).await;
    (kernel, token)
}

#[tokio::test]
async fn two_hundred_streams_at_once_are_each_whole() {
    let script = Script {
        deltas: 20,
        bytes: 0,
        pause: Duration::from_millis(1),
        together: STREAMS,
    };
    let provider = Provider::start(script).await;
    let (kernel, token) = kernel(&provider).await;
    let turns = (0..STREAMS).map(|number| {
        let request = turn(&kernel, &token, &format!("turn {number}"));
        tokio::spawn(async move { request.stream().await.rest().await })
    });
    let turns: Vec<_> = turns.collect();
    for turn in turns {
        let (text, whole) = turn.await.unwrap();
        assert!(whole);
        assert_eq!(said(&text), script.answer());
    }
}

#[tokio::test]
async fn who_does_not_read_holds_back_nobody_else_and_misses_nothing() {
    // Not far below the longest answer, and more than a socket has room for.
    let script = Script {
        deltas: 200,
        bytes: 4_096,
        pause: Duration::ZERO,
        together: 1,
    };
    let provider = Provider::start(script).await;
    let (kernel, token) = kernel(&provider).await;
    let mut slow = Vec::new();
    for number in 0..8 {
        let request = turn(&kernel, &token, &format!("to nobody {number}"));
        slow.push(request.stream().await);
    }
    for number in 0..8 {
        let request = turn(&kernel, &token, &format!("to somebody {number}"));
        let (text, whole) = request.stream().await.rest().await;
        assert!(whole);
        assert_eq!(said(&text), script.answer());
    }
    for stream in slow {
        let (text, whole) = stream.rest().await;
        assert!(whole);
        assert_eq!(said(&text), script.answer());
    }
}

#[tokio::test]
async fn the_provider_is_told_when_a_client_leaves() {
    let script = Script {
        deltas: 1_000,
        bytes: 0,
        pause: Duration::from_millis(20),
        together: 1,
    };
    let provider = Provider::start(script).await;
    let (kernel, token) = kernel(&provider).await;
    let mut slowest = Duration::ZERO;
    for number in 1..=10 {
        let mut stream = turn(&kernel, &token, "hello").stream().await;
        stream.read_until("text_delta").await;
        drop(stream);
        let start = Instant::now();
        tokio::time::timeout(DEADLINE, provider.left(number))
            .await
            .expect("the provider's connection is closed");
        slowest = slowest.max(start.elapsed());
    }
    println!("the provider's connection is closed {slowest:?} after the client has left, at most");
}
