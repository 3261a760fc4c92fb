//! The chat module in a kernel, with clients and a provider of the test's.

mod actions;
mod attachments;
#[cfg(target_os = "linux")]
mod cli;
mod drain;
mod load;
mod provider;
mod store;

use serde_json::{Value, json};

use crate::harness::{Kernel, Request};

/// A request for a turn in a thread of its own.
fn turn(kernel: &Kernel, token: &str, text: &str) -> Request {
    chatkit(kernel, token, create(text))
}

fn chatkit(kernel: &Kernel, token: &str, request: Value) -> Request {
    kernel
        .post("/api/chat/chatkit")
        .bearer(token)
        .json(&request)
}

fn create(text: &str) -> Value {
    let content = json!([{"type": "input_text", "text": text}]);
    json!({"type": "threads.create", "params": {"input": {"content": content, "attachments": [], "inference_options": {}}}})
}

/// The words of an answer's deltas.
fn said(stream: &str) -> String {
    let events = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let events = events.map(|data| serde_json::from_str::<Value>(data).unwrap());
    events
        .filter_map(|event| Some(event.pointer("/update/delta")?.as_str()?.to_owned()))
        .collect()
}
