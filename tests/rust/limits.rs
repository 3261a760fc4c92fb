//! Slow, greedy and crooked clients.

use serde_json::json;

use crate::harness::{Kernel, Raw, eventually};

const HEALTH: &str = "GET /health HTTP/1.1\r\n\r\n";

/// Runs the kernel as the child of a shell: then the test is not its host, for which places are kept.
const NOT_ITS_HOST: &str = r#""$@" & wait $!"#;

async fn expect_refused(kernel: &Kernel) {
    let mut over = Raw::connect(&kernel.socket).await;
    let answer = over.answer().await.unwrap();
    assert_eq!(answer.status(), 503, "{answer:?}");
    assert!(answer.body.contains("connection_limit"), "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(over.rest().await, "");
}

/// Connections that have been answered, so that they hold their places.
async fn hold(kernel: &Kernel, count: usize) -> Vec<Raw> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut raw = Raw::send(&kernel.socket, HEALTH).await;
        assert_eq!(raw.answer().await.unwrap().status(), 200);
        held.push(raw);
    }
    held
}

#[tokio::test]
async fn connections_are_bounded_for_all_and_for_each_process() {
    for (limits, shell, places) in [
        ("connections = 6\nconnections_per_process = 6", None, 6),
        (
            "connections = 6\nconnections_per_process = 6",
            Some(NOT_ITS_HOST),
            4,
        ),
        (
            "connections = 64\nconnections_per_process = 3",
            Some(NOT_ITS_HOST),
            3,
        ),
        ("connections = 64\nconnections_per_process = 3", None, 64),
    ] {
        let builder = Kernel::builder().config(&format!("[limits]\n{limits}"));
        let builder = match shell {
            Some(script) => builder.shell(script),
            None => builder,
        };
        let kernel = builder.start().await;
        let mut held = hold(&kernel, places).await;
        expect_refused(&kernel).await;
        // One that ends makes room.
        drop(held.pop());
        eventually("a place", || async {
            let mut raw = Raw::send(&kernel.socket, HEALTH).await;
            (raw.answer().await?.status() == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn requests_of_a_module_are_bounded() {
    let kernel = Kernel::builder()
        .config("[limits]\nrequests_per_module = 2")
        .module("slow", "")
        .module("hello", "")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    let get = |path: &str| kernel.get(path).bearer(&token);
    let mut one = get("/api/slow/events").stream().await;
    let mut two = get("/api/slow/events").stream().await;
    one.read_until("first").await;
    two.read_until("first").await;
    let refused = get("/api/slow/whoami").send().await;
    refused.expect_problem(503, "module_overloaded");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    get("/api/hello/hello").send().await.expect_status(200);
    drop(one);
    eventually("a place", || async {
        (get("/api/slow/whoami").send().await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn three_hundred_dribblers_hold_nobody_up() {
    let kernel = Kernel::start(&["hello"]).await;
    let mut dribblers = Vec::new();
    for _ in 0..300 {
        dribblers.push(Raw::send(&kernel.socket, "GET /hea").await);
    }
    for round in 0..5 {
        for dribbler in &mut dribblers {
            dribbler.write(&HEALTH[8 + round..=8 + round]).await;
        }
        kernel.get("/health").send().await.expect_status(200);
    }
    for dribbler in &mut dribblers {
        dribbler.write(&HEALTH[13..]).await;
        assert_eq!(dribbler.answer().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn without_descriptors_it_waits_and_goes_on() {
    let kernel = Kernel::builder()
        .shell(r#"ulimit -n 64; exec "$@""#)
        .module("hello", "")
        .start()
        .await;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(Raw::send(&kernel.socket, HEALTH).await);
    }
    kernel.wait_for_log("cannot accept a connection");
    waiting.drain(..90);
    for raw in &mut waiting {
        assert_eq!(raw.answer().await.unwrap().status(), 200);
    }
    kernel.get("/health").send().await.expect_status(200);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left() {
    let kernel = Kernel::builder()
        .config("[limits]\nwrite_stall_timeout = \"200ms\"")
        .module("slow", "")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    let request = format!("GET /api/slow/flood HTTP/1.1\r\nauthorization: Bearer {token}\r\n\r\n");
    let raw = Raw::send(&kernel.socket, request).await;
    let in_flight = || async {
        let module = kernel.host("GET", "/modules/slow").send().await.json();
        module["in_flight_requests"].as_u64().unwrap()
    };
    eventually("the flood", || async {
        (in_flight().await == 1).then_some(())
    })
    .await;
    eventually("its end", || async {
        (in_flight().await == 0).then_some(())
    })
    .await;
    let rest = raw.rest().await;
    assert!(!rest.ends_with("0\r\n\r\n"), "nobody can take it for whole");
}

#[tokio::test]
async fn requests_that_two_servers_could_read_differently_do_no_harm() {
    let kernel = Kernel::start(&["hello"]).await;
    let victim = kernel.issue(json!({"user": "victim"})).await;
    let smuggled = format!(
        "DELETE /sessions/{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
        victim["id"].as_str().unwrap()
    );
    let len = smuggled.len();
    let key = &kernel.host_key;
    for head in [
        format!("content-length: {len}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("transfer-encoding: chunked\r\ncontent-length: {len}\r\n\r\n0\r\n\r\n"),
        format!("content-length: 0\r\ncontent-length: {len}\r\n\r\n"),
        format!("content-length: 0, {len}\r\n\r\n"),
        "content-length: +0\r\n\r\n".to_owned(),
        "content-length: -1\r\n\r\n".to_owned(),
        "content-length: 0x0\r\n\r\n".to_owned(),
        "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(),
        "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned(),
        "transfer-encoding : chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "transfer-encoding:\u{b}chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "x: y\r\n content-length: 0\r\n\r\n".to_owned(),
        "x: y\r\n\tz\r\n\r\n".to_owned(),
        "x: y\0z\r\n\r\n".to_owned(),
        "x\0y: z\r\n\r\n".to_owned(),
        "x: y\rz: w\r\n\r\n".to_owned(),
        "x: y\n\n".to_owned(),
        "transfer-encoding: chunked\r\n\r\n0;\n\r\n\r\n".to_owned(),
        "transfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\n".to_owned(),
    ] {
        // The first of the two has the host's key: only what is smuggled would borrow it.
        let request = format!(
            "POST /keys/rotate HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n{head}{smuggled}"
        );
        let mut raw = Raw::send(&kernel.socket, request).await;
        tokio::io::AsyncWriteExt::shutdown(&mut raw.stream)
            .await
            .ok();
        let answers = raw.rest().await;
        assert!(!answers.contains("204 No Content"), "{head:?} {answers}");
        let path = format!("/sessions/{}", victim["id"].as_str().unwrap());
        let view = kernel.host("GET", &path).send().await.json();
        assert_eq!(view["status"], "active", "{head:?} {answers}");
    }
}
