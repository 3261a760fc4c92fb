//! The gateway without a provider.

use super::*;

fn chat(more: Value) -> Value {
    let mut body = json!({"model": "gpt-x", "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "two "}, {"type": "text", "text": "words"}]},
        {"role": "assistant", "content": null, "tool_calls": []},
    ]});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

async fn events(module: &Module, path: &str, body: &Value) -> Vec<Value> {
    let response = call(module, ada(), post(path, body)).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = text(response).await;
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or(Value::Null))
        .collect()
}

#[tokio::test]
async fn a_chat_completion_is_echoed_whole_and_in_words() {
    let module = start(json!({})).await;
    let path = "/v1/chat/completions";
    let whole = json_of(call(&module, ada(), post(path, &chat(json!({})))).await).await;
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["model"], "gpt-x");
    assert_eq!(whole["choices"][0]["message"]["content"], "two words");
    assert_eq!(whole["usage"]["completion_tokens"], 2);
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let chunks = events(&module, path, &chat(options)).await;
    assert_eq!(chunks.last(), Some(&Value::Null), "[DONE]");
    let words: Vec<&str> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(words, ["", "two ", "words"]);
    assert_eq!(
        chunks[chunks.len() - 3]["choices"][0]["finish_reason"],
        "stop"
    );
    assert_eq!(chunks[chunks.len() - 2]["usage"]["total_tokens"], 4);
    let plain = events(&module, path, &chat(json!({"stream": true}))).await;
    assert!(
        plain.iter().all(|chunk| chunk.get("usage").is_none()),
        "nobody asked for it"
    );
}

#[tokio::test]
async fn a_response_is_echoed_whole_and_in_events() {
    let module = start(json!({})).await;
    let path = "/v1/responses";
    for input in [
        json!("two words"),
        json!([{"role": "user", "content": [{"type": "input_text", "text": "two words"}]}]),
    ] {
        let body = json!({"model": "gpt-x", "input": input});
        let whole = json_of(call(&module, ada(), post(path, &body)).await).await;
        assert_eq!(whole["status"], "completed");
        assert_eq!(whole["output"][0]["content"][0]["text"], "two words");
    }
    let body = json!({"model": "gpt-x", "input": "two words", "stream": true});
    let events = events(&module, path, &body).await;
    let types: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let numbers: Vec<u64> = events
        .iter()
        .map(|event| event["sequence_number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert_eq!(
        events[9]["response"]["output"][0]["content"][0]["text"],
        "two words"
    );
}

#[tokio::test]
async fn the_echo_is_the_only_model_and_offers_no_more() {
    let module = start(json!({"provider": "echo"})).await;
    let list = json_of(call(&module, ada(), get("/v1/models")).await).await;
    assert_eq!(list["data"][0]["id"], "echo");
    let model = json_of(call(&module, ada(), get("/v1/models/echo")).await).await;
    assert_eq!(model["object"], "model");
    error_of(
        call(&module, ada(), get("/v1/models/gpt")).await,
        404,
        "model_not_found",
    )
    .await;
    let embed = post("/v1/embeddings", &json!({"model": "echo", "input": "x"}));
    let message = error_of(call(&module, ada(), embed).await, 404, "unknown_url").await;
    assert!(message.contains("give the session an API key"), "{message}");
    error_of(
        call(&module, ada(), get("/v1/responses/resp_1")).await,
        404,
        "unknown_url",
    )
    .await;
    for body in [
        "",
        "[1]",
        r#"{"messages":7,"model":"m"}"#,
        r#"{"messages":[]}"#,
    ] {
        let request = request(Method::POST, "/v1/chat/completions", Body::from(body));
        error_of(call(&module, ada(), request).await, 400, "invalid_json").await;
    }
}
