//! Messages: whole, in pieces, at the limit and over it, and what breaks the protocol.

use tokio_tungstenite::tungstenite::Message;

use super::{at_rest, metric, sockets};
use crate::harness::{BINARY, CLOSE, Frames, PING, PONG, TEXT, masked};

const ECHO: &str = "/api/sockets/echo";

#[tokio::test]
async fn every_kind_of_message_comes_back() {
    let (kernel, token) = sockets("").await;
    let messages = [
        Message::text("hello"),
        Message::text(""),
        Message::binary(vec![]),
        Message::binary(vec![0, 255, 128]),
        Message::text("ä".repeat(50_000)),
        Message::binary(vec![7; 1 << 20]),
    ];
    for path in ["echo", "split", "spawned"] {
        let path = format!("/api/sockets/{path}");
        let mut socket = kernel.websocket(&path, &token).await;
        for message in &messages {
            socket.send(message.clone()).await;
            assert_eq!(socket.recv().await.as_ref(), Some(message), "{path}");
        }
        socket.stream.close(None).await.unwrap();
        while socket.recv().await.is_some() {}
    }
    at_rest(&kernel).await;
    let count = 3.0 * messages.len() as f64;
    for name in ["messages_received", "messages_sent"] {
        let name = format!("module_websocket_{name}_total");
        assert_eq!(metric(&kernel, &name).await, count, "{name}");
    }
    assert_eq!(metric(&kernel, "module_open_websockets").await, 0.0);
    assert!(!kernel.log().contains("ERROR"), "{}", kernel.log());
}

#[tokio::test]
async fn fragments_are_put_together_with_control_frames_between_them() {
    let (kernel, token) = sockets("").await;
    let mut frames = Frames::open(&kernel, ECHO, &token).await;
    frames.send(0x01, b"one ").await;
    frames.send(PING, b"still there?").await;
    assert_eq!(frames.recv().await, Some((PONG, b"still there?".to_vec())));
    frames.send(0x00, b"").await;
    // A character cut in two.
    frames.send(0x00, &"ä".as_bytes()[..1]).await;
    frames.send(PONG, b"nobody asked").await;
    frames.send(0x80, &"ä".as_bytes()[1..]).await;
    assert_eq!(
        frames.recv().await,
        Some((TEXT, "one ä".as_bytes().to_vec()))
    );
    // Byte by byte, as a socket may deliver it.
    for byte in masked(BINARY, b"slow") {
        frames.send_bytes(&[byte]).await;
    }
    assert_eq!(frames.recv().await, Some((BINARY, b"slow".to_vec())));
    // And all at once.
    let mut together: Vec<u8> = (0..100).flat_map(|_| masked(TEXT, b"x")).collect();
    together.extend(masked(CLOSE, &1000_u16.to_be_bytes()));
    frames.send_bytes(&together).await;
    let mut echoed = 0;
    while let Some((first, _)) = frames.recv().await {
        if first == CLOSE {
            break;
        }
        echoed += 1;
    }
    assert!(echoed <= 100, "{echoed}");
}

#[tokio::test]
async fn a_message_over_the_limit_ends_with_1009_and_one_at_it_does_not() {
    let (kernel, token) = sockets("[limits]\nwebsocket_message_bytes = \"1KiB\"").await;
    for (path, limit) in [(ECHO, 1024), ("/api/sockets/small", 10)] {
        let whole = vec![b'x'; limit];
        let over = vec![b'x'; limit + 1];
        let mut frames = Frames::open(&kernel, path, &token).await;
        frames.send(TEXT, &whole).await;
        assert_eq!(frames.recv().await, Some((TEXT, whole.clone())));
        frames.send(BINARY, &over).await;
        let (code, reason) = frames.closed().await;
        assert_eq!(code, 1009);
        assert!(reason.contains(&limit.to_string()), "{reason}");
        // In fragments it is the sum that counts.
        let mut frames = Frames::open(&kernel, path, &token).await;
        frames.send(0x02, &whole).await;
        frames.send(0x80, b"x").await;
        assert_eq!(frames.closed().await.0, 1009);
        // A length that is only claimed costs nothing.
        let mut frames = Frames::open(&kernel, path, &token).await;
        let mut claim = vec![BINARY, 0xff];
        claim.extend((1_u64 << 62).to_be_bytes());
        frames
            .send_bytes(&[&claim[..], &[1, 2, 3, 4]].concat())
            .await;
        assert_eq!(frames.closed().await.0, 1009);
    }
    at_rest(&kernel).await;
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_with_its_code() {
    let (kernel, token) = sockets("").await;
    let unmasked = vec![TEXT, 2, b'h', b'i'];
    let code = |code: u16| code.to_be_bytes().to_vec();
    for (name, bytes, expect) in [
        ("not masked", unmasked, 1002),
        ("reserved bit", masked(0xc1, b"x"), 1002),
        ("reserved opcode", masked(0x83, b"x"), 1002),
        ("reserved control opcode", masked(0x8b, b"x"), 1002),
        ("continuation of nothing", masked(0x80, b"x"), 1002),
        ("ping in fragments", masked(0x09, b"x"), 1002),
        ("long ping", masked(PING, &[0; 126]), 1002),
        (
            "message in a message",
            [masked(0x01, b"x"), masked(TEXT, b"y")].concat(),
            1002,
        ),
        ("half a code", masked(CLOSE, &[3]), 1002),
        ("code 999", masked(CLOSE, &code(999)), 1002),
        ("code 1005", masked(CLOSE, &code(1005)), 1002),
        ("code 1006", masked(CLOSE, &code(1006)), 1002),
        ("not UTF-8", masked(TEXT, b"\xff\xfe"), 1007),
        ("cut UTF-8", masked(TEXT, &"ä".as_bytes()[..1]), 1007),
        (
            "not UTF-8 in fragments",
            [masked(0x01, b"\xce\xba"), masked(0x80, b"\xff")].concat(),
            1007,
        ),
        (
            "reason not UTF-8",
            masked(CLOSE, &[&code(1000)[..], b"\xff"].concat()),
            1007,
        ),
    ] {
        println!("{name}");
        let mut frames = Frames::open(&kernel, ECHO, &token).await;
        frames.send_bytes(&bytes).await;
        assert_eq!(frames.closed().await.0, expect, "{name}");
    }
    at_rest(&kernel).await;
    // The client's fault, not the module's.
    assert!(!kernel.log().contains("ERROR"), "{}", kernel.log());
}

#[tokio::test]
async fn order_is_kept_and_kinds_too() {
    let (kernel, token) = sockets("").await;
    let mut socket = kernel.websocket("/api/sockets/reverse-slow", &token).await;
    for number in 10..30 {
        socket.send(Message::text(format!("-{number}"))).await;
    }
    for number in 10..30 {
        let reversed: String = format!("-{number}").chars().rev().collect();
        assert_eq!(socket.text().await, reversed);
    }
}
