//! Sessions of workflows that OpenAI hosts.

use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::scripted::Scripted;
use super::{DEADLINE, Module, SessionBuilder, ada, start, text};

const KEY: &str = "sk-scripted-0123456789";
const PATH: &str = "/chatkit/sessions";

async fn hosted() -> (Scripted, Module) {
    let provider = Scripted::start().await;
    let module = start(json!({"base_url": provider.base_url(), "model": "tiny"})).await;
    (provider, module)
}

async fn post(module: &Module, session: SessionBuilder, path: &str, body: &str) -> Response<Body> {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .header("openai-organization", "org-1")
        .body(Body::from(body.to_owned()))
        .unwrap();
    timeout(DEADLINE, module.call(Some(session), request))
        .await
        .expect("the module answers")
}

async fn problem(response: Response<Body>, status: u16, code: &str) -> String {
    assert_eq!(response.status(), status);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let problem: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(problem["code"], code, "{problem}");
    problem["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_is_made_for_the_session_s_user_and_no_other() {
    let (provider, module) = hosted().await;
    let answer = json!({"id": "cksess_1", "object": "chatkit.session", "client_secret": "ek_1", "expires_at": 1_800_000_000,
        "status": "active", "user": "ada", "workflow": {"id": "wf_1"}, "max_requests_per_1_minute": 10});
    let served = async {
        let exchange = provider.accept().await;
        assert_eq!(exchange.line, "POST /v1/chatkit/sessions HTTP/1.1");
        assert_eq!(exchange.header("openai-beta"), "chatkit_beta=v1");
        assert_eq!(exchange.header("authorization"), format!("Bearer {KEY}"));
        assert!(!exchange.headers.contains_key("openai-organization"));
        let body: Value = serde_json::from_slice(&exchange.body).unwrap();
        assert_eq!(body, json!({"workflow": {"id": "wf_1"}, "user": "ada"}));
        let head = "200 OK\r\ncontent-type: application/json\r\nx-request-id: req_1";
        exchange.answer(head, &answer.to_string()).await;
    };
    let wish = r#"{"workflow":{"id":"wf_1"},"user":"eve"}"#;
    let (response, ()) = tokio::join!(post(&module, ada().secret(KEY), PATH, wish), served);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-upstream-request-id"], "req_1");
    assert_eq!(text(response).await, answer.to_string());
}

#[tokio::test]
async fn a_session_is_cancelled() {
    let (provider, module) = hosted().await;
    let served = async {
        let exchange = provider.accept().await;
        assert_eq!(
            exchange.line,
            "POST /v1/chatkit/sessions/cksess_1/cancel HTTP/1.1"
        );
        assert_eq!(exchange.header("openai-beta"), "chatkit_beta=v1");
        exchange
            .answer("200 OK", r#"{"id":"cksess_1","status":"cancelled"}"#)
            .await;
    };
    let path = "/chatkit/sessions/cksess_1/cancel";
    let (response, ()) = tokio::join!(post(&module, ada().secret(KEY), path, ""), served);
    assert_eq!(response.status(), 200);
    let wrong = "/chatkit/sessions/..%2F..%2Ffiles/cancel";
    problem(
        post(&module, ada().secret(KEY), wrong, "").await,
        400,
        "invalid_request",
    )
    .await;
}

#[tokio::test]
async fn refusals_are_problems_with_the_provider_s_reason_and_without_the_key() {
    let (provider, module) = hosted().await;
    let session = || ada().secret(KEY);
    for (head, status, code) in [
        ("400 Bad Request", 400, "provider_refused"),
        ("404 Not Found", 404, "provider_refused"),
        ("429 Too Many\r\nretry-after: 7", 429, "provider_refused"),
        ("500 Oops", 502, "provider_failed"),
        ("307 Elsewhere\r\nlocation: /", 502, "provider_failed"),
    ] {
        // with the key as it is, and as JSON can hide it
        let words = format!("No workflow 'wf_1' for {KEY}");
        let error = json!({"error": {"message": words}}).to_string();
        let error = error.replace(" for sk-", " for \\u0073k-");
        let served = async { provider.accept().await.answer(head, &error).await };
        let (response, ()) = tokio::join!(post(&module, session(), PATH, "{}"), served);
        let waits = response.headers().get("retry-after").is_some();
        assert_eq!(waits, status == 429);
        let detail = problem(response, status, code).await;
        assert!(detail.contains("No workflow 'wf_1' for ***"), "{detail}");
        assert!(!detail.contains(KEY), "{detail}");
    }
    let served = async {
        for _ in 0..2 {
            provider
                .accept()
                .await
                .answer("401 Unauthorized", KEY)
                .await;
        }
    };
    let (response, ()) = tokio::join!(post(&module, session(), PATH, "{}"), served);
    problem(response, 502, "invalid_api_key").await;
    let served = async { provider.accept().await.answer("200 OK", "<html>").await };
    let (response, ()) = tokio::join!(post(&module, session(), PATH, "{}"), served);
    problem(response, 502, "provider_failed").await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_here() {
    let (_provider, module) = hosted().await;
    for body in ["", "[]", "\"x\"", "{"] {
        problem(
            post(&module, ada().secret(KEY), PATH, body).await,
            400,
            "invalid_request",
        )
        .await;
    }
    let detail = problem(post(&module, ada(), PATH, "{}").await, 501, "not_offered").await;
    assert!(detail.contains("give the session an API key"), "{detail}");
}
