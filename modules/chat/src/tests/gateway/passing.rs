//! What is passed on, and what is refused before it leaves.

use super::*;

#[tokio::test]
async fn a_request_and_its_answer_pass_but_for_what_is_each_side_s_own() {
    let gateway = Gateway::start(json!({})).await;
    let body = json!({"model": "any", "messages": [], "x": "unknown to us"});
    let mut request = post("/v1/chat/completions?a=b%20c&d", &body);
    for (name, value) in [
        ("authorization", "Bearer client-secret"),
        ("cookie", "a=b"),
        ("openai-beta", "x=v1"),
        ("x-stainless-lang", "python"),
        ("x-request-id", "turn-7"),
        ("accept-encoding", "gzip"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let provider = async {
        let exchange = gateway.provider.accept().await;
        assert_eq!(
            exchange.line,
            "POST /v1/chat/completions?a=b%20c&d HTTP/1.1"
        );
        assert_eq!(exchange.body, body.to_string().into_bytes());
        assert_eq!(exchange.header("authorization"), format!("Bearer {KEY}"));
        assert_eq!(exchange.header("content-type"), "application/json");
        assert_eq!(
            exchange.header("content-length"),
            body.to_string().len().to_string()
        );
        assert_eq!(exchange.header("openai-beta"), "x=v1");
        assert_eq!(exchange.header("x-stainless-lang"), "python");
        assert_eq!(exchange.header("x-client-request-id"), "turn-7");
        assert_eq!(exchange.header("accept-encoding"), "identity");
        assert!(!exchange.headers.contains_key("cookie"));
        let head = "201 Created\r\ncontent-type: application/json\r\nx-request-id: req_9\r\nset-cookie: a=b\r\n\
                    openai-processing-ms: 42\r\nx-ratelimit-remaining-tokens: 7\r\nkeep-alive: timeout=5";
        exchange.answer(head, "{\"any\": 1 }").await;
    };
    let (response, ()) = tokio::join!(gateway.call(request), provider);
    assert_eq!(response.status(), 201);
    let headers = response.headers().clone();
    assert_eq!(headers["x-upstream-request-id"], "req_9");
    assert_eq!(headers["openai-processing-ms"], "42");
    assert_eq!(headers["x-ratelimit-remaining-tokens"], "7");
    assert_eq!(headers["content-length"], "11");
    for dropped in ["set-cookie", "keep-alive", "connection", "x-request-id"] {
        assert!(!headers.contains_key(dropped), "{dropped}");
    }
    assert_eq!(text(response).await, "{\"any\": 1 }");
}

#[tokio::test]
async fn every_call_that_is_offered_reaches_its_address() {
    let gateway = Gateway::start(json!({})).await;
    for (method, path) in [
        (Method::POST, "/chat/completions"),
        (Method::POST, "/responses"),
        (Method::GET, "/responses/resp_1?stream=true"),
        (Method::DELETE, "/responses/resp_1"),
        (Method::POST, "/responses/resp_1/cancel"),
        (Method::GET, "/responses/resp_1/input_items?limit=2"),
        (Method::POST, "/embeddings"),
        (Method::GET, "/models"),
        (Method::GET, "/models/org%2Ftiny"),
    ] {
        let body = match method {
            Method::POST => Body::from("{}"),
            _ => Body::empty(),
        };
        let request = request(method.clone(), &format!("/v1{path}"), body);
        let provider = async {
            let exchange = gateway.provider.accept().await;
            assert_eq!(exchange.line, format!("{method} /v1{path} HTTP/1.1"));
            exchange.answer("200 OK", "{}").await;
        };
        let (response, ()) = tokio::join!(gateway.call(request), provider);
        assert_eq!(response.status(), 200, "{method} {path}");
    }
}

#[tokio::test]
async fn anything_else_is_refused_in_openai_s_shape() {
    let gateway = Gateway::start(json!({})).await;
    for path in [
        "/v1",
        "/v1/",
        "/v1/files",
        "/v1/models/..%2Ffiles",
        "/v1/organization/admin_api_keys",
    ] {
        let message = error_of(gateway.call(get(path)).await, 404, "unknown_url").await;
        assert!(
            message.contains("offers chat/completions, responses"),
            "{message}"
        );
    }
    let response = gateway.call(get("/v1/chat/completions")).await;
    assert_eq!(response.headers()["allow"], "POST");
    error_of(response, 405, "method_not_supported").await;
    let off = Gateway::start(json!({"enabled": false})).await;
    let message = error_of(off.call(ask()).await, 404, "unknown_url").await;
    assert!(message.contains("`enabled = true`"), "{message}");
}

#[tokio::test]
async fn a_long_body_is_passed_on_as_it_comes() {
    let gateway = Gateway::start(json!({})).await;
    let image = "x".repeat(3 << 20);
    let body = json!({"model": "tiny", "image": image}).to_string();
    let request = request(Method::POST, "/v1/responses", Body::from(body.clone()));
    let provider = async {
        let exchange = gateway.provider.accept().await;
        assert_eq!(exchange.header("content-length"), body.len().to_string());
        assert!(exchange.body == body.as_bytes());
        exchange.answer("200 OK", "{}").await;
    };
    let (response, ()) = tokio::join!(gateway.call(request), provider);
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_provider_s_refusals_are_passed_on() {
    let gateway = Gateway::start(json!({})).await;
    for (status, more) in [
        ("400 Bad Request", ""),
        ("403 Forbidden", ""),
        ("404 Not Found", ""),
        ("409 Conflict", ""),
        ("422 Unprocessable", ""),
        (
            "429 Too Many Requests",
            "\r\nretry-after: 3\r\nx-should-retry: false",
        ),
        ("500 Internal Server Error", ""),
        ("503 Service Unavailable", "\r\nretry-after-ms: 15"),
    ] {
        let body = r#"{"error":{"message":"its own words","type":"t","param":"p","code":"c"}}"#;
        let provider = async {
            let head = format!("{status}\r\ncontent-type: application/json{more}");
            gateway.provider.accept().await.answer(&head, body).await;
        };
        let (response, ()) = tokio::join!(gateway.call(ask()), provider);
        assert_eq!(response.status().as_str(), &status[..3]);
        for field in more.split("\r\n").filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once(": ").unwrap();
            assert_eq!(response.headers()[name], value, "{status}");
        }
        assert_eq!(text(response).await, body, "{status}");
    }
}

#[tokio::test]
async fn what_no_client_should_meet_becomes_an_error_of_the_gateway() {
    let gateway = Gateway::start(json!({})).await;
    for (head, expect) in [
        (
            "307 Temporary Redirect\r\nlocation: http://elsewhere/v1",
            "redirect (status 307)",
        ),
        ("200 OK\r\ncontent-encoding: gzip", "turn compression off"),
    ] {
        let provider = async { gateway.provider.accept().await.answer(head, "{}").await };
        let (response, ()) = tokio::join!(gateway.call(ask()), provider);
        assert_eq!(response.headers()["x-should-retry"], "false");
        let message = error_of(response, 502, "provider_unusable").await;
        assert!(message.contains(expect), "{message}");
    }
    let cut = async { drop(gateway.provider.accept().await) };
    let (response, ()) = tokio::join!(gateway.call(ask()), cut);
    error_of(response, 502, "provider_broke_off").await;
    let absent = start(json!({"base_url": "http://127.0.0.1:1/v1", "model": "tiny"})).await;
    let response = call(&absent, ada().secret(KEY), ask()).await;
    let message = error_of(response, 502, "provider_unreachable").await;
    assert!(
        message.contains("127.0.0.1:1") && message.contains("`base_url`"),
        "{message}"
    );
}

#[tokio::test]
async fn only_the_models_that_the_operator_names_are_offered() {
    let gateway = Gateway::start(json!({"models": ["small", "org/tiny"]})).await;
    for path in ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"] {
        let response = gateway.call(post(path, &json!({"model": "large"}))).await;
        error_of(response, 404, "model_not_found").await;
        error_of(
            gateway.call(post(path, &json!({}))).await,
            400,
            "missing_required_parameter",
        )
        .await;
        let cut = request(Method::POST, path, Body::from("{\"model\":"));
        error_of(gateway.call(cut).await, 400, "invalid_json").await;
        let provider = async { gateway.provider.accept().await.answer("200 OK", "{}").await };
        let allowed = gateway.call(post(path, &json!({"model": "org/tiny"})));
        let (response, ()) = tokio::join!(allowed, provider);
        assert_eq!(response.status(), 200, "{path}");
    }
    error_of(
        gateway.call(get("/v1/models/large")).await,
        404,
        "model_not_found",
    )
    .await;
    let provider = async {
        let list = json!({"object": "list", "data": [{"id": "large"}, {"id": "small"}]});
        gateway
            .provider
            .accept()
            .await
            .answer("200 OK", &list.to_string())
            .await;
    };
    let (response, ()) = tokio::join!(gateway.call(get("/v1/models")), provider);
    assert_eq!(json_of(response).await["data"], json!([{"id": "small"}]));
}

#[tokio::test]
async fn what_an_answer_costs_and_how_it_ends_is_counted_for_the_session() {
    let gateway = Gateway::start(json!({})).await;
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":6}"#;
    let answer = format!(r#"{{"model":"tiny-1",{usage}}}"#);
    for (status, body) in [("200 OK", answer.as_str()), ("429 Too Many", "{}")] {
        let provider = async { gateway.provider.accept().await.answer(status, body).await };
        let (response, ()) = tokio::join!(gateway.call(ask()), provider);
        text(response).await;
    }
    let provider = async {
        let mut exchange = gateway.provider.accept().await;
        exchange.begin_event_stream().await;
        exchange
            .send_chunk(&format!("data: {{\"model\":\"tiny-1\",{usage}}}\n\n"))
            .await;
        exchange
    };
    let (response, exchange) = tokio::join!(gateway.call(ask()), provider);
    let mut stream = response.into_body().into_data_stream();
    next(&mut stream).await;
    drop(stream);
    exchange.closed().await;
    let provider = async { gateway.provider.accept().await.answer("200 OK", "{}").await };
    tokio::join!(gateway.call(get("/v1/models")), provider);
    let tokens = |kind| {
        let labels = [("kind", kind), ("model", "tiny-1")];
        gateway.module.session_metric("tokens", &labels)
    };
    assert_eq!((tokens("input"), tokens("output")), (6, 12));
    let ended = |model, outcome| {
        let labels = [("model", model), ("outcome", outcome)];
        gateway.module.session_metric("requests", &labels)
    };
    assert_eq!(ended("tiny-1", "complete"), 1);
    assert_eq!(ended("tiny-1", "left"), 1);
    assert_eq!(ended("unknown", "rate_limited"), 1);
    assert_eq!(
        ended("unknown", "complete"),
        0,
        "lists of models are not counted"
    );
}
