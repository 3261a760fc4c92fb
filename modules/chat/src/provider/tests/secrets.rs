//! No failure and no log line repeats what the provider or a proxy wrote, nor a key, a password or a configured value.

use std::fmt::{self, Write};
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;

/// Stands in everything that must not be repeated, and nowhere else.
const CANARY: &str = "canary";

/// Every line that is logged, of all libraries.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Line(&mut self.0.lock().unwrap()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Line(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut lines = self.0.lock().unwrap();
        event.record(&mut Line(&mut lines));
        lines.push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

fn members(base_url: String, api: &str) -> Value {
    json!({
        "base_url": base_url, "api": api, "model": "tiny", "retries": 0, "timeout": "200ms",
        "headers": {"x-token": "canary-header"}, "query": {"code": "canary-query"},
    })
}

/// What the provider writes: everywhere the key that it was sent, and words of its own.
fn replies(api: &str) -> Vec<Reply> {
    let body = r#"{"error":{"code":"canary","type":"canary","param":"canary","message":"bad key sk-canary-old"}}"#;
    let headers =
        "x-request-id: canary\r\nretry-after: canary\r\nwww-authenticate: Bearer canary\r\n";
    let events = |event: Value| {
        let said = crate::tests::provider::event(api, "Hel");
        Reply::events(&format!(
            "{said}event: canary\nid: canary\ndata: {event}\n\n"
        ))
    };
    let mut replies: Vec<_> = [
        400, 401, 403, 404, 409, 413, 418, 422, 429, 500, 503, 302, 204, 299,
    ]
    .map(|status| Reply::status(&format!("{status} canary"), headers, body))
    .into();
    replies.extend([
        Reply::raw("canary"),
        Reply::raw("HTTP/1.1 200 canary\r\ncanary"),
        Reply::raw("HTTP/9.9 canary\r\n\r\n"),
        Reply::status("200 OK", "content-type: text/canary\r\n", body),
        Reply::events("data: canary\n\n"),
        Reply::chunks([&b"data: canary\xff\n\n"[..]]),
        Reply::chunks([&b"canary\n\ndata: {\"canary"[..]]),
        Reply::silent_behind("HTTP/1.1 200 OK\r\nx: canary"),
        Reply::open(api, "Hel"),
        events(json!({"error": {"code": "canary", "message": "canary"}})),
        events(json!({"type": "error", "code": "canary", "message": "canary"})),
        events(json!({"type": "response.failed", "response": {"error": {"code": "canary"}}})),
        events(json!({"type": "canary", "canary": "canary"})),
        events(json!({"type": "response.output_item.done", "item": {"type": "function_call", "call_id": "canary",
                      "name": "canary", "arguments": "canary"}})),
        events(json!({"choices": [{"delta": {"tool_calls": [{"id": "canary", "function": {"name": "canary",
                      "arguments": "{}"}}]}, "finish_reason": "tool_calls"}]})),
        events(json!({"choices": [{"delta": {}, "finish_reason": "canary"}]})),
    ]);
    replies
}

#[tokio::test]
async fn nothing_that_was_written_elsewhere_is_repeated() {
    let lines = Lines::default();
    let logging = tracing::subscriber::set_default(lines.clone());
    let mut failures = Vec::new();
    for api in APIS {
        for reply in replies(api) {
            let provider = FakeProvider::start(vec![reply.clone(), reply]).await;
            let deltas = ask_keyed(members(provider.base_url(), api), "sk-canary-old");
            if let (_, Err(error)) = read(deltas).await {
                failures.push(format!("{error} {error:?} {}", error.kind()));
            }
        }
    }
    let refusing =
        HttpProxy::start(([127, 0, 0, 1], 1).into(), "407 canary\r\ncanary: canary").await;
    for (base_url, proxy) in [
        ("https://provider.test/v1", refusing.address().to_string()),
        ("https://provider.test/v1", "127.0.0.1:1".to_owned()),
        ("http://provider.test/v1", "127.0.0.1:1".to_owned()),
    ] {
        let mut members = members(base_url.to_owned(), "responses");
        members["proxy"] = json!(format!("http://canary:canary@{proxy}"));
        let (_, end) = read(ask_keyed(members, "sk-canary-old")).await;
        let error = end.unwrap_err();
        failures.push(format!("{error} {error:?}"));
    }
    // A key that cannot be sent.
    let (_, end) = read(ask_keyed(
        members("http://127.0.0.1:1/v1".to_owned(), "responses"),
        "canary\n",
    ))
    .await;
    failures.push(format!("{:?}", end.unwrap_err()));
    drop(logging);
    assert!(failures.len() > 50, "{failures:?}");
    let lines = lines.0.lock().unwrap().clone();
    assert!(
        lines.contains("the provider refused the request"),
        "{lines}"
    );
    for text in failures.iter().map(String::as_str).chain([lines.as_str()]) {
        assert!(!text.to_lowercase().contains(CANARY), "{text}");
    }
}
