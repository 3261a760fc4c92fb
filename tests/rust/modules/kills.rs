//! A kernel that is killed at any instant of a reload leaves nothing that the next one does not clear away.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;

use super::{eventually, expect_well, module};
use crate::harness::{Kernel, connect, private_copies, private_dir};

/// Kernels killed. Their instants are spread evenly over two reloads.
const KILLS: u32 = 24;

async fn start(dir: &Arc<TempDir>) -> Arc<Kernel> {
    // An artifact of many megabytes in a debug build: most of a reload is reading, hashing and copying it.
    let builder = Kernel::builder().dir(dir).module("faults", "");
    Arc::new(builder.start().await)
}

fn reload(kernel: &Kernel) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    http::Request::post("/modules/faults/reload")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {}", kernel.host_key))
        .header("content-type", "application/json")
        .body("{}".into())
        .unwrap()
}

/// Reloads until the kernel is gone.
async fn reload_on(kernel: Arc<Kernel>) {
    let (mut sender, _connection) = connect(&kernel.socket).await;
    while let Ok(answer) = sender.send_request(reload(&kernel)).await {
        assert_eq!(answer.status(), 200);
        // The next request must wait until the answer has been read.
        drop(http_body_util::BodyExt::collect(answer.into_body()).await);
        if sender.ready().await.is_err() {
            return;
        }
    }
}

/// Living processes that have something of `dir` on their command line.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| {
        let words = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&words).replace('\0', " "))
    });
    lines.filter(|line| line.contains(dir)).collect()
}

#[tokio::test]
async fn whatever_a_killed_kernel_had_under_way_is_cleared_away() {
    let dir = private_dir();
    let kernel = start(&dir).await;
    let began = Instant::now();
    let one = kernel.host("POST", "/modules/faults/reload?wait=drained");
    one.json(&json!({})).send().await.expect_status(200);
    let span = began.elapsed() * 2;
    drop(kernel);

    for round in 0..KILLS {
        let kernel = start(&dir).await;
        let reloading = tokio::spawn(reload_on(Arc::clone(&kernel)));
        // An instant, and nothing that is waited for.
        tokio::time::sleep(span * round / KILLS).await;
        kernel.signal(Signal::SIGKILL);
        kernel.wait().await;
        reloading.await.unwrap();
        assert!(!private_copies(dir.path()).is_empty(), "nothing to clear");
    }

    let kernel = start(&dir).await;
    // It serves, on the same socket, and counts from the beginning.
    let token = kernel.session(json!({})).await;
    expect_well(&kernel, &token).await;
    assert_eq!(module(&kernel).await["generation"], 1);
    assert_eq!(private_copies(dir.path()).len(), 1);
    // The lock, and its own directory.
    let entries = std::fs::read_dir(dir.path().join("data/modules")).unwrap();
    assert_eq!(entries.count(), 2);
    // A child that tries a library ends with its parent, or by itself.
    eventually(&kernel, "the end of every other process", async || {
        (processes_of(dir.path()).len() == 1).then_some(())
    })
    .await;
    kernel.signal(Signal::SIGTERM);
    assert!(kernel.wait().await.success());
    assert!(private_copies(dir.path()).is_empty());
}
