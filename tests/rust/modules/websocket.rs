//! WebSockets: `tests/modules/sockets` through a real kernel.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::Kernel;

/// A kernel with the module `sockets`, and a token of a session for it.
async fn sockets(config: &str) -> (Kernel, String) {
    let builder = Kernel::builder().config(config);
    let kernel = builder.module("sockets", "").start().await;
    let token = kernel.session(json!({"user": "ada"})).await;
    (kernel, token)
}

#[tokio::test]
async fn every_kind_of_message_comes_back() {
    let (kernel, token) = sockets("").await;
    for path in ["echo", "split", "spawned"] {
        let mut socket = kernel
            .websocket(&format!("/api/sockets/{path}"), &token)
            .await;
        for message in [
            Message::text("hello"),
            Message::text(""),
            Message::binary(vec![]),
            Message::binary(vec![0, 255, 128]),
            Message::text("ä".repeat(50_000)),
            Message::binary(vec![7; 1 << 20]),
        ] {
            socket.send(message.clone()).await;
            assert_eq!(socket.recv().await, Some(message));
        }
        socket.stream.close(None).await.unwrap();
        while socket.recv().await.is_some() {}
    }
}
