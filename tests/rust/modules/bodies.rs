//! Bodies flow both ways no faster than they are read, within their limits.

use std::sync::atomic::Ordering;

use http_body_util::BodyExt as _;
use serde_json::json;

use super::wire::{Exchange, Upload, memory, raw, settled};
use super::{DEADLINE, counted, expect_well, faults};
use crate::harness::Kernel;

const MIB: u64 = 1024 * 1024;
/// More than both windows, hyper's buffers and the socket's hold together; far less than what the tests send.
const HELD_MAX: u64 = 8 * MIB;
/// Above what the allocator keeps of a few such buffers.
const GROWTH_MAX: u64 = 24 * MIB;

/// Allows the routes below `/large/` a gigabyte.
async fn large() -> (Kernel, String) {
    let kernel = Kernel::builder()
        .config("[limits]\nbody_bytes_max = \"1GiB\"\nbody_stall_timeout = \"2s\"")
        .module("faults", "config = { large = 1073741824 }")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    (kernel, token)
}

#[tokio::test]
async fn an_echo_of_200_mib_takes_no_memory_when_its_reader_is_slow() {
    let (kernel, token) = large().await;
    let upload = Upload::new(200 * MIB).chunked();
    let taken = upload.taken();
    expect_well(&kernel, &token).await;
    let before = memory(&kernel);
    let mut exchange = Exchange::start(&kernel, "/api/faults/large/echo", &token, upload).await;
    let response = (&mut exchange.response).await.unwrap().unwrap();
    // Nobody reads: the sender comes to a standstill.
    let sent = settled(&kernel, || taken.load(Ordering::Relaxed)).await;
    assert!(
        sent < HELD_MAX,
        "{sent} bytes were taken from a client that reads none"
    );
    let mut body = response.into_body();
    let (mut len, mut highest) = (0, 0);
    while let Some(frame) = tokio::time::timeout(DEADLINE, body.frame()).await.unwrap() {
        let before = len / (4 * MIB);
        len += frame.unwrap().into_data().unwrap().len() as u64;
        if len / (4 * MIB) != before {
            highest = highest.max(memory(&kernel));
            assert!(taken.load(Ordering::Relaxed) - len < HELD_MAX);
        }
    }
    assert_eq!(len, 200 * MIB);
    assert!(
        highest < before + GROWTH_MAX,
        "from {before} to {highest} bytes"
    );
}

#[tokio::test]
async fn a_fast_stream_waits_for_its_reader() {
    let (kernel, token) = faults("").await;
    expect_well(&kernel, &token).await;
    let before = memory(&kernel);
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(
            kernel
                .get("/api/faults/firehose")
                .bearer(&token)
                .stream()
                .await,
        );
    }
    settled(&kernel, || memory(&kernel)).await;
    let after = memory(&kernel);
    assert!(
        after < before + GROWTH_MAX,
        "from {before} to {after} bytes"
    );
    // It goes on when it is read.
    for stream in &mut streams {
        let mut len = 0;
        while len < 4 * MIB {
            len += stream.next().await.unwrap().unwrap().len() as u64;
        }
    }
    expect_well(&kernel, &token).await;
    drop(streams);
    counted(&kernel, &token, "firehose", 8).await;
}

#[tokio::test]
async fn an_upload_that_the_handler_does_not_read_stays_with_the_client() {
    let (kernel, token) = large().await;
    let upload = Upload::new(64 * MIB);
    let taken = upload.taken();
    let exchange = Exchange::start(&kernel, "/api/faults/large/ignore", &token, upload).await;
    super::eventually(&kernel, "the upload", async || {
        (taken.load(Ordering::Relaxed) > 0).then_some(())
    })
    .await;
    let sent = settled(&kernel, || taken.load(Ordering::Relaxed)).await;
    assert!(
        sent < HELD_MAX,
        "{sent} bytes were read for a handler that reads none"
    );
    assert!(!exchange.response.is_finished());
    // The time the module does not read is not the client's fault.
    let upload = Upload::new(4 * MIB);
    let late = Exchange::start(&kernel, "/api/faults/large/wait-then-count", &token, upload).await;
    assert_eq!(late.finish().await, (200, (4 * MIB).to_string()));
}

#[tokio::test]
async fn a_body_can_be_read_in_a_spawned_task() {
    let (kernel, token) = large().await;
    for upload in [
        Upload::new(4 * MIB),
        Upload::new(4 * MIB).chunked(),
        Upload::new(1),
    ] {
        let path = "/api/faults/large/spawned-count";
        let total = upload.left();
        let exchange = Exchange::start(&kernel, path, &token, upload).await;
        assert_eq!(exchange.finish().await, (200, total.to_string()));
    }
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused_however_it_is_sent() {
    let kernel = Kernel::builder()
        .config("[limits]\nbody_bytes = 1000")
        .module("faults", "config = { large = 3000 }")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    for (path, limit) in [
        ("/api/faults/count", 1000),
        ("/api/faults/large/count", 3000),
    ] {
        for chunked in [false, true] {
            for (len, status) in [(limit, 200), (limit + 1, 413)] {
                let upload = Upload::new(len);
                let upload = if chunked { upload.chunked() } else { upload };
                let (found, body) = Exchange::start(&kernel, path, &token, upload)
                    .await
                    .finish()
                    .await;
                assert_eq!(found, status, "{path} {len} {chunked}: {body}");
                if status == 413 {
                    assert!(
                        body.contains("body_too_large") && body.contains(&limit.to_string()),
                        "{body}"
                    );
                } else {
                    assert_eq!(body, len.to_string());
                }
            }
        }
    }
    // A length of which not a byte is sent.
    let head = format!(
        "POST /api/faults/count HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-length: 99999999999\r\n\r\n"
    );
    let heard = raw(&kernel, head.as_bytes(), "body_too_large").await;
    assert!(heard.starts_with("HTTP/1.1 413 "), "{heard}");
}

#[tokio::test]
async fn a_body_that_stalls_ends_with_408() {
    let (kernel, token) = large().await;
    let upload = Upload::new(1000).hanging();
    let exchange = Exchange::start(&kernel, "/api/faults/count", &token, upload).await;
    let (status, body) = exchange.finish().await;
    assert_eq!(status, 408, "{body}");
    assert!(body.contains("request_timeout"), "{body}");
}

#[tokio::test]
async fn many_ready_frames_or_a_handler_that_never_waits_leave_room_for_others() {
    let kernel = Kernel::builder()
        .config("[kernel]\nworkers = 2")
        .module("faults", "")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    // Several on every worker, wherever connections land.
    let mut busy = Vec::new();
    for _ in 0..6 {
        let request = kernel.get("/api/faults/yield").bearer(&token);
        busy.push(tokio::spawn(request.stream()));
    }
    counted(&kernel, &token, "began to yield", 6).await;
    for _ in 0..10 {
        expect_well(&kernel, &token).await;
    }
    let frames = kernel.get("/api/faults/frames?frames=20000").bearer(&token);
    let frames = tokio::spawn(frames.send());
    expect_well(&kernel, &token).await;
    assert_eq!(frames.await.unwrap().body.len(), 20_000);
    // They notice that their clients leave, too.
    for request in busy {
        request.abort();
    }
    counted(&kernel, &token, "yielding", 6).await;
}

#[tokio::test]
async fn timers_sockets_and_tasks_work_in_a_handler() {
    let (kernel, token) = faults("").await;
    for (path, expect) in [("timer", "in time"), ("socket", "ping")] {
        let answer = kernel
            .get(&format!("/api/faults/{path}"))
            .bearer(&token)
            .send()
            .await;
        assert_eq!(answer.expect_status(200).text(), expect);
    }
}
