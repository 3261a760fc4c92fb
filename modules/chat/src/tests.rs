//! The whole module, as a kernel calls it, against a provider of a few lines on a socket.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use midplane_sdk::testing::{self, Module, SessionBuilder};
use serde_json::{Value, json};

use self::provider::{FakeProvider, Reply};

mod provider;

/// Longer than anything here takes; a test that waits so long has failed.
const DEADLINE: Duration = Duration::from_secs(10);

async fn start(config: Value) -> Module {
    testing::start(super::chat, config)
        .await
        .expect("the module starts")
}

fn ada() -> SessionBuilder {
    testing::session("ada")
}

async fn call(module: &Module, session: SessionBuilder, request: Value) -> http::Response<Body> {
    let request = Request::post("/chatkit")
        .header("content-type", "application/json")
        .body(Body::from(request.to_string()));
    tokio::time::timeout(DEADLINE, module.call(Some(session), request.unwrap()))
        .await
        .expect("the module answers")
}

async fn text(response: http::Response<Body>) -> String {
    let body = tokio::time::timeout(DEADLINE, response.into_body().collect())
        .await
        .expect("the body ends")
        .unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

async fn json(module: &Module, session: SessionBuilder, request: Value) -> Value {
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

fn create(text: &str) -> Value {
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

#[tokio::test]
async fn a_conversation_with_the_echo() {
    let module = start(json!({})).await;
    assert!(!module.needs_secret());
    let first = events(&module, ada(), create("Hello there, echo")).await;
    assert_eq!(
        types(&first),
        [
            "thread.created",
            "thread.item.done",
            "stream_options",
            "notice",
            "thread.item.added",
            ADDED,
            DELTA,
            DELTA,
            DELTA,
            DONE,
            "thread.item.done",
            "thread.updated"
        ]
    );
    assert_eq!(said(&first), "Hello there, echo");
    assert!(first[3]["message"].as_str().unwrap().contains("echo"));
    let thread = &first[0]["thread"]["id"];
    assert_eq!(first[11]["thread"]["title"], "Hello there, echo");

    let second = events(
        &module,
        ada(),
        on(
            "threads.add_user_message",
            thread,
            json!({"input": input("again")}),
        ),
    )
    .await;
    assert_eq!(
        types(&second)[..3],
        ["thread.item.done", "stream_options", "notice"]
    );
    assert_eq!(
        types(&second).last(),
        Some(&"thread.item.done"),
        "the title is made once"
    );

    let page = json(
        &module,
        ada(),
        on("items.list", thread, json!({"order": "asc", "limit": 3})),
    )
    .await;
    assert_eq!(page["data"].as_array().unwrap().len(), 3);
    assert_eq!(page["after"], page["data"][2]["id"]);
    assert_eq!(page["data"][2]["id"], second[0]["item"]["id"]);
    let rest = on(
        "items_list",
        thread,
        json!({"order": "asc", "after": page["after"]}),
    );
    let rest = json(&module, ada(), rest).await;
    assert_eq!(
        (rest["data"].as_array().unwrap().len(), &rest["has_more"]),
        (1, &json!(false))
    );

    let retry = on(
        "threads.retry_after_item",
        thread,
        json!({"item_id": first[1]["item"]["id"]}),
    );
    let again = events(&module, ada(), retry).await;
    assert_eq!(types(&again)[0], "stream_options");
    assert_eq!(said(&again), "Hello there, echo");
    let whole = json(&module, ada(), on("threads.get_by_id", thread, json!({}))).await;
    assert_eq!(whole["items"]["data"].as_array().unwrap().len(), 2);
    assert_eq!(whole["title"], "Hello there, echo");
}

#[tokio::test]
async fn threads_are_listed_renamed_and_deleted() {
    let module = start(json!({"provider": "echo"})).await;
    for text in ["one", "two", "three"] {
        events(&module, ada(), create(text)).await;
    }
    let page = json(
        &module,
        ada(),
        json!({"type": "threads.list", "params": {"limit": 2}}),
    )
    .await;
    let title = |page: &Value, index: usize| page["data"][index]["title"].clone();
    assert_eq!(
        (title(&page, 0), title(&page, 1)),
        (json!("three"), json!("two"))
    );
    assert_eq!(page["has_more"], true);
    assert_eq!(
        page["data"][0]["items"],
        json!({"data": [], "has_more": false})
    );
    let rest = json(
        &module,
        ada(),
        json!({"type": "threads.list", "params": {"after": page["after"]}}),
    )
    .await;
    assert_eq!(
        (title(&rest, 0), rest["data"].as_array().unwrap().len()),
        (json!("one"), 1)
    );

    let one = &rest["data"][0]["id"];
    let renamed = json(
        &module,
        ada(),
        on("threads.update", one, json!({"title": "First"})),
    )
    .await;
    assert_eq!(renamed["title"], "First");
    let long = on("threads.update", one, json!({"title": "x".repeat(1_001)}));
    refused(&module, ada(), long, 400, "shorten it").await;
    assert_eq!(
        json(&module, ada(), on("threads.delete", one, json!({}))).await,
        json!({})
    );
    refused(
        &module,
        ada(),
        on("threads.get_by_id", one, json!({})),
        404,
        "thread_not_found",
    )
    .await;
}

#[tokio::test]
async fn another_user_s_thread_is_404_for_every_request() {
    let module = start(json!({"provider": "echo"})).await;
    let created = events(&module, ada(), create("mine")).await;
    let (thread, item) = (&created[0]["thread"]["id"], &created[1]["item"]["id"]);
    for (request, more) in [
        ("threads.get_by_id", json!({})),
        ("threads.add_user_message", json!({"input": input("hi")})),
        ("threads.retry_after_item", json!({"item_id": item})),
        ("items.list", json!({})),
        ("threads.update", json!({"title": "x"})),
        ("threads.delete", json!({})),
        (
            "items.feedback",
            json!({"item_ids": [item], "kind": "positive"}),
        ),
    ] {
        refused(
            &module,
            testing::session("bob"),
            on(request, thread, more),
            404,
            "thread_not_found",
        )
        .await;
    }
    let feedback = on(
        "items.feedback",
        thread,
        json!({"item_ids": [item], "kind": "positive"}),
    );
    assert_eq!(json(&module, ada(), feedback).await, json!({}));
    let nobodys = json(
        &module,
        testing::session("bob"),
        json!({"type": "threads.list", "params": {}}),
    )
    .await;
    assert_eq!(nobodys["data"], json!([]));
}

#[tokio::test]
async fn bad_requests_are_problems_that_say_what_to_do() {
    let module = start(json!({"provider": "echo", "models": ["large"]})).await;
    let created = events(&module, ada(), create("hi")).await;
    let (thread, answer) = (
        &created[0]["thread"]["id"],
        &created
            .iter()
            .rev()
            .find(|event| event["type"] == "thread.item.done")
            .unwrap()["item"]["id"],
    );
    let with = |member: &str, value: Value| {
        let mut input = input("hi");
        input[member] = value;
        json!({"type": "threads.create", "params": {"input": input}})
    };
    refused(
        &module,
        ada(),
        json!({"type": "threads.explode"}),
        400,
        "threads.explode",
    )
    .await;
    refused(&module, ada(), json!("text"), 400, "not a ChatKit request").await;
    refused(
        &module,
        ada(),
        json!({"type": "input.transcribe", "params": {}}),
        501,
        "not offered",
    )
    .await;
    refused(
        &module,
        ada(),
        with("attachments", json!(["atc_1"])),
        501,
        "attachments",
    )
    .await;
    refused(
        &module,
        ada(),
        with("content", json!([])),
        400,
        "the message is empty",
    )
    .await;
    refused(
        &module,
        ada(),
        with("inference_options", json!({"model": "huge"})),
        400,
        "`huge` is not among",
    )
    .await;
    refused(
        &module,
        ada(),
        on("items.list", thread, json!({"after": "msg_0"})),
        400,
        "start again without it",
    )
    .await;
    refused(
        &module,
        ada(),
        on(
            "threads.retry_after_item",
            thread,
            json!({"item_id": answer}),
        ),
        400,
        "not a message of the user",
    )
    .await;
    refused(
        &module,
        ada(),
        on(
            "threads.retry_after_item",
            thread,
            json!({"item_id": "msg_0"}),
        ),
        404,
        "item_not_found",
    )
    .await;
    assert_eq!(
        said(
            &events(
                &module,
                ada(),
                with("inference_options", json!({"model": "large"}))
            )
            .await
        ),
        "hi"
    );

    let wrong_path = Request::post("/chat").body(Body::empty()).unwrap();
    assert_eq!(module.call(Some(ada()), wrong_path).await.status(), 404);
    let wrong_method = module
        .call(
            Some(ada()),
            Request::get("/chatkit").body(Body::empty()).unwrap(),
        )
        .await;
    assert_eq!(
        (
            wrong_method.status().as_u16(),
            &wrong_method.headers()["allow"]
        ),
        (405, &http::HeaderValue::from_static("POST"))
    );
}

#[tokio::test]
async fn a_wrong_configuration_fails_the_start() {
    for (config, expect) in [
        (json!({"providr": 1}), "providr"),
        (json!({"timeout": "soon"}), "not a duration"),
    ] {
        let error = testing::start(super::chat, config)
            .await
            .err()
            .expect("the start fails")
            .to_string();
        assert!(error.contains(expect), "{error}");
    }
    assert!(start(json!({"provider": "openai"})).await.needs_secret());
    assert!(
        !start(json!({"provider": "openai", "requires_key": false}))
            .await
            .needs_secret()
    );
}

#[tokio::test]
async fn both_apis_stream_with_the_session_s_key() {
    for (api, path) in [
        ("responses", "/v1/responses"),
        ("chat_completions", "/v1/chat/completions"),
    ] {
        let provider = FakeProvider::start(vec![Reply::says(api, &["Hel", "lo"])]).await;
        let config = json!({"base_url": provider.base_url(), "api": api, "model": "tiny", "instructions": "Be brief."});
        let module = start(config).await;
        let events = events(&module, ada().secret("sk-test"), create("hi")).await;
        assert_eq!(said(&events), "Hello", "{api}");
        assert!(!types(&events).contains(&"notice"), "{api}: {events:?}");
        let [request] = &provider.requests()[..] else {
            panic!("one request")
        };
        assert!(request.starts_with(&format!("POST {path} ")), "{request}");
        assert!(
            request.contains("authorization: Bearer sk-test\r\n"),
            "{request}"
        );
        assert!(
            request.contains("Be brief.") && request.contains(r#""model":"tiny""#),
            "{request}"
        );
    }
}

#[tokio::test]
async fn a_session_without_a_secret_gets_the_echo_and_a_keyless_server_no_key() {
    let provider = FakeProvider::start(vec![Reply::says("responses", &["real"])]).await;
    let config = json!({"base_url": provider.base_url(), "model": "tiny"});
    assert_eq!(
        said(&events(&start(config).await, ada(), create("hi")).await),
        "hi"
    );
    assert_eq!(provider.requests().len(), 0);
    let config = json!({"provider": "openai", "requires_key": false, "base_url": provider.base_url(), "model": "tiny"});
    assert_eq!(
        said(&events(&start(config).await, ada(), create("hi")).await),
        "real"
    );
    assert!(!provider.requests()[0].contains("authorization"));
}

#[tokio::test]
async fn not_now_is_tried_again_before_the_first_byte() {
    let busy = || Reply::status("429 Too Many Requests", "retry-after: 0\r\n", "{}");
    let down = Reply::status("503 Service Unavailable", "retry-after: 0\r\n", "<html>");
    let provider = FakeProvider::start(vec![busy(), down, Reply::says("responses", &["ok"])]).await;
    let config = json!({"base_url": provider.base_url(), "model": "tiny"});
    assert_eq!(
        said(&events(&start(config).await, ada().secret("sk-test"), create("hi")).await),
        "ok"
    );
    assert_eq!(provider.requests().len(), 3);

    let provider = FakeProvider::start(vec![busy(), busy(), busy(), busy()]).await;
    let config = json!({"base_url": provider.base_url(), "model": "tiny", "retries": 1});
    let events = events(&start(config).await, ada().secret("sk-test"), create("hi")).await;
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["allow_retry"]),
        (&json!("error"), &json!(true)),
        "{last}"
    );
    assert_eq!(provider.requests().len(), 2);
}

#[tokio::test]
async fn a_refused_key_is_asked_for_again_once() {
    let refusal = || {
        Reply::status(
            "401 Unauthorized",
            "",
            r#"{"error":{"message":"bad key sk-old"}}"#,
        )
    };
    let provider = FakeProvider::start(vec![refusal(), Reply::says("responses", &["ok"])]).await;
    let module = start(json!({"base_url": provider.base_url(), "model": "tiny"})).await;
    let session = || ada().secret("sk-old").refreshed(Ok("sk-new".to_owned()));
    assert_eq!(said(&events(&module, session(), create("hi")).await), "ok");
    assert!(provider.requests()[1].contains("Bearer sk-new"));

    let provider = FakeProvider::start(vec![refusal(), refusal(), refusal()]).await;
    let module = start(json!({"base_url": provider.base_url(), "model": "tiny"})).await;
    let events = events(&module, session(), create("hi")).await;
    let last = events.last().unwrap();
    assert!(
        last["message"]
            .as_str()
            .unwrap()
            .contains("refused the API key"),
        "{last}"
    );
    assert_eq!(provider.requests().len(), 2);
    let all = serde_json::to_string(&events).unwrap();
    assert!(!all.contains("sk-old") && !all.contains("sk-new"), "{all}");
}

#[tokio::test]
async fn every_failure_is_an_error_event_that_ends_the_stream() {
    let cut = Reply::raw(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999\r\n\r\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hel\"}\n\n",
    );
    for (reply, expect) in [
        (cut, "broke off"),
        (
            Reply::status("200 OK", "content-type: application/json\r\n", "{}"),
            "no event stream",
        ),
        (
            Reply::status(
                "200 OK",
                "content-type: text/event-stream\r\n",
                "data: nonsense\n\n",
            ),
            "cannot be read",
        ),
        (Reply::status("404 Not Found", "", "{}"), "`base_url`"),
        (Reply::status("400 Bad Request", "", "{}"), "status 400"),
    ] {
        let provider = FakeProvider::start(vec![reply]).await;
        let module =
            start(json!({"base_url": provider.base_url(), "model": "tiny", "retries": 0})).await;
        let events = events(&module, ada().secret("sk-test"), create("hi")).await;
        let last = events.last().unwrap();
        assert_eq!(last["type"], "error");
        assert!(
            last["message"].as_str().unwrap().contains(expect),
            "{expect}: {last}"
        );
    }
    let module =
        start(json!({"base_url": "http://127.0.0.1:1/v1", "model": "tiny", "retries": 0})).await;
    let events = events(&module, ada().secret("sk-test"), create("hi")).await;
    assert!(
        events.last().unwrap()["message"]
            .as_str()
            .unwrap()
            .contains("127.0.0.1:1 cannot be reached")
    );
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_provider_s_connection_and_keeps_the_words() {
    let endless = Reply::open("responses", "Hel");
    let mut provider = FakeProvider::start(vec![endless]).await;
    let module = start(json!({"base_url": provider.base_url(), "model": "tiny"})).await;
    let response = call(&module, ada().secret("sk-test"), create("hi")).await;
    let mut stream = response.into_body().into_data_stream();
    let mut seen = String::new();
    while said(&parse(
        seen.rsplit_once("\n\n").map_or("", |(whole, _)| whole),
    )) != "Hel"
    {
        let chunk = tokio::time::timeout(DEADLINE, stream.next())
            .await
            .expect("an event")
            .expect("goes on")
            .unwrap();
        seen.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let thread = parse(&seen)[0]["thread"]["id"].clone();
    drop(stream);
    tokio::time::timeout(DEADLINE, provider.closed())
        .await
        .expect("the connection is closed");
    let page = json(
        &module,
        ada(),
        on("items.list", &thread, json!({"order": "asc"})),
    )
    .await;
    assert_eq!(
        page["data"].as_array().unwrap().len(),
        2,
        "the mark is hidden: {page}"
    );
    assert_eq!(page["data"][1]["content"][0]["text"], "Hel");
}
