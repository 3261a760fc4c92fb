//! A model behind each API: what is sent to the provider, what comes of its answers and failures.

use futures_util::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::provider::{FakeProvider, Reply};
use super::*;

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

#[tokio::test]
async fn an_https_address_is_spoken_to_in_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("https://{}/v1", listener.local_addr().unwrap());
    let module = start(json!({"base_url": base_url, "model": "tiny", "retries": 0})).await;
    let server = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut start = [0; 3];
        connection.read_exact(&mut start).await.unwrap();
        start
    };
    let session = ada().secret("sk-test");
    let (start, events) = tokio::join!(server, events(&module, session, create("hi")));
    // a handshake record of TLS 1.x (RFC 8446 section 5.1), and no word in the clear before or after
    assert_eq!(start, [22, 3, 1]);
    assert!(
        events.last().unwrap()["message"]
            .as_str()
            .unwrap()
            .contains("cannot be reached")
    );
}
