//! Under steady load a swap loses nothing: every request gets exactly one whole answer, from a generation that served when it
//! came, and what is under way finishes where it began.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::wire::{Exchange, Upload};
use super::{faults, logged};
use crate::harness::{Kernel, connect, eventually};

/// As long as the longest answers that are common.
const STREAM_MS: u64 = 10_000;
/// How long reloads go on at least; streams that begin at their end go on a little longer.
const RELOADING: Duration = Duration::from_secs(11);
const RELOADS_MIN: u64 = 20;

/// What clients and the one who reloads tell each other.
struct Shared {
    kernel: Kernel,
    token: String,
    over: AtomicBool,
    /// The newest generation whose reload has been acknowledged.
    acknowledged: AtomicU64,
    answers: AtomicU64,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Counts an answer to a request that was sent when `acknowledged` was what it was.
    fn answered(&self, parts: &http::response::Parts, acknowledged: u64) {
        assert_eq!(parts.status, 200, "{parts:?}");
        let label = parts.headers["x-midplane-module"].to_str().unwrap();
        let generation: u64 = label.strip_prefix("faults#").unwrap().parse().unwrap();
        assert!(
            generation >= acknowledged,
            "{label} answered a request that came after {acknowledged} was acknowledged"
        );
        self.answers.fetch_add(1, Ordering::SeqCst);
    }
}

/// Short requests on one connection that is kept.
async fn short_requests(shared: Arc<Shared>) {
    let (mut sender, _connection) = connect(&shared.kernel.socket).await;
    while !shared.is_over() {
        let acknowledged = shared.acknowledged.load(Ordering::SeqCst);
        let request = shared
            .kernel
            .get("/api/faults/marker")
            .bearer(&shared.token);
        let answer = request.send_on(&mut sender).await;
        shared.answered(&answer.parts, acknowledged);
    }
}

/// Uploads, whose handlers read them to their end, with a pause before each of their pieces.
async fn uploads(shared: Arc<Shared>, pause: Duration) {
    const LEN: u64 = 512 * 1024;
    while !shared.is_over() {
        let acknowledged = shared.acknowledged.load(Ordering::SeqCst);
        let upload = Upload::new(LEN).chunked().slow(pause);
        let mut exchange =
            Exchange::start(&shared.kernel, "/api/faults/count", &shared.token, upload).await;
        let response = (&mut exchange.response).await.unwrap().expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the whole body").to_bytes();
        assert_eq!(body, LEN.to_string());
        shared.answered(&parts, acknowledged);
    }
}

/// Streams, each on a connection of its own.
async fn streams(shared: Arc<Shared>) {
    const STEPS: u64 = 20;
    while !shared.is_over() {
        let acknowledged = shared.acknowledged.load(Ordering::SeqCst);
        let path = format!("/api/faults/count-to/{STEPS}/{}", STREAM_MS / STEPS);
        let stream = shared
            .kernel
            .get(&path)
            .bearer(&shared.token)
            .stream()
            .await;
        shared.answered(&stream.parts, acknowledged);
        let label = stream.parts.headers["x-midplane-module"]
            .to_str()
            .unwrap()
            .to_owned();
        let (text, whole) = stream.rest().await;
        let expect: String = (0..STEPS).map(|step| format!("{label} {step}\n")).collect();
        assert_eq!((text, whole), (expect, true), "{label}");
    }
}

#[tokio::test]
async fn every_request_gets_one_whole_answer_while_reloads_go_on() {
    let (kernel, token) = faults("").await;
    let shared = Arc::new(Shared {
        kernel,
        token,
        over: AtomicBool::new(false),
        acknowledged: AtomicU64::new(1),
        answers: AtomicU64::new(0),
    });
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..4 {
        clients.spawn(short_requests(Arc::clone(&shared)));
        if number < 2 {
            let pause = Duration::from_millis(50 * number);
            clients.spawn(uploads(Arc::clone(&shared), pause));
            clients.spawn(streams(Arc::clone(&shared)));
        }
    }
    let start = Instant::now();
    let mut reloads = 0_u64;
    while start.elapsed() < RELOADING || reloads < RELOADS_MIN {
        let marker = json!({"config": {"marker": reloads.to_string()}});
        let reload = shared
            .kernel
            .host("POST", "/modules/faults/reload")
            .json(&marker);
        let receipt = reload.send().await.expect_status(200).json();
        reloads += 1;
        assert_eq!(receipt["to"]["generation"], reloads + 1, "{receipt}");
        shared.acknowledged.store(reloads + 1, Ordering::SeqCst);
        // Whatever was sent by now was sent to it or to one before.
        let seen = shared.answers.load(Ordering::SeqCst);
        eventually("answers of it", || async {
            (shared.answers.load(Ordering::SeqCst) > seen + 8).then_some(())
        })
        .await;
    }
    shared.over.store(true, Ordering::SeqCst);
    clients.join_all().await;
    let log = shared.kernel.log();
    assert!(!log.contains("ERROR") && !log.contains("was cut"), "{log}");
    // All that was replaced has ended.
    eventually("the end of every old one", || async {
        let ended = shared.kernel.log().matches("module retired").count() as u64;
        (ended == reloads).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_signal_in_the_middle_of_a_drain_lets_it_end() {
    let (kernel, token) = faults("drain_timeout = \"20s\"").await;
    let path = "/api/faults/count-to/3/300";
    let old = kernel.get(path).bearer(&token).stream().await;
    let reload = kernel
        .host("POST", "/modules/faults/reload")
        .json(&json!({}));
    let receipt = reload.send().await.expect_status(200).json();
    assert_eq!(receipt["drain_ms"], Value::Null, "{receipt}");
    let new = kernel.get(path).bearer(&token).stream().await;
    kernel.signal(Signal::SIGTERM);
    for (stream, label) in [(old, "faults#1"), (new, "faults#2")] {
        let expect: String = (0..3).map(|step| format!("{label} {step}\n")).collect();
        assert_eq!(stream.rest().await, (expect, true));
    }
    let status = kernel.wait().await;
    assert!(status.success(), "{status}");
    logged(&kernel, &["module retired", "faults#2"]).await;
    let left = std::fs::read_dir(kernel.dir.path().join("data/modules")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"], "copies are left");
}
