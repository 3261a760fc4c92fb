//! The opening handshake (RFC 6455 section 4.2): what is refused, and what a module may answer.

use serde_json::json;

use super::{at_rest, sockets};
use crate::harness::{Answer, Frames, Kernel, Raw, Request, TEXT, eventually, masked};

/// A good handshake, but for what is changed: `None` takes a field away.
fn handshake(
    kernel: &Kernel,
    (method, path): (&str, &str),
    token: &str,
    changes: &[(&str, Option<&str>)],
) -> Request {
    let fields = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let mut request = kernel.request(method, path).bearer(token);
    for (name, value) in fields {
        if !changes.iter().any(|(changed, _)| *changed == name) {
            request = request.header(name, value);
        }
    }
    for (name, value) in changes {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    request
}

const ECHO: (&str, &str) = ("GET", "/api/sockets/echo");

#[tokio::test]
async fn a_handshake_that_is_not_as_it_should_be_is_refused_with_a_sentence() {
    let (kernel, token) = sockets("").await;
    for changes in [
        &[("connection", None)][..],
        &[("connection", Some("keep-alive"))],
        &[("sec-websocket-key", None)],
        &[("sec-websocket-key", Some("short"))],
        &[("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ"))],
        &[("sec-websocket-version", None)],
    ] {
        let answer = handshake(&kernel, ECHO, &token, changes).send().await;
        answer.expect_problem(400, "invalid_handshake");
        assert!(!answer.has_header("x-midplane-module"), "{answer}");
    }
    for version in ["12", "14", "8", "x"] {
        let changes = [("sec-websocket-version", Some(version))];
        let answer = handshake(&kernel, ECHO, &token, &changes).send().await;
        answer.expect_problem(426, "upgrade_required");
        assert_eq!(answer.header("sec-websocket-version"), "13");
        assert_eq!(answer.header("upgrade"), "websocket");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let request = handshake(&kernel, (method, ECHO.1), &token, &[]);
        request
            .send()
            .await
            .expect_problem(400, "invalid_handshake");
    }
    let with_body = handshake(&kernel, ECHO, &token, &[]).body("early");
    with_body
        .send()
        .await
        .expect_problem(400, "invalid_handshake");
    let old = format!(
        "GET {} HTTP/1.0\r\nauthorization: Bearer {token}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ECHO.1
    );
    let mut old = Raw::send(&kernel.socket, &old).await;
    let answer = old.answer().await.unwrap();
    assert_eq!(answer.status(), 400, "{answer:?}");
    assert!(answer.body.contains("invalid_handshake"), "{answer:?}");
    at_rest(&kernel).await;
}

#[tokio::test]
async fn a_handshake_is_authenticated_as_any_request() {
    let (kernel, token) = sockets("").await;
    let refused = |answer: Answer, status, code| {
        answer.expect_problem(status, code);
    };
    let anonymous = kernel.get(ECHO.1).header("upgrade", "websocket");
    refused(anonymous.send().await, 401, "credential_required");
    let forged = handshake(&kernel, ECHO, &format!("{token}x"), &[]);
    refused(forged.send().await, 401, "invalid_token");
    let host = handshake(&kernel, ECHO, &kernel.host_key, &[]);
    refused(host.send().await, 403, "insufficient_scope");
    let page = [("origin", Some("https://example.com"))];
    let page = handshake(&kernel, ECHO, &token, &page);
    refused(page.send().await, 403, "origin_not_allowed");
    // The kernel's own routes are no WebSockets, whoever asks.
    let health = handshake(&kernel, ("GET", "/health"), &kernel.host_key, &[]);
    health.send().await.expect_status(200);
}

#[tokio::test]
async fn a_module_may_decline_a_handshake() {
    let (kernel, token) = sockets("").await;
    let ask = async |path: &str| {
        let path = format!("/api/sockets/{path}");
        handshake(&kernel, ("GET", &path), &token, &[]).send().await
    };
    let answer = ask("plain").await;
    assert_eq!(answer.expect_status(200).text(), "not a WebSocket");
    ask("forbidden").await.expect_status(403);
    ask("nowhere").await.expect_status(404);
    at_rest(&kernel).await;
}

#[tokio::test]
async fn a_websockets_route_tells_others_so() {
    let (kernel, token) = sockets("").await;
    let answer = kernel.get(ECHO.1).bearer(&token).send().await;
    answer.expect_status(426);
    assert_eq!(answer.header("upgrade"), "websocket");
    assert_eq!(answer.header("connection"), "upgrade");
    assert_eq!(answer.header("sec-websocket-version"), "13");
    assert_eq!(answer.json()["code"], "upgrade_required");
    // Another upgrade is none of ours, and is left alone (RFC 9110 section 7.8).
    let other = kernel.get("/api/sockets/plain").bearer(&token);
    let other = other
        .header("upgrade", "h2c")
        .header("connection", "upgrade");
    other.send().await.expect_status(200);
}

#[tokio::test]
async fn a_module_that_never_answers_is_left_in_peace_until_the_client_goes() {
    let (kernel, token) = sockets("").await;
    let request = handshake(&kernel, ("GET", "/api/sockets/never"), &token, &[]);
    let waiting = tokio::spawn(request.send());
    eventually("the request", || async {
        (super::module(&kernel).await["in_flight_requests"] == 1).then_some(())
    })
    .await;
    waiting.abort();
    at_rest(&kernel).await;
    let cancelled = &super::module(&kernel).await["requests"]["cancelled"];
    assert_eq!(*cancelled, json!(1));
}

#[tokio::test]
async fn the_first_of_the_clients_protocols_that_the_module_knows_is_agreed_on() {
    let (kernel, token) = sockets("").await;
    for (offered, expect) in [
        (&["chat.v1"][..], Some("chat.v1")),
        (&["chat.v1, chat.v2"], Some("chat.v1")),
        (&["chat.v3, chat.v2"], Some("chat.v2")),
        (&[], None),
    ] {
        let path = "/api/sockets/protocols";
        let mut socket = kernel.websocket_offering(path, &token, offered).await;
        let agreed = socket.headers.get("sec-websocket-protocol");
        let agreed = agreed.map(|name| name.to_str().unwrap().to_owned());
        assert_eq!(agreed.as_deref(), expect, "{offered:?}");
        assert_eq!(socket.headers["x-module"], "sockets");
        assert_eq!(socket.headers["x-midplane-module"], "sockets#1");
        assert!(socket.headers.contains_key("x-request-id"));
        assert_eq!(socket.text().await, expect.unwrap_or("none"));
        assert_eq!(socket.closed().await.0, 1000);
    }
    for (more, expect) in [
        // Known to nobody: the client may go on without.
        ("sec-websocket-protocol: chat.v3\r\n", "none"),
        (
            "sec-websocket-protocol: chat.v3\r\nsec-websocket-protocol: chat.v2\r\n",
            "chat.v2",
        ),
    ] {
        let path = "/api/sockets/protocols";
        let mut frames = Frames::open_with(&kernel.socket, path, &token, more).await;
        assert_eq!(frames.recv().await, Some((TEXT, expect.into())));
        assert_eq!(frames.closed().await.0, 1000);
    }
}

#[tokio::test]
async fn extensions_are_declined() {
    let (kernel, token) = sockets("").await;
    let more = "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n";
    // It looks at the answer.
    let mut frames = Frames::open_with(&kernel.socket, ECHO.1, &token, more).await;
    // What would be a compressed message is none.
    frames.send(0xc1, b"compressed").await;
    assert_eq!(frames.closed().await.0, 1002);
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_are_not_lost() {
    let (kernel, token) = sockets("").await;
    let early = masked(TEXT, b"early");
    let mut frames = Frames::open_followed_by(&kernel, ECHO.1, &token, &early).await;
    assert_eq!(frames.recv().await, Some((TEXT, b"early".to_vec())));
    frames.send(TEXT, b"later").await;
    assert_eq!(frames.recv().await, Some((TEXT, b"later".to_vec())));
}

#[tokio::test]
async fn a_connection_that_served_requests_may_become_a_socket() {
    let (kernel, token) = sockets("").await;
    let mut raw = Raw::connect(&kernel.socket).await;
    for path in ["/api/sockets/plain", "/api/sockets/echo"] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        assert!(raw.write(request).await);
        let answer = raw.answer().await.unwrap();
        assert!([200, 426].contains(&answer.status()), "{answer:?}");
    }
    let mut frames = Frames::handshake_on(raw.stream, ECHO.1, &token, "", &[]).await;
    frames.send(TEXT, b"well").await;
    assert_eq!(frames.recv().await, Some((TEXT, b"well".to_vec())));
}
