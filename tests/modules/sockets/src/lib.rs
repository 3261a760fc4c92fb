//! WebSockets that behave, and those that do not, each a route. `/echo` gives every message back, and does nothing else: third
//! parties' test suites talk to it.

use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use midplane_sdk::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use midplane_sdk::{Context, Draining, Result};

#[midplane_sdk::module(name = "sockets")]
async fn sockets(ctx: Context) -> Result<Router> {
    let (draining, number) = (ctx.draining(), ctx.generation());
    let last_word = {
        let draining = draining.clone();
        move |upgrade: WebSocketUpgrade| async move {
            upgrade.on_upgrade(|socket| last_word(socket, draining))
        }
    };
    Ok(Router::new()
        .route(
            "/echo",
            get(|up: WebSocketUpgrade| async { up.on_upgrade(echo) }),
        )
        .route("/small", get(small))
        .route(
            "/split",
            get(|up: WebSocketUpgrade| async { up.on_upgrade(split) }),
        )
        .route(
            "/spawned",
            get(|up: WebSocketUpgrade| async { up.on_upgrade(spawned) }),
        )
        .route(
            "/reverse-slow",
            get(|up: WebSocketUpgrade| async { up.on_upgrade(reverse_slow) }),
        )
        .route(
            "/flood",
            get(|up: WebSocketUpgrade| async { up.on_upgrade(flood) }),
        )
        .route("/last-word", get(last_word))
        .route(
            "/told",
            get(|up: WebSocketUpgrade| async { up.on_upgrade(told) }),
        )
        .route(
            "/panic",
            get(|up: WebSocketUpgrade| async { up.on_upgrade(panic) }),
        )
        .route(
            "/ignore",
            get(|up: WebSocketUpgrade| async { up.on_upgrade(ignore) }),
        )
        .route(
            "/close",
            get(|up: WebSocketUpgrade| async { up.on_upgrade(close) }),
        )
        .route("/protocols", get(protocols))
        .route(
            "/never",
            get(|| async { std::future::pending::<StatusCode>().await }),
        )
        .route("/plain", get(|| async { "not a WebSocket" }))
        .route(
            "/forbidden",
            get(|_up: WebSocketUpgrade| async { StatusCode::FORBIDDEN }),
        )
        .route("/generation", get(move |up| generation(up, number))))
}

/// Gives every message back.
async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Close(_)) || socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Echoes messages of up to ten bytes.
async fn small(upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(10).on_upgrade(echo)
}

/// The same with a half for each direction.
async fn split(socket: WebSocket) {
    let (mut sink, mut stream) = socket.split();
    while let Some(Ok(message)) = stream.next().await {
        if matches!(message, Message::Close(_)) || sink.send(message).await.is_err() {
            return;
        }
    }
}

/// The same on the module's own runtime.
async fn spawned(socket: WebSocket) {
    tokio::spawn(echo(socket));
}

/// Gives texts back, reversed, with a pause before each.
async fn reverse_slow(mut socket: WebSocket) {
    while let Some(Ok(Message::Text(text))) = socket.recv().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let reversed: String = text.chars().rev().collect();
        if socket.send(Message::text(reversed)).await.is_err() {
            return;
        }
    }
}

/// Sends without end, as fast as it may.
async fn flood(mut socket: WebSocket) {
    let message = Message::binary(vec![b'x'; 16 * 1024]);
    while socket.send(message.clone()).await.is_ok() {}
}

/// Says goodbye when the module drains, and then only listens.
async fn last_word(mut socket: WebSocket, draining: Draining) {
    draining.wait().await;
    if socket.send(Message::text("bye")).await.is_ok() {
        told(socket).await;
    }
}

/// Logs what it is told in the end.
async fn told(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if let Message::Close(frame) = message {
            let code = frame.map(|frame| frame.code);
            tracing::info!(?code, "a socket was closed");
        }
    }
}

/// Panics at the first message.
async fn panic(mut socket: WebSocket) {
    socket.recv().await;
    panic!("a socket panics on purpose");
}

/// Never reads.
async fn ignore(socket: WebSocket) {
    std::future::pending::<()>().await;
    drop(socket);
}

/// Closes with the code that it is sent, after a word.
async fn close(mut socket: WebSocket) {
    let Some(Ok(Message::Text(code))) = socket.recv().await else {
        return;
    };
    let frame = code.parse().ok().map(|code| CloseFrame {
        code,
        reason: "as you wish".into(),
    });
    let closed = async {
        socket.send(Message::text("closing")).await?;
        socket.send(Message::Close(frame)).await
    };
    if let Err(error) = closed.await {
        // A code that must not be sent.
        let _ = socket.send(Message::text(error.to_string())).await;
    }
}

/// Knows two protocols.
async fn protocols(upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.protocols(["chat.v2", "chat.v1"]);
    let mut response = upgrade.on_upgrade(|mut socket: WebSocket| async move {
        let name = socket.protocol().and_then(|name| name.to_str().ok());
        let name = name.unwrap_or("none").to_owned();
        // The client may have left.
        let _ = socket.send(Message::text(name)).await;
    });
    response
        .headers_mut()
        .insert("x-module", http::HeaderValue::from_static("sockets"));
    response
}

/// Says which generation it is, and stays.
async fn generation(upgrade: Option<WebSocketUpgrade>, number: u64) -> Response {
    let Some(upgrade) = upgrade else {
        return number.to_string().into_response();
    };
    upgrade.on_upgrade(move |mut socket: WebSocket| async move {
        if socket.send(Message::text(number.to_string())).await.is_ok() {
            echo(socket).await;
        }
    })
}
