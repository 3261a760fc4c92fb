//! What answers cost, in the module's metrics.

use futures_util::StreamExt;

use super::provider::{FakeProvider, Reply, answer, event};
use super::*;

fn with_usage(api: &str) -> Reply {
    let usage = match api {
        "responses" => json!({"type": "response.completed", "response": {"usage": {
            "input_tokens": 20, "input_tokens_details": {"cached_tokens": 5}, "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3}}}}),
        _ => json!({"choices": [], "usage": {
            "prompt_tokens": 20, "prompt_tokens_details": {"cached_tokens": 5}, "completion_tokens": 7,
            "completion_tokens_details": {"reasoning_tokens": 3}}}),
    };
    let usage = format!("data: {usage}\n\n");
    let whole = match api {
        "responses" => event(api, "hi") + &usage,
        _ => answer(api, &["hi"]).replace("data: [DONE]", &format!("{usage}data: [DONE]")),
    };
    Reply::events(&whole)
}

#[tokio::test]
async fn tokens_and_requests_are_counted_for_the_session_that_asked() {
    for api in ["responses", "chat_completions"] {
        let refused = Reply::status("429 Too Many Requests", "", "{}");
        let replies = vec![with_usage(api), with_usage(api), refused];
        let provider = FakeProvider::start(replies).await;
        let config = json!({"base_url": provider.base_url(), "api": api, "model": "tiny", "models": ["large"],
                            "retries": 0});
        let module = start(config).await;
        let session = || ada().secret("sk-test");
        events(&module, session(), create("hi")).await;
        let mut large = create("hi");
        large["params"]["input"]["inference_options"]["model"] = json!("large");
        events(&module, session(), large).await;
        events(&module, session(), create("hi")).await;
        for (kind, count) in [
            ("input", 20),
            ("cached_input", 5),
            ("output", 7),
            ("reasoning", 3),
        ] {
            for model in ["tiny", "large"] {
                let labels = [("kind", kind), ("model", model)];
                assert_eq!(module.metric("tokens", &labels), count, "{api} {labels:?}");
                assert_eq!(
                    module.session_metric("tokens", &labels),
                    count,
                    "{api} {labels:?}"
                );
            }
        }
        for (model, outcome) in [
            ("tiny", "complete"),
            ("large", "complete"),
            ("tiny", "rate_limited"),
        ] {
            let labels = [("model", model), ("outcome", outcome)];
            assert_eq!(module.metric("requests", &labels), 1, "{api} {labels:?}");
        }
    }
}

#[tokio::test]
async fn what_each_answer_of_a_thread_cost_is_told_to_its_user_alone() {
    let get = async |module: &Module, session: SessionBuilder, path: String| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = module.call(Some(session), request).await;
        (response.status(), text(response).await)
    };
    for api in ["responses", "chat_completions"] {
        let provider = FakeProvider::start(vec![with_usage(api), with_usage(api)]).await;
        let module =
            start(json!({"base_url": provider.base_url(), "api": api, "model": "tiny"})).await;
        let said = events(&module, ada().secret("sk-test"), create("hi")).await;
        let thread = said[0]["thread"]["id"].clone();
        let again = on(
            "threads.add_user_message",
            &thread,
            json!({"input": input("again")}),
        );
        events(&module, ada().secret("sk-test"), again).await;
        let path = format!("/threads/{}/usage?order=asc", thread.as_str().unwrap());
        let (status, page) = get(&module, ada(), path.clone()).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let page: Value = serde_json::from_str(&page).unwrap();
        let items = json(
            &module,
            ada(),
            on("items.list", &thread, json!({"order": "asc"})),
        )
        .await;
        let usage = json!({"input_tokens": 20, "cached_input_tokens": 5, "output_tokens": 7, "reasoning_tokens": 3});
        let cost = |item: usize| {
            let item = &items["data"][item];
            json!({"item_id": item["id"], "created_at": item["created_at"], "model": "tiny", "usage": usage})
        };
        assert_eq!(
            page,
            json!({"data": [cost(1), cost(3)], "has_more": false}),
            "{api}"
        );
        assert!(
            !items.to_string().contains("tokens"),
            "the protocol's items have no such member: {items}"
        );
        let (_, page) = get(&module, ada(), format!("{path}&limit=2")).await;
        let page: Value = serde_json::from_str(&page).unwrap();
        assert_eq!(
            (&page["data"], &page["has_more"]),
            (&json!([cost(1)]), &json!(true))
        );
        let (status, _) = get(&module, testing::session("bob"), path.clone()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        let (status, _) = get(&module, ada(), format!("{path}&limit=x")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn an_answer_that_was_left_is_counted_as_left() {
    let mut provider = FakeProvider::start(vec![Reply::open("responses", "Hel")]).await;
    let module = start(json!({"base_url": provider.base_url(), "model": "tiny"})).await;
    let response = call(&module, ada().secret("sk-test"), create("hi")).await;
    let labels = [("model", "tiny"), ("outcome", "left")];
    assert_eq!(module.metric("requests", &labels), 0);
    let mut stream = response.into_body().into_data_stream();
    let said = async {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("Hel") {
            seen.extend(stream.next().await.expect("the stream goes on").unwrap());
        }
    };
    tokio::time::timeout(DEADLINE, said)
        .await
        .expect("the word comes");
    drop(stream);
    tokio::time::timeout(DEADLINE, provider.closed())
        .await
        .expect("the connection is closed");
    assert_eq!(module.metric("requests", &labels), 1);
}

#[tokio::test]
async fn the_echo_costs_nothing() {
    let module = start(json!({})).await;
    events(&module, ada(), create("hi")).await;
    let labels = [("kind", "input"), ("model", "gpt-4.1-mini")];
    assert_eq!(module.metric("tokens", &labels), 0);
}
