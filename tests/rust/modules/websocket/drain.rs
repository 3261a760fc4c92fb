//! Sockets that are open when their module goes: a last word, 1012, and the old code leaves the process.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::super::logged;
use super::{at_rest, eventually, module, sockets};
use crate::harness::{Frames, Kernel, TEXT, WebSocket};

const RESTART: &str = "the module was replaced or the kernel is shutting down";

async fn reload(kernel: &Kernel) -> Value {
    let reload = kernel.host("POST", "/modules/sockets/reload?wait=drained");
    reload
        .json(&json!({}))
        .send()
        .await
        .expect_status(200)
        .json()
}

/// Whether retired code leaves the process here at all.
fn unloads() -> bool {
    cfg!(all(target_os = "linux", target_env = "gnu"))
}

#[tokio::test]
async fn a_reload_ends_open_sockets_with_1012_and_unloads_what_they_ran() {
    let (kernel, token) = sockets("").await;
    let mut old: Vec<WebSocket> = Vec::new();
    for _ in 0..5 {
        let mut socket = kernel.websocket("/api/sockets/generation", &token).await;
        assert_eq!(socket.text().await, "1");
        old.push(socket);
    }
    for path in ["ignore", "told", "spawned", "reverse-slow", "split"] {
        let path = format!("/api/sockets/{path}");
        old.push(kernel.websocket(&path, &token).await);
    }
    let flood = kernel.websocket("/api/sockets/flood", &token).await;
    let flooded = tokio::spawn(flood.closed());
    let mut last = Frames::open(&kernel, "/api/sockets/last-word", &token).await;
    let reloaded = tokio::spawn({
        let request = kernel.host("POST", "/modules/sockets/reload?wait=drained");
        request.json(&json!({})).send()
    });
    assert_eq!(last.recv().await, Some((TEXT, b"bye".to_vec())));
    assert_eq!(last.closed().await, (1012, RESTART.to_owned()));
    // New ones go to the new generation at once.
    let mut new = kernel.websocket("/api/sockets/generation", &token).await;
    assert_eq!(new.text().await, "2");
    for socket in old {
        assert_eq!(socket.closed().await, (1012, RESTART.to_owned()));
    }
    assert_eq!(flooded.await.unwrap().0, 1012);
    let receipt = reloaded.await.unwrap().expect_status(200).json();
    assert_eq!(receipt["to"]["generation"], 2, "{receipt}");
    assert_eq!(receipt["requests"]["cancelled"], 0, "{receipt}");
    if unloads() {
        assert_eq!(receipt["unloaded"], true, "{receipt}");
        assert_eq!(module(&kernel).await["resident_generations"], 1);
    }
    logged(&kernel, &["a socket was closed", "Some(1012)"]).await;
    new.send(Message::text("well")).await;
    assert_eq!(new.text().await, "well");
    assert!(!kernel.log().contains("was cut"), "{}", kernel.log());
}

#[tokio::test]
async fn a_client_that_does_not_answer_keeps_no_code() {
    let (kernel, token) = sockets("").await;
    // Opened, and never looked at.
    let _mute = Frames::open(&kernel, "/api/sockets/echo", &token).await;
    let _full = Frames::open(&kernel, "/api/sockets/flood", &token).await;
    let receipt = reload(&kernel).await;
    if unloads() {
        assert_eq!(receipt["unloaded"], true, "{receipt}");
    }
    assert_eq!(receipt["requests"]["cancelled"], 0, "{receipt}");
}

#[tokio::test]
async fn sockets_come_and_go_while_reloads_go_on() {
    let (kernel, token) = sockets("").await;
    let kernel = std::sync::Arc::new(kernel);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (kernel, token) = (std::sync::Arc::clone(&kernel), token.clone());
        clients.spawn(async move {
            let mut newest = 0;
            while newest < 6 {
                let mut socket = kernel.websocket("/api/sockets/generation", &token).await;
                let generation: u64 = socket.text().await.parse().unwrap();
                assert!(generation >= newest, "{generation} after {newest}");
                newest = generation;
                if newest < 6 {
                    assert_eq!(socket.closed().await.0, 1012);
                }
            }
        });
    }
    for generation in 2..=6 {
        eventually(&kernel, "four sockets", async || {
            let open = super::module(&kernel).await["open_websockets"] == 4;
            open.then_some(())
        })
        .await;
        let receipt = reload(&kernel).await;
        assert_eq!(receipt["to"]["generation"], generation, "{receipt}");
        assert!(!unloads() || receipt["unloaded"] == true, "{receipt}");
    }
    clients.join_all().await;
    at_rest(&kernel).await;
    assert!(!kernel.log().contains("ERROR"), "{}", kernel.log());
}

#[tokio::test]
async fn an_unload_ends_open_sockets() {
    let (kernel, token) = sockets("").await;
    let socket = kernel.websocket("/api/sockets/echo", &token).await;
    let unload = kernel.host("DELETE", "/modules/sockets");
    let unloaded = tokio::spawn(unload.send());
    assert_eq!(socket.closed().await.0, 1012);
    unloaded.await.unwrap().expect_status(200);
}

#[tokio::test]
async fn the_kernels_end_is_told_to_every_socket() {
    let (kernel, token) = sockets("").await;
    let echo = kernel.websocket("/api/sockets/echo", &token).await;
    let mut last = Frames::open(&kernel, "/api/sockets/last-word", &token).await;
    kernel.signal(Signal::SIGTERM);
    assert_eq!(last.recv().await, Some((TEXT, b"bye".to_vec())));
    assert_eq!(last.closed().await.0, 1012);
    assert_eq!(echo.closed().await.0, 1012);
    let status = kernel.wait().await;
    assert!(status.success(), "{status}");
    logged(&kernel, &["module retired", "sockets#1"]).await;
}
