//! WebSockets through the SDK's stand-in for the kernel: what an author may rely on in unit tests, and so in a kernel.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use midplane_sdk::testing::{self, Module, WebSocket as Client, session};
use midplane_sdk::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use midplane_sdk::{Context, Result, Session};
use tokio::sync::Notify;

/// Counts what would else not be seen from outside.
#[derive(Clone, Default)]
struct Seen {
    sent: Arc<AtomicUsize>,
    dropped: Arc<Notify>,
}

async fn sample(ctx: Context, seen: Seen) -> Result<Router> {
    let draining = ctx.draining();
    let flood = seen.clone();
    Ok(Router::new()
        .route("/echo", get(|up: WebSocketUpgrade| async { up.on_upgrade(echo) }))
        .route(
            "/split",
            get(|up: WebSocketUpgrade| async {
                up.on_upgrade(|socket| async {
                    let (sink, stream) = socket.split();
                    let stream = stream.filter(|message| {
                        let closes = matches!(message, Ok(Message::Close(_)));
                        std::future::ready(!closes)
                    });
                    // It ends with the socket.
                    let _ = stream.forward(sink).await;
                })
            }),
        )
        .route(
            "/spawned",
            get(|up: WebSocketUpgrade| async {
                up.on_upgrade(|socket| async {
                    tokio::spawn(echo(socket));
                })
            }),
        )
        .route(
            "/whoami",
            get(|s: Session, up: WebSocketUpgrade| async move {
                up.protocols(["b", "a"]).on_upgrade(|mut socket| async move {
                    let protocol = format!("{:?}", socket.protocol());
                    let text = format!("{} {protocol}", s.user());
                    socket.send(Message::text(text)).await.unwrap();
                })
            }),
        )
        .route(
            "/close",
            get(|up: WebSocketUpgrade| async { up.on_upgrade(close) }),
        )
        .route(
            "/flood",
            get(|up: WebSocketUpgrade| async {
                up.on_upgrade(|mut socket| async move {
                    struct Told(Arc<Notify>);
                    impl Drop for Told {
                        fn drop(&mut self) {
                            self.0.notify_one();
                        }
                    }
                    let _told = Told(flood.dropped);
                    while socket.send(Message::text("more")).await.is_ok() {
                        flood.sent.fetch_add(1, Ordering::SeqCst);
                    }
                })
            }),
        )
        .route(
            "/last-word",
            get(|up: WebSocketUpgrade| async {
                up.on_upgrade(|mut socket| async move {
                    draining.wait().await;
                    socket.send(Message::text("bye")).await.unwrap();
                    let last = socket.recv().await.unwrap().unwrap();
                    assert!(matches!(last, Message::Close(Some(frame)) if frame.code == close_code::RESTART));
                    assert!(socket.recv().await.is_none());
                })
            }),
        )
        .route(
            "/panic",
            get(|up: WebSocketUpgrade| async {
                up.on_upgrade(|mut socket| async move {
                    socket.recv().await;
                    panic!("on purpose");
                })
            }),
        )
        .route("/forbidden", get(|_up: WebSocketUpgrade| async { StatusCode::FORBIDDEN }))
        .route("/either", get(either)))
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Close(_)) || socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Tries what must not be sent, and then closes.
async fn close(mut socket: WebSocket) {
    let frame = |code, reason: &str| {
        Message::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        }))
    };
    assert!(socket.send(frame(close_code::ABNORMAL, "")).await.is_err());
    assert!(socket.send(frame(4000, &"x".repeat(124))).await.is_err());
    socket.send(frame(4000, "enough")).await.unwrap();
    assert!(socket.send(Message::text("late")).await.is_err());
    // It ends with what it was closed with.
    assert_eq!(socket.recv().await.unwrap().unwrap(), frame(4000, "enough"));
    assert!(socket.recv().await.is_none());
}

async fn either(upgrade: Option<WebSocketUpgrade>) -> Response {
    match upgrade {
        Some(upgrade) => upgrade.on_upgrade(echo),
        None => "no socket".into_response(),
    }
}

async fn module() -> (Module, Seen) {
    let seen = Seen::default();
    let config = serde_json::json!({});
    let given = seen.clone();
    let module = testing::start(|ctx: Context| sample(ctx, given), config);
    (module.await.unwrap(), seen)
}

fn request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

async fn open(module: &Module, path: &str) -> Client {
    let opened = module.websocket(Some(session("ada")), request(path));
    opened.await.unwrap()
}

fn code(message: Option<Message>) -> u16 {
    match message {
        Some(Message::Close(Some(frame))) => frame.code,
        other => panic!("not closed: {other:?}"),
    }
}

#[tokio::test]
async fn messages_come_back_whoever_serves_the_socket() {
    let (module, _seen) = module().await;
    for path in ["/echo", "/split", "/spawned", "/either"] {
        let mut socket = open(&module, path).await;
        for message in [
            Message::text("hello"),
            Message::text(""),
            Message::binary(vec![]),
            Message::binary(vec![7; 100_000]),
        ] {
            socket.send(message.clone()).await;
            assert_eq!(socket.recv().await, Some(message), "{path}");
        }
        socket.send(Message::Close(None)).await;
        assert_eq!(code(socket.recv().await), 1005, "{path}");
        assert_eq!(socket.recv().await, None);
    }
}

#[tokio::test]
async fn a_protocol_is_agreed_on_and_the_session_is_there() {
    let (module, _seen) = module().await;
    let mut request = request("/whoami");
    let offered = "c, a, b".parse().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offered);
    let mut socket = module
        .websocket(Some(session("ada")), request)
        .await
        .unwrap();
    assert_eq!(socket.headers()["sec-websocket-protocol"], "a");
    assert_eq!(socket.recv().await, Some(Message::text("ada Some(\"a\")")));
    assert_eq!(code(socket.recv().await), close_code::NORMAL);
}

#[tokio::test]
async fn a_socket_closes_once_with_a_code_that_may_be_sent() {
    let (module, _seen) = module().await;
    let mut socket = open(&module, "/close").await;
    assert_eq!(code(socket.recv().await), 4000);
    assert_eq!(socket.recv().await, None);
}

#[tokio::test]
async fn a_handler_waits_for_a_client_that_does_not_read() {
    let (module, seen) = module().await;
    let mut socket = open(&module, "/flood").await;
    assert_eq!(socket.recv().await, Some(Message::text("more")));
    let sent = seen.sent.load(Ordering::SeqCst);
    assert!(sent < 1000, "{sent} messages for one that was read");
    for _ in 0..sent * 3 {
        assert_eq!(socket.recv().await, Some(Message::text("more")));
    }
    // The client leaving drops the handler's future.
    drop(socket);
    seen.dropped.notified().await;
}

#[tokio::test]
async fn a_drain_lets_the_handler_have_a_last_word() {
    let (module, _seen) = module().await;
    let mut socket = open(&module, "/last-word").await;
    module.drain();
    assert_eq!(socket.recv().await, Some(Message::text("bye")));
    let restart = CloseFrame {
        code: close_code::RESTART,
        reason: "".into(),
    };
    socket.send(Message::Close(Some(restart))).await;
    assert_eq!(code(socket.recv().await), close_code::RESTART);
}

#[tokio::test]
async fn a_panic_is_1011_and_the_module_goes_on() {
    let (module, _seen) = module().await;
    let mut socket = open(&module, "/panic").await;
    socket.send(Message::text("now")).await;
    assert_eq!(code(socket.recv().await), close_code::ERROR);
    let mut socket = open(&module, "/echo").await;
    socket.send(Message::text("well")).await;
    assert_eq!(socket.recv().await, Some(Message::text("well")));
}

#[tokio::test]
async fn what_is_no_handshake_is_told_so_and_a_handshake_may_be_declined() {
    let (module, _seen) = module().await;
    let answer = module.call(Some(session("ada")), request("/echo")).await;
    assert_eq!(answer.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(answer.headers()["sec-websocket-version"], "13");
    let answer = module.call(Some(session("ada")), request("/either")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let declined = module.websocket(Some(session("ada")), request("/forbidden"));
    let Err(error) = declined.await else {
        panic!("a socket although the handler declined");
    };
    assert!(error.to_string().contains("403"), "{error}");
}
