//! The key: that the provider gets it, that a refused one is asked for again, and that nobody else gets it.

use super::*;

const NEW_KEY: &str = "sk-scripted-9876543210";

#[tokio::test]
async fn a_refused_key_is_asked_for_again_once() {
    let gateway = Gateway::start(json!({})).await;
    let session = || ada().secret(KEY).refreshed(Ok(NEW_KEY.to_owned()));
    let provider = async {
        let first = gateway.provider.accept().await;
        assert_eq!(first.header("authorization"), format!("Bearer {KEY}"));
        let body = first.body.clone();
        first.answer("401 Unauthorized", "{}").await;
        let second = gateway.provider.accept().await;
        assert_eq!(second.header("authorization"), format!("Bearer {NEW_KEY}"));
        assert_eq!(second.body, body);
        second.answer("200 OK", &format!("{KEY} {NEW_KEY}")).await;
    };
    let (response, ()) = tokio::join!(call(&gateway.module, session(), ask()), provider);
    assert_eq!(response.status(), 200);
    assert_eq!(
        text(response).await,
        "********************** **********************"
    );

    let provider = async {
        for _ in 0..2 {
            let words = format!("Incorrect API key provided: {}***{}", &KEY[..8], &KEY[18..]);
            let error = json!({"error": {"message": words, "code": "invalid_api_key"}});
            gateway
                .provider
                .accept()
                .await
                .answer("401 Unauthorized", &error.to_string())
                .await;
        }
    };
    let (response, ()) = tokio::join!(call(&gateway.module, session(), ask()), provider);
    let message = error_of(response, 401, "invalid_api_key").await;
    assert!(
        message.contains("store a valid key") && !message.contains(&KEY[18..]),
        "{message}"
    );
}

#[tokio::test]
async fn a_body_that_cannot_be_sent_again_is_asked_for_with_the_new_key() {
    let gateway = Gateway::start(json!({})).await;
    let long = || {
        let body = json!({"model": "tiny", "image": "x".repeat(2 << 20)}).to_string();
        request(Method::POST, "/v1/responses", Body::from(body))
    };
    let refuse = || async {
        gateway
            .provider
            .accept()
            .await
            .answer("401 Unauthorized", "{}")
            .await;
    };
    let renewed = ada().secret(KEY).refreshed(Ok(NEW_KEY.to_owned()));
    let (response, ()) = tokio::join!(call(&gateway.module, renewed, long()), refuse());
    assert_eq!(response.headers()["x-should-retry"], "true");
    error_of(response, 503, "key_renewed").await;
    let lost = ada()
        .secret(KEY)
        .refreshed(Err("the host has no other".to_owned()));
    let (response, ()) = tokio::join!(call(&gateway.module, lost, long()), refuse());
    error_of(response, 401, "invalid_api_key").await;
}

#[tokio::test]
async fn a_key_that_the_provider_repeats_does_not_pass() {
    let gateway = Gateway::start(json!({})).await;
    for status in [
        "200 OK",
        "400 Bad Request",
        "403 Forbidden",
        "429 Too Many",
        "500 Oops",
    ] {
        let provider = async {
            let head = format!(
                "{status}\r\ncontent-type: text/html\r\nx-debug: Bearer {KEY}\r\nx-request-id: {KEY}"
            );
            let body = format!("<p>your key is {KEY}</p>");
            gateway.provider.accept().await.answer(&head, &body).await;
        };
        let (response, ()) = tokio::join!(gateway.call(ask()), provider);
        let headers = format!("{:?}", response.headers());
        assert!(
            !headers.contains(KEY) && !headers.contains("x-debug"),
            "{headers}"
        );
        let body = text(response).await;
        assert_eq!(
            body,
            format!("<p>your key is {}</p>", "*".repeat(KEY.len())),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_key_that_is_spread_over_a_stream_s_pieces_does_not_pass_either() {
    let gateway = Gateway::start(json!({})).await;
    let provider = async {
        let mut exchange = gateway.provider.accept().await;
        exchange.begin_event_stream().await;
        exchange.send_chunk("data: a ").await;
        for piece in [&KEY[..1], &KEY[1..9], &KEY[9..]] {
            exchange.send_chunk(piece).await;
        }
        exchange.send_chunk(" b\n\n").await;
        exchange.end_chunks().await;
    };
    let (response, ()) = tokio::join!(gateway.call(ask()), provider);
    let stars = "*".repeat(KEY.len());
    assert_eq!(text(response).await, format!("data: a {stars} b\n\n"));
}

#[tokio::test]
async fn without_a_key_an_error_says_why() {
    let provider = Scripted::start().await;
    let config = json!({"provider": "openai", "base_url": provider.base_url(), "model": "tiny"});
    let module = start(config).await;
    let response = call(&module, ada(), ask()).await;
    let message = error_of(response, 401, "invalid_api_key").await;
    assert!(message.contains("`secret_key_id`"), "{message}");
}

#[tokio::test]
async fn a_server_that_wants_no_key_gets_none_and_its_401_is_its_own() {
    let provider = Scripted::start().await;
    let config = json!({"provider": "openai", "base_url": provider.base_url(), "model": "tiny", "requires_key": false});
    let module = start(config).await;
    let served = async {
        let exchange = provider.accept().await;
        assert!(!exchange.headers.contains_key("authorization"));
        exchange.answer("401 Unauthorized", "its own words").await;
    };
    let (response, ()) = tokio::join!(call(&module, ada(), ask()), served);
    assert_eq!(response.status(), 401);
    assert_eq!(text(response).await, "its own words");
}
