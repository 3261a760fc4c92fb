//! Polls that never return: what the other workers still do, what `/health` says, and how it ends.

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};

use super::{eventually, logged};
use crate::harness::{Answer, Kernel, OnlyHere, Stream, connect};

/// Requests on one connection, which one worker serves.
struct Kept {
    sender: SendRequest<Full<Bytes>>,
    token: String,
}

impl Kept {
    async fn open(kernel: &Kernel, token: &str) -> Kept {
        Kept {
            sender: connect(&kernel.socket).await.0,
            token: token.to_owned(),
        }
    }

    async fn get(&mut self, kernel: &Kernel, path: &str) -> Answer {
        let request = kernel.get(path).bearer(&self.token);
        request.send_on(&mut self.sender).await
    }

    /// Sends a request whose answer comes later, if at all.
    fn start(mut self, path: &str) -> tokio::task::JoinHandle<(Kept, u16)> {
        let request = http::Request::get(path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::new(Bytes::new()))
            .unwrap();
        tokio::spawn(async move {
            self.sender.ready().await.unwrap();
            let response = self.sender.send_request(request).await.unwrap();
            let status = response.status().as_u16();
            http_body_util::BodyExt::collect(response.into_body())
                .await
                .unwrap();
            (self, status)
        })
    }
}

async fn health(kernel: &Kernel) -> Value {
    let answer = kernel.host("GET", "/health").send().await;
    answer.expect_status(200).json()
}

/// Waits until so many workers are told to be stuck.
async fn stuck(kernel: &Kernel, workers: usize) -> Value {
    eventually(kernel, "a stuck worker", async || {
        let health = health(kernel).await;
        let told = health["stuck_workers"].as_array().unwrap().len();
        (told == workers).then_some(health)
    })
    .await
}

/// New connections are served, every one.
async fn expect_served(kernel: &Kernel, token: &str) {
    for _ in 0..20 {
        let answer = kernel.get("/api/faults/timer").bearer(token).send().await;
        answer.expect_status(200);
    }
    let control = kernel.host("GET", "/modules/faults").send().await;
    control.expect_status(200);
}

async fn listen(kernel: &Kernel) -> Stream {
    let mut events = kernel.host("GET", "/events").stream().await;
    events.read_until(": listening\n\n").await;
    events
}

#[tokio::test]
async fn one_of_four_is_borne_two_are_told_and_three_are_the_end() {
    if OnlyHere::Workers.skip() {
        return;
    }
    let kernel = Kernel::builder()
        .config(
            "[kernel]\nworkers = 4\n[limits]\nquarantine_after = \"1h\"\nstuck_after = \"1500ms\"",
        )
        .module("faults", "")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    let mut first = Kept::open(&kernel, &token).await;
    let thread = first.get(&kernel, "/api/faults/thread").await;
    let mut earlier = Vec::new();
    for _ in 0..8 {
        let mut kept = Kept::open(&kernel, &token).await;
        let other = kept.get(&kernel, "/api/faults/thread").await;
        // What the worker had accepted before it was stuck is lost with it, and nothing else is.
        if other.text() != thread.text() {
            earlier.push(kept);
        }
    }
    first.start("/api/faults/spin/one?x=secret");
    // A connection that a worker accepts just before is as lost as one it accepted long ago: so nothing is sent until then.
    logged(&kernel, &["spins as one"]).await;
    let told = stuck(&kernel, 1).await;
    assert_eq!(told["status"], "ok", "{told}");
    let worker = &told["stuck_workers"][0];
    assert_eq!(
        (&worker["module"], &worker["generation"], &worker["route"]),
        (&json!("faults"), &json!(1), &json!("GET /spin/one")),
        "{worker}"
    );
    assert!(worker["held_s"].as_u64() >= Some(1), "{worker}");
    assert!(worker["worker"].as_u64() < Some(4), "{worker}");
    let line = kernel.wait_for_log("a module holds a worker");
    assert!(
        line.contains(worker["request_id"].as_str().unwrap()),
        "{line}"
    );
    let anyone = kernel.get("/health").send().await.json();
    assert_eq!(anyone.get("stuck_workers"), None);
    expect_served(&kernel, &token).await;
    for mut kept in earlier {
        let answer = kept.get(&kernel, "/api/faults/timer").await;
        answer.expect_status(200);
    }

    // Two are kept busy, so that the listener is on the third.
    let second = Kept::open(&kernel, &token)
        .await
        .start("/api/faults/hold-worker/second");
    logged(&kernel, &["held as second"]).await;
    let third = Kept::open(&kernel, &token)
        .await
        .start("/api/faults/hold-worker/third");
    logged(&kernel, &["held as third"]).await;
    let mut events = listen(&kernel).await;
    let release = kernel.get("/api/faults/release-workers").bearer(&token);
    release.send().await.expect_status(200);
    let (second, status) = second.await.unwrap();
    assert_eq!(status, 200);
    let (third, status) = third.await.unwrap();
    assert_eq!(status, 200);

    second.start("/api/faults/spin/two");
    logged(&kernel, &["spins as two"]).await;
    let event = events.read_until("\"worker.stuck\"").await;
    assert!(event.contains("\"route\":\"GET /spin/two\""), "{event}");
    let told = stuck(&kernel, 2).await;
    assert_eq!(told["status"], "degraded", "{told}");
    expect_served(&kernel, &token).await;

    third.start("/api/faults/spin/three");
    let event = events.read_until("\"kernel.stuck\"").await;
    assert!(
        event.contains("\"worker.stuck\"") && event.contains("\"stuck\":3,\"workers\":4"),
        "{event}"
    );
    assert_eq!(kernel.wait().await.code(), Some(70));
    kernel.wait_for_log("3 of 4 workers are held by modules");
    let log = kernel.log();
    let held = log.lines().filter(|line| {
        line.starts_with("midplane: worker ") && line.contains("faults#1 in \"GET /spin/")
    });
    assert_eq!(held.count(), 3, "{log}");
    assert!(!log.contains("x=secret"), "{log}");
}

#[tokio::test]
async fn the_one_that_is_left_of_two_is_too_few() {
    if OnlyHere::Workers.skip() {
        return;
    }
    let kernel = Kernel::builder()
        .config(
            "[kernel]\nworkers = 2\n[limits]\nquarantine_after = \"1h\"\nstuck_after = \"500ms\"",
        )
        .module("faults", "")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    Kept::open(&kernel, &token)
        .await
        .start("/api/faults/spin/one");
    assert_eq!(kernel.wait().await.code(), Some(70));
    kernel.wait_for_log("1 of 2 workers are held by modules");
}

#[tokio::test]
async fn a_worker_that_comes_back_is_no_longer_told() {
    if OnlyHere::Workers.skip() {
        return;
    }
    let kernel = Kernel::builder()
        .config(
            "[kernel]\nworkers = 4\n[limits]\nquarantine_after = \"1h\"\nstuck_after = \"500ms\"",
        )
        .module("faults", "")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    let held = Kept::open(&kernel, &token)
        .await
        .start("/api/faults/hold-worker/one");
    logged(&kernel, &["held as one"]).await;
    stuck(&kernel, 1).await;
    let release = kernel.get("/api/faults/release-workers").bearer(&token);
    release.send().await.expect_status(200);
    assert_eq!(held.await.unwrap().1, 200);
    let told = stuck(&kernel, 0).await;
    assert_eq!(told["status"], "ok");
    kernel.wait_for_log("is free again");
}
