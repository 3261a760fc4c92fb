//! The whole module, as a kernel calls it, against a provider of a few lines on a socket.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use midplane_sdk::testing::{self, Module, SessionBuilder};
use serde_json::{Value, json};

mod actions;
mod attachments;
mod conversations;
mod dictation;
mod keys;
mod models;
pub(crate) mod provider;
mod titles;
mod tools;
mod usage;

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) async fn start(config: Value) -> Module {
    testing::start(super::chat, config)
        .await
        .expect("the module starts")
}

pub(crate) fn ada() -> SessionBuilder {
    testing::session("ada")
}

pub(crate) async fn call(
    module: &Module,
    session: SessionBuilder,
    request: Value,
) -> http::Response<Body> {
    let request = Request::post("/chatkit")
        .header("content-type", "application/json")
        .body(Body::from(request.to_string()));
    tokio::time::timeout(DEADLINE, module.call(Some(session), request.unwrap()))
        .await
        .expect("the module answers")
}

pub(crate) async fn text(response: http::Response<Body>) -> String {
    let body = tokio::time::timeout(DEADLINE, response.into_body().collect())
        .await
        .expect("the body ends")
        .unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

pub(crate) async fn json(module: &Module, session: SessionBuilder, request: Value) -> Value {
    let response = call(module, session, request).await;
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&text(response).await).unwrap()
}

async fn events(module: &Module, session: SessionBuilder, request: Value) -> Vec<Value> {
    let response = call(module, session, request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    parse(&text(response).await)
}

fn parse(stream: &str) -> Vec<Value> {
    let events = stream
        .split_terminator("\n\n")
        .map(|event| event.strip_prefix("data: ").expect("one data line"));
    events
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

async fn refused(
    module: &Module,
    session: SessionBuilder,
    request: Value,
    status: u16,
    expect: &str,
) {
    let response = call(module, session, request.clone()).await;
    assert_eq!(response.status(), status, "{request}");
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let text = text(response).await;
    assert!(text.contains(expect), "{request}: {text}");
}

fn input(text: &str) -> Value {
    json!({"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}})
}

pub(crate) fn create(text: &str) -> Value {
    json!({"type": "threads.create", "params": {"input": input(text)}})
}

fn on(request: &str, thread: &Value, more: Value) -> Value {
    let mut params = json!({"thread_id": thread});
    params
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({"type": request, "params": params})
}

fn name(event: &Value) -> &str {
    event
        .pointer("/update/type")
        .unwrap_or(&event["type"])
        .as_str()
        .unwrap()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(name).collect()
}

fn said(events: &[Value]) -> String {
    events
        .iter()
        .filter_map(|event| event.pointer("/update/delta")?.as_str())
        .collect()
}

const ADDED: &str = "assistant_message.content_part.added";
const DELTA: &str = "assistant_message.content_part.text_delta";
const DONE: &str = "assistant_message.content_part.done";
