//! Custom actions, with a test in the other module's place; `tests/rust/modules/chat_actions.rs` has a real one.

use std::sync::{Arc, Mutex};

use axum::response::IntoResponse;

use super::*;

type Asked = Arc<Mutex<Vec<Value>>>;

/// A module whose actions are answered so.
async fn answered<A>(answer: A) -> (Module, Asked)
where
    A: Fn(&Value) -> http::Response<Body> + Send + Sync + 'static,
{
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let answer = Arc::new(answer);
    let config = json!({"provider": "echo", "actions": "widgets", "store": "memory"});
    let module = testing::prepare(crate::chat, config)
        .answer_calls(move |module, request| {
            let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
            async move {
                assert_eq!(
                    (&*module, request.uri().path()),
                    ("widgets", "/chatkit/actions")
                );
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let response = answer(&body);
                seen.lock().unwrap().push(body);
                response
            }
        })
        .start()
        .await
        .unwrap();
    (module, asked)
}

fn stream(events: &[Value]) -> http::Response<Body> {
    let body: String = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    ([("content-type", "text/event-stream")], body).into_response()
}

fn action(thread: &Value, item: Value) -> Value {
    let action = json!({"type": "press", "payload": {"n": 1}});
    on(
        "threads.custom_action",
        thread,
        json!({"item_id": item, "action": action}),
    )
}

async fn a_thread(module: &Module) -> Value {
    events(module, ada(), create("hi")).await[0]["thread"]["id"].clone()
}

fn card(value: &str) -> Value {
    json!({"type": "Card", "children": [{"type": "Text", "id": "t", "value": value}]})
}

async fn kept(module: &Module, thread: &Value) -> Vec<Value> {
    let page = json(
        module,
        ada(),
        on("items.list", thread, json!({"order": "asc"})),
    )
    .await;
    page["data"].as_array().unwrap()[2..].to_vec()
}

#[tokio::test]
async fn a_widget_is_shown_kept_and_named_as_the_sender() {
    let (module, asked) = answered(|asked| match asked.get("item") {
        None => stream(&[json!({"type": "thread.item.done", "item": {"type": "widget", "widget": card("a")}})]),
        Some(item) => stream(&[
            json!({"type": "thread.item.updated", "item_id": item["id"],
                   "update": {"type": "widget.streaming_text.value_delta", "component_id": "t", "delta": "b", "done": true}}),
        ]),
    })
    .await;
    let thread = a_thread(&module).await;
    let shown = events(&module, ada(), action(&thread, Value::Null)).await;
    assert_eq!(types(&shown), ["stream_options", "thread.item.done"]);
    let widget = &shown[1]["item"];
    assert_eq!(widget["thread_id"], thread);
    let told = events(&module, ada(), action(&thread, widget["id"].clone())).await;
    assert_eq!(
        types(&told),
        ["stream_options", "widget.streaming_text.value_delta"]
    );
    let items = kept(&module, &thread).await;
    assert_eq!(items[0]["widget"], card("ab"));
    let asked = asked.lock().unwrap();
    assert_eq!(
        (
            &asked[0]["type"],
            &asked[0]["user"],
            &asked[0]["action"]["payload"]["n"]
        ),
        (&json!("threads.custom_action"), &json!("ada"), &json!(1))
    );
    assert_eq!(asked[0]["thread"]["id"], thread);
    assert_eq!(asked[1]["item"]["widget"], card("a"));
}

#[tokio::test]
async fn the_model_goes_on_where_the_module_asks_for_it() {
    let (module, _) = answered(|_| {
        stream(&[
            json!({"type": "thread.item.done", "item": {"type": "task", "task": {"type": "custom", "title": "Done"}}}),
            json!({"type": "midplane.respond"}),
            json!({"type": "notice", "level": "info", "message": "nobody listens any more"}),
        ])
    })
    .await;
    let thread = a_thread(&module).await;
    let events = events(&module, ada(), action(&thread, Value::Null)).await;
    assert_eq!(
        types(&events)[..4],
        [
            "stream_options",
            "thread.item.done",
            "notice",
            "thread.item.added"
        ]
    );
    assert_eq!(said(&events), "hi", "the echo knows its user's words only");
    let last = events.last().unwrap();
    assert_eq!(last["item"]["type"], "assistant_message", "{last}");
}

#[tokio::test]
async fn hidden_items_are_kept_and_never_sent() {
    let hidden = || json!({"id": "shcx_1", "type": "hidden_context_item", "content": "psst"});
    let (module, _) = answered(move |_| {
        stream(&[
            json!({"type": "thread.item.added", "item": hidden()}),
            json!({"type": "thread.item.done", "item": hidden()}),
            json!({"type": "thread.item.replaced", "item": hidden()}),
        ])
    })
    .await;
    let thread = a_thread(&module).await;
    let told = events(&module, ada(), action(&thread, Value::Null)).await;
    assert_eq!(types(&told), ["stream_options"]);
    assert_eq!(kept(&module, &thread).await, Vec::<Value>::new());
    let page = json(
        &module,
        ada(),
        on("items.list", &thread, json!({"limit": 1})),
    )
    .await;
    assert_eq!(
        (&page["data"], &page["after"]),
        (&json!([]), &json!("shcx_1"))
    );
}

#[tokio::test]
async fn without_a_module_an_action_is_refused_by_name() {
    let module = start(json!({"provider": "echo", "store": "memory"})).await;
    let thread = a_thread(&module).await;
    let told = events(&module, ada(), action(&thread, Value::Null)).await;
    assert_eq!(types(&told), ["stream_options", "error"]);
    assert_eq!(told[1]["code"], "custom");
    assert!(
        told[1]["message"].as_str().unwrap().contains("`actions`"),
        "{told:?}"
    );
    let mut at_once = action(&thread, Value::Null);
    at_once["type"] = json!("threads.sync_custom_action");
    refused(&module, ada(), at_once, 501, "`actions`").await;
}

#[tokio::test]
async fn an_item_comes_back_at_once_and_is_kept() {
    let (module, _) = answered(|asked| match asked["type"].as_str() {
        Some("threads.custom_action") => stream(&[
            json!({"type": "thread.item.done", "item": {"type": "widget", "widget": card("a")}}),
        ]),
        _ => {
            let mut item = asked["item"].clone();
            item["widget"] = card("b");
            axum::Json(json!({"updated_item": item})).into_response()
        }
    })
    .await;
    let thread = a_thread(&module).await;
    let shown = events(&module, ada(), action(&thread, Value::Null)).await;
    let mut request = action(&thread, shown[1]["item"]["id"].clone());
    request["type"] = json!("threads.sync_custom_action");
    let answer = json(&module, ada(), request).await;
    assert_eq!(answer["updated_item"]["widget"], card("b"));
    assert_eq!(kept(&module, &thread).await[0]["widget"], card("b"));
}

#[tokio::test]
async fn a_sender_must_be_a_widget_of_the_thread() {
    let (module, asked) = answered(|_| stream(&[])).await;
    let created = events(&module, ada(), create("hi")).await;
    let (thread, question) = (&created[0]["thread"]["id"], &created[1]["item"]["id"]);
    let told = events(&module, ada(), action(thread, question.clone())).await;
    assert_eq!(types(&told), ["error"]);
    assert_eq!(
        (&told[0]["code"], &told[0]["allow_retry"]),
        (&json!("stream.error"), &json!(false))
    );
    let mut at_once = action(thread, question.clone());
    at_once["type"] = json!("threads.sync_custom_action");
    refused(&module, ada(), at_once, 400, "is no widget").await;
    refused(
        &module,
        ada(),
        action(thread, json!("msg_0")),
        404,
        "item_not_found",
    )
    .await;
    assert!(asked.lock().unwrap().is_empty(), "nobody was asked");
}
