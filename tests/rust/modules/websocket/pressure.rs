//! Back-pressure both ways, and limits of time and number.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;

use super::{at_rest, eventually, metric, module, sockets};
use crate::harness::{Frames, Kernel, PING, PONG, Raw, TEXT, masked};

/// What the process holds in memory, in KiB.
fn memory_kib(kernel: &Kernel) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", kernel.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap().trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test]
async fn a_module_that_does_not_read_leaves_the_rest_with_the_client() {
    let (kernel, token) = sockets("").await;
    let mut frames = Frames::open(&kernel, "/api/sockets/ignore", &token).await;
    let before = memory_kib(&kernel);
    let message = masked(0x82, &[7; 64 * 1024]);
    let mut sent = 0;
    // Until the socket takes no more for a while: nobody reads it.
    while let Ok(wrote) = tokio::time::timeout(
        Duration::from_millis(500),
        frames.stream.write_all(&message),
    )
    .await
    {
        wrote.unwrap();
        sent += 1;
        assert!(
            sent < 1000,
            "64 MB were taken from a client although nobody reads"
        );
    }
    let grown = memory_kib(&kernel).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more for {sent} messages");
    // Others are served meanwhile.
    let mut other = kernel.websocket("/api/sockets/echo", &token).await;
    other.send(Message::text("well")).await;
    assert_eq!(other.text().await, "well");
    drop(frames);
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_module() {
    let (kernel, token) = sockets("[limits]\nwrite_stall_timeout = \"1s\"").await;
    let before = memory_kib(&kernel);
    let frames = Frames::open(&kernel, "/api/sockets/flood", &token).await;
    // Its end comes by the time-out for clients that do not read, and not by memory.
    eventually(&kernel, "the end of the socket", async || {
        let sent = metric(&kernel, "module_websocket_messages_sent_total").await;
        let open = module(&kernel).await["open_websockets"] == 1;
        assert!(sent < 1000.0, "{sent} messages for nobody");
        (sent > 0.0 && !open).then_some(())
    })
    .await;
    let grown = memory_kib(&kernel).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
    at_rest(&kernel).await;
    drop(frames);
}

#[tokio::test]
async fn pings_of_a_client_that_does_not_read_cost_no_memory() {
    let limits = "[limits]\nwebsocket_messages_per_second = 1000000\nwrite_stall_timeout = \"1s\"";
    let (kernel, token) = sockets(limits).await;
    let before = memory_kib(&kernel);
    let mut frames = Frames::open(&kernel, "/api/sockets/echo", &token).await;
    let many: Vec<u8> = (0..512).flat_map(|_| masked(PING, &[7; 125])).collect();
    // 256 MB, unless the time-out for clients that do not read comes first.
    for _ in 0..4096 {
        if frames.stream.write_all(&many).await.is_err() {
            break;
        }
    }
    let grown = memory_kib(&kernel).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
    at_rest(&kernel).await;
}

#[tokio::test]
async fn a_flood_flows_as_fast_as_it_is_read() {
    let (kernel, token) = sockets("").await;
    let mut socket = kernel.websocket("/api/sockets/flood", &token).await;
    for _ in 0..2000 {
        match socket.recv().await {
            Some(Message::Binary(bytes)) => assert_eq!(bytes.len(), 16 * 1024),
            other => panic!("{other:?}"),
        }
    }
    // A module that always has more does not keep the socket open.
    socket.send(Message::Close(None)).await;
    while socket.recv().await.is_some() {}
    at_rest(&kernel).await;
}

#[tokio::test]
async fn too_many_messages_end_with_1008() {
    let (kernel, token) = sockets("[limits]\nwebsocket_messages_per_second = 1").await;
    for first in [TEXT, PING, PONG] {
        let mut frames = Frames::open(&kernel, "/api/sockets/echo", &token).await;
        // Ten seconds' worth may come at once.
        for _ in 0..10 {
            frames.send(first, b"x").await;
            if first != PONG {
                assert!(frames.recv().await.is_some());
            }
        }
        for _ in 0..3 {
            frames.send(first, b"x").await;
        }
        while let Some((first, payload)) = frames.recv().await {
            if first == 0x88 {
                assert_eq!(payload[..2], 1008_u16.to_be_bytes());
                assert!(payload.ends_with(b"send fewer each second"));
                break;
            }
        }
        assert_eq!(frames.recv().await, None);
    }
}

#[tokio::test]
async fn a_socket_that_nobody_uses_ends_with_1008() {
    let (kernel, token) = sockets("[limits]\nwebsocket_idle_timeout = \"300ms\"").await;
    let frames = Frames::open(&kernel, "/api/sockets/echo", &token).await;
    let (code, reason) = frames.closed().await;
    assert_eq!((code, reason.as_str()), (1008, "no message for too long"));
    at_rest(&kernel).await;
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_ends_with_1008_if_it_stays_silent() {
    let (kernel, token) = sockets("[limits]\nwebsocket_ping_interval = \"200ms\"").await;
    let mut frames = Frames::open(&kernel, "/api/sockets/echo", &token).await;
    for _ in 0..3 {
        assert_eq!(frames.recv().await, Some((PING, vec![])));
        frames.send(PONG, b"").await;
    }
    assert_eq!(frames.recv().await, Some((PING, vec![])));
    let (code, reason) = frames.closed().await;
    assert_eq!((code, reason.as_str()), (1008, "no answer to a ping"));
    at_rest(&kernel).await;
}

#[tokio::test]
async fn a_client_is_not_silent_because_the_module_does_not_read() {
    let (kernel, token) = sockets("[limits]\nwebsocket_ping_interval = \"100ms\"").await;
    let mut frames = Frames::open(&kernel, "/api/sockets/ignore", &token).await;
    // More than the windows, of which a module in a process of its own has several: from here on nothing is read.
    for _ in 0..128 {
        frames.send(TEXT, b"x").await;
    }
    for _ in 0..5 {
        assert_eq!(frames.recv().await, Some((PING, vec![])));
    }
    // That it has left shows in a ping that cannot be sent.
    drop(frames);
    at_rest(&kernel).await;
}

#[tokio::test]
async fn an_open_socket_keeps_its_connections_place() {
    let limits = "[limits]\nconnections = 4\nconnections_per_process = 4";
    let (kernel, token) = sockets(limits).await;
    let mut held = Vec::new();
    // The harness is the kernel's parent, for which no place is refused until all are taken. The connection that got the session may still have its place: it is the fourth.
    for _ in 0..3 {
        held.push(kernel.websocket("/api/sockets/echo", &token).await);
    }
    let a_place = async || {
        let mut raw = Raw::send(&kernel.socket, "GET /health HTTP/1.1\r\n\r\n").await;
        (raw.answer().await?.status() == 200).then_some(raw)
    };
    let last = eventually(&kernel, "the last place", a_place).await;
    let mut over = Raw::connect(&kernel.socket).await;
    assert_eq!(over.answer().await.unwrap().status(), 503);
    drop(held.pop());
    let again = eventually(&kernel, "a place that is given back", a_place).await;
    drop((last, again));
}

#[tokio::test]
async fn other_connections_time_outs_do_not_end_a_socket() {
    let limits = "[limits]\nheader_timeout = \"50ms\"\nkeep_alive_timeout = \"50ms\"\nwebsocket_ping_interval = \"150ms\"";
    let (kernel, token) = sockets(limits).await;
    let mut frames = Frames::open(&kernel, "/api/sockets/echo", &token).await;
    // Three times as long as either of them.
    assert_eq!(frames.recv().await, Some((PING, vec![])));
    frames.send(PONG, b"").await;
    frames.send(TEXT, b"well").await;
    assert_eq!(frames.recv().await, Some((TEXT, b"well".to_vec())));
}
