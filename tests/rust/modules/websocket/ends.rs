//! How sockets end: by the client, by the module, by its failure.

use tokio_tungstenite::tungstenite::Message;

use super::super::logged;
use super::{at_rest, module, sockets};
use crate::harness::{CLOSE, Frames, TEXT};

#[tokio::test]
async fn the_clients_close_frame_is_answered_and_told_to_the_module() {
    let (kernel, token) = sockets("").await;
    for (payload, answer, told) in [
        (&b""[..], &b""[..], "None"),
        (b"\x03\xe8", b"\x03\xe8", "Some(1000)"),
        (b"\x03\xe9away", b"\x03\xe9away", "Some(1001)"),
        (b"\x0f\xa0own", b"\x0f\xa0own", "Some(4000)"),
    ] {
        let mut frames = Frames::open(&kernel, "/api/sockets/told", &token).await;
        frames.send(CLOSE, payload).await;
        assert_eq!(frames.recv().await, Some((CLOSE, answer.to_vec())));
        assert_eq!(
            frames.recv().await,
            None,
            "the kernel closes the connection"
        );
        logged(&kernel, &["a socket was closed", told]).await;
    }
    at_rest(&kernel).await;
}

#[tokio::test]
async fn a_client_that_vanishes_is_told_to_the_module() {
    let (kernel, token) = sockets("").await;
    drop(Frames::open(&kernel, "/api/sockets/told", &token).await);
    logged(&kernel, &["a socket was closed", "Some(1006)"]).await;
    at_rest(&kernel).await;
}

#[tokio::test]
async fn a_module_closes_with_the_code_it_likes_after_what_it_sent() {
    let (kernel, token) = sockets("").await;
    for code in [1000, 1008, 1013, 3000, 4999] {
        let mut frames = Frames::open(&kernel, "/api/sockets/close", &token).await;
        frames.send(TEXT, code.to_string().as_bytes()).await;
        assert_eq!(frames.recv().await, Some((TEXT, b"closing".to_vec())));
        assert_eq!(frames.closed().await, (code, "as you wish".to_owned()));
    }
    for code in [999, 1004, 1005, 1006, 1015, 2000, 5000] {
        let mut frames = Frames::open(&kernel, "/api/sockets/close", &token).await;
        frames.send(TEXT, code.to_string().as_bytes()).await;
        assert_eq!(frames.recv().await, Some((TEXT, b"closing".to_vec())));
        let (first, error) = frames.recv().await.unwrap();
        assert_eq!(first, TEXT, "{code}");
        assert!(
            String::from_utf8(error)
                .unwrap()
                .contains("must not be sent")
        );
        assert_eq!(frames.closed().await.0, 1000, "its handler has ended");
    }
    at_rest(&kernel).await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_a_close_frame_is_cut() {
    let (kernel, token) = sockets("").await;
    let mut frames = Frames::open(&kernel, "/api/sockets/close", &token).await;
    frames.send(TEXT, b"1000").await;
    assert_eq!(frames.recv().await, Some((TEXT, b"closing".to_vec())));
    assert_eq!(frames.recv().await.unwrap().0, CLOSE);
    // What it goes on to send is nobody's.
    frames.send(TEXT, b"still here").await;
    assert_eq!(frames.recv().await, None);
    at_rest(&kernel).await;
}

#[tokio::test]
async fn a_panic_ends_its_socket_with_1011_and_no_other() {
    let (kernel, token) = sockets("").await;
    let mut other = kernel.websocket("/api/sockets/echo", &token).await;
    let mut frames = Frames::open(&kernel, "/api/sockets/panic", &token).await;
    frames.send(TEXT, b"now").await;
    let (code, reason) = frames.closed().await;
    assert_eq!((code, reason.as_str()), (1011, "the module failed"));
    logged(&kernel, &["ERROR", "a socket panics on purpose"]).await;
    other.send(Message::text("well")).await;
    assert_eq!(other.text().await, "well");
    drop(other);
    at_rest(&kernel).await;
    assert_eq!(module(&kernel).await["requests"]["1xx"], 2);
}
