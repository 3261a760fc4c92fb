//! The socket as a client sees it, on the whole module with the echo.

use std::collections::HashMap;

use axum::body::Body;
use http::Request as HttpRequest;
use midplane_sdk::testing::{Module, WebSocket as ClientSocket};
use midplane_sdk::ws::{CloseFrame, Message, close_code};
use serde_json::{Value, json};

use super::{ANSWERING_MAX, REQUESTS_MAX};
use crate::tests::{DEADLINE, ada, create, json, name, on, start};

async fn connect(module: &Module) -> ClientSocket {
    let request = HttpRequest::get("/ws").body(Body::empty()).unwrap();
    module.websocket(Some(ada()), request).await.unwrap()
}

async fn send(socket: &mut ClientSocket, message: Value) {
    socket.send(Message::text(message.to_string())).await;
}

async fn receive(socket: &mut ClientSocket) -> Value {
    let message = tokio::time::timeout(DEADLINE, socket.recv()).await;
    let message = message.expect("in time").expect("the socket is open");
    serde_json::from_str(message.to_text().expect("a text message")).unwrap()
}

fn with_id(id: &str, mut request: Value) -> Value {
    request["id"] = json!(id);
    request
}

/// The answers to `id` up to its last; those to others are dropped.
async fn answers(socket: &mut ClientSocket, id: &str) -> Vec<Value> {
    let mut answers = Vec::new();
    loop {
        let answer = receive(socket).await;
        if answer["id"] != id {
            continue;
        }
        let is_event = answer.get("event").is_some();
        answers.push(answer);
        if !is_event {
            return answers;
        }
    }
}

fn said(answers: &[Value]) -> String {
    let deltas = answers
        .iter()
        .filter_map(|answer| answer.pointer("/event/update/delta")?.as_str());
    deltas.collect()
}

#[tokio::test]
async fn a_stream_carries_its_id_and_says_when_it_is_over() {
    let module = start(json!({})).await;
    let mut socket = connect(&module).await;
    send(&mut socket, with_id("a", create("Hello there"))).await;
    let answers = answers(&mut socket, "a").await;
    assert_eq!(name(&answers[0]["event"]), "thread.created");
    assert_eq!(said(&answers), "Hello there");
    assert_eq!(answers.last(), Some(&json!({"id": "a", "end": "complete"})));
}

#[tokio::test]
async fn what_is_no_stream_has_one_answer() {
    let module = start(json!({})).await;
    let mut socket = connect(&module).await;
    send(
        &mut socket,
        with_id("1", json!({"type": "threads.list", "params": {}})),
    )
    .await;
    assert_eq!(
        receive(&mut socket).await,
        json!({"id": "1", "result": {"data": [], "has_more": false}})
    );
    let missing = on("threads.get_by_id", &json!("thr_none"), json!({}));
    send(&mut socket, with_id("2", missing)).await;
    let refused = receive(&mut socket).await;
    assert_eq!(
        (&refused["id"], &refused["problem"]["status"]),
        (&json!("2"), &json!(404))
    );
    assert_eq!(refused["problem"]["code"], "thread_not_found");
    // An id may be used again once its request is over.
    send(
        &mut socket,
        with_id("1", json!({"type": "threads.list", "params": {}})),
    )
    .await;
    assert_eq!(receive(&mut socket).await["id"], "1");
}

#[tokio::test]
async fn several_turns_stream_at_once() {
    let module = start(json!({"echo_delay": "5ms"})).await;
    let mut socket = connect(&module).await;
    let texts: HashMap<String, String> = (0..REQUESTS_MAX)
        .map(|i| (format!("turn {i}"), format!("one two three {i}")))
        .collect();
    for (id, text) in &texts {
        send(&mut socket, with_id(id, create(text))).await;
    }
    let mut streams: HashMap<String, Vec<Value>> = HashMap::new();
    let (mut ended, mut turns_of_speech) = (0, 0);
    let mut last = String::new();
    while ended < texts.len() {
        let answer = receive(&mut socket).await;
        let id = answer["id"].as_str().unwrap().to_owned();
        ended += usize::from(answer.get("end").is_some());
        turns_of_speech += usize::from(std::mem::replace(&mut last, id.clone()) != id);
        streams.entry(id).or_default().push(answer);
    }
    for (id, text) in &texts {
        assert_eq!(said(&streams[id]), *text, "{id}");
    }
    assert!(
        turns_of_speech > texts.len(),
        "they came one after the other"
    );
}

#[tokio::test]
async fn a_cancelled_turn_ends_and_keeps_what_was_said() {
    let module = start(json!({"echo_delay": "10s"})).await;
    let mut socket = connect(&module).await;
    send(&mut socket, with_id("a", create("never said"))).await;
    let created = receive(&mut socket).await;
    let thread = created["event"]["thread"]["id"].clone();
    // Of nobody: no mistake.
    send(&mut socket, json!({"type": "cancel", "id": "b"})).await;
    send(&mut socket, json!({"type": "cancel", "id": "a"})).await;
    let answers = answers(&mut socket, "a").await;
    assert_eq!(
        answers.last(),
        Some(&json!({"id": "a", "end": "cancelled"}))
    );
    let page = json(&module, ada(), on("items.list", &thread, json!({}))).await;
    assert_eq!(page["data"][0]["type"], "user_message");
}

#[tokio::test]
async fn a_message_that_is_no_request_is_refused_and_the_socket_stays() {
    let module = start(json!({})).await;
    let mut socket = connect(&module).await;
    let long = "x".repeat(65);
    let table = [
        ("", "EOF"),
        ("[]", "invalid length"),
        (r#"{"type":"threads.list"}"#, "missing field `id`"),
        (r#"{"id":"a"}"#, "missing field `type`"),
        (r#"{"id":1,"type":"threads.list"}"#, "expected a string"),
        (r#"{"id":"","type":"threads.list"}"#, "`id` has 0 bytes"),
        (
            &format!(r#"{{"id":"{long}","type":"threads.list"}}"#),
            "`id` has 65 bytes",
        ),
    ];
    for (text, expect) in table {
        socket.send(Message::text(text)).await;
        let refused = receive(&mut socket).await;
        assert_eq!(refused.get("id"), None, "{text}");
        assert_eq!(refused["problem"]["status"], 400, "{text}");
        let detail = refused["problem"]["detail"].as_str().unwrap();
        assert!(
            detail.contains(expect) && detail.contains("Send a text message"),
            "{text}: {detail}"
        );
    }
    socket.send(Message::binary("{}")).await;
    let refused = receive(&mut socket).await;
    assert!(
        refused["problem"]["detail"]
            .as_str()
            .unwrap()
            .contains("a binary message")
    );
    // With an id that can be read, the refusal carries it.
    send(&mut socket, json!({"id": "a", "type": "threads.explode"})).await;
    let refused = receive(&mut socket).await;
    assert_eq!(
        (&refused["id"], &refused["problem"]["status"]),
        (&json!("a"), &json!(400))
    );
}

#[tokio::test]
async fn an_id_is_used_once_at_a_time_and_so_many_at_once() {
    let module = start(json!({"echo_delay": "10s"})).await;
    let mut socket = connect(&module).await;
    for i in 0..REQUESTS_MAX {
        send(&mut socket, with_id(&i.to_string(), create("slow"))).await;
    }
    send(&mut socket, with_id("0", create("again"))).await;
    send(&mut socket, with_id("more", create("again"))).await;
    let (mut in_use, mut too_many) = (false, false);
    while !(in_use && too_many) {
        let answer = receive(&mut socket).await;
        match answer.pointer("/problem/code").and_then(Value::as_str) {
            Some("id_in_use") => in_use = answer.get("id").is_none(),
            Some("too_many_requests") => too_many = answer["id"] == "more",
            Some(code) => panic!("{code}"),
            None => {}
        }
    }
    // One that ended makes room.
    send(&mut socket, json!({"type": "cancel", "id": "3"})).await;
    answers(&mut socket, "3").await;
    send(
        &mut socket,
        with_id("more", json!({"type": "threads.list", "params": {}})),
    )
    .await;
    assert!(
        answers(&mut socket, "more").await[0]
            .get("result")
            .is_some()
    );
}

#[tokio::test]
async fn a_flood_of_refusals_is_answered_in_full() {
    let module = start(json!({})).await;
    let mut socket = connect(&module).await;
    for _ in 0..ANSWERING_MAX * 3 {
        socket.send(Message::text("nonsense")).await;
    }
    for _ in 0..ANSWERING_MAX * 3 {
        assert_eq!(receive(&mut socket).await["problem"]["status"], 400);
    }
}

#[tokio::test]
async fn a_reload_finishes_the_turn_without_the_socket() {
    let module = start(json!({"echo_delay": "20ms"})).await;
    let mut socket = connect(&module).await;
    send(&mut socket, with_id("a", create("said to the end of it"))).await;
    let thread = receive(&mut socket).await["event"]["thread"]["id"].clone();
    module.drain();
    let restart = CloseFrame {
        code: close_code::RESTART,
        reason: "".into(),
    };
    socket.send(Message::Close(Some(restart))).await;
    let list = on("items.list", &thread, json!({}));
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let page = json(&module, ada(), list.clone()).await;
        if page["data"][0]["type"] == "assistant_message" {
            assert_eq!(
                page["data"][0]["content"][0]["text"],
                "said to the end of it"
            );
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{page}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
