//! Client tools: what the model may call, and what comes of an output.

use super::provider::{FakeProvider, Reply};
use super::*;

/// An answer that calls a tool.
fn calls(name: &str, arguments: &str) -> Reply {
    let item = json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name, "arguments": arguments});
    let done = json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    let completed = json!({"type": "response.completed", "response": {}});
    Reply::status(
        "200 OK",
        "content-type: text/event-stream\r\n",
        &format!("data: {done}\n\ndata: {completed}\n\n"),
    )
}

async fn with_tools(provider: &FakeProvider) -> Module {
    let parameters = json!({"type": "object", "properties": {"path": {"type": "string"}}});
    start(json!({
        "base_url": provider.base_url(), "model": "tiny", "models": ["large"], "store": "memory",
        "tools": [{"name": "open_file", "description": "Opens a file.", "parameters": parameters}],
    }))
    .await
}

fn secret() -> SessionBuilder {
    ada().secret("sk-test")
}

#[tokio::test]
async fn a_tool_s_call_ends_the_turn_until_its_output_comes() {
    let provider = FakeProvider::start(vec![
        calls("open_file", r#"{"path":"a"}"#),
        Reply::says("responses", &["Open."]),
    ])
    .await;
    let module = with_tools(&provider).await;
    let mut request = create("open a");
    request["params"]["input"]["inference_options"] =
        json!({"model": "large", "tool_choice": {"id": "open_file"}});
    let first = events(&module, secret(), request).await;
    let call = &first[3]["item"];
    assert_eq!(
        types(&first)[2..],
        ["stream_options", "thread.item.done", "thread.updated"]
    );
    assert_eq!(
        (&call["type"], &call["status"], &call["arguments"]),
        (
            &json!("client_tool_call"),
            &json!("pending"),
            &json!({"path": "a"})
        )
    );
    assert!(call.get("output").is_none());
    let thread = &first[0]["thread"]["id"];
    let output = on(
        "threads.add_client_tool_output",
        thread,
        json!({"result": {"ok": true}}),
    );
    let second = events(&module, secret(), output.clone()).await;
    assert_eq!(types(&second)[0], "stream_options");
    assert_eq!(said(&second), "Open.");
    refused(&module, secret(), output, 409, "right after the call").await;

    let page = json(
        &module,
        secret(),
        on("items.list", thread, json!({"order": "asc"})),
    )
    .await;
    assert_eq!(page["data"][1]["status"], "completed");
    assert_eq!(page["data"][1]["output"], json!({"ok": true}));
    let requests = provider.requests();
    assert!(
        requests[0].contains(r#""name":"open_file""#),
        "{}",
        requests[0]
    );
    assert!(
        requests[0].contains(r#""tool_choice":{"#),
        "{}",
        requests[0]
    );
    assert!(
        requests[1].contains("function_call_output") && requests[1].contains(r#"{\"ok\":true}"#),
        "{}",
        requests[1]
    );
    assert!(
        requests[1].contains(r#""model":"large""#),
        "the model stays"
    );
    assert!(
        !requests[1].contains(r#""tool_choice":{"#),
        "it was called: {}",
        requests[1]
    );
}

#[tokio::test]
async fn a_call_of_no_tool_is_an_error() {
    let provider = FakeProvider::start(vec![calls("delete_disk", "{}")]).await;
    let module = with_tools(&provider).await;
    let events = events(&module, secret(), create("hi")).await;
    let error = events.last().unwrap();
    assert_eq!(
        (&error["code"], &error["allow_retry"]),
        (&json!("stream.error"), &json!(true))
    );
    assert!(
        error["message"].as_str().unwrap().contains("called a tool"),
        "{error}"
    );
}

#[tokio::test]
async fn an_output_needs_a_call_and_a_choice_a_tool() {
    let provider = FakeProvider::start(vec![Reply::says("responses", &["Hi."])]).await;
    let module = with_tools(&provider).await;
    let mut unknown = create("hi");
    unknown["params"]["input"]["inference_options"] = json!({"tool_choice": {"id": "fly"}});
    refused(&module, secret(), unknown, 400, "`fly` is not among").await;
    let events = events(&module, secret(), create("hi")).await;
    let output = on(
        "threads.add_client_tool_output",
        &events[0]["thread"]["id"],
        json!({"result": 1}),
    );
    refused(
        &module,
        secret(),
        output,
        409,
        "no client tool call that waits",
    )
    .await;
}
