//! Conversations with the echo, and what is refused.

use super::*;

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
        json!({"type": "input.transcribe", "params": {"audio_base64": "", "mime_type": "audio/webm"}}),
        501,
        "no provider that could write speech down",
    )
    .await;
    refused(
        &module,
        ada(),
        with("attachments", json!(["atc_1"])),
        404,
        "no attachment atc_1",
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
        let error = testing::start(crate::chat, config)
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
