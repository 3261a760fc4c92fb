//! Calls to other modules, without a kernel: a function of the test's answers them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use midplane_sdk::{CallError, Caller, Context, Result, Session, testing};
use serde_json::{Value, json};

const LARGE: usize = 300_000;

/// Passes on what it is asked, by a handler and by a task.
async fn relay(ctx: Context) -> Result<Router> {
    let (calls, in_task) = (ctx.calls(), ctx.calls());
    Ok(Router::new()
        .route(
            "/handler/{*rest}",
            any(async move |request: Request| calls.call("other", request).await),
        )
        .route(
            "/session/{*rest}",
            any(async move |session: Session, request: Request| {
                session.call("other", request).await
            }),
        )
        .route(
            "/task/{*rest}",
            any(async move |request: Request| {
                let calls = in_task.clone();
                let task = tokio::spawn(async move { calls.call("other", request).await });
                task.await.unwrap_or(Err(CallError::Over))
            }),
        )
        .route(
            "/who",
            get(async |caller: Caller| {
                Json(json!({
                    "module": caller.module(),
                    "generation": caller.generation(),
                    "user": caller.session().map(Session::user),
                }))
            }),
        ))
}

fn request(target: &str, body: impl Into<Body>) -> http::Request<Body> {
    http::Request::post(target)
        .body(body.into())
        .expect("a target is valid")
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("the body is whole");
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn ada() -> Option<testing::SessionBuilder> {
    Some(testing::session("ada"))
}

#[tokio::test]
async fn calls_are_answered_by_the_test() {
    let echo = async |module: String, request: Request| {
        let (head, body) = request.into_parts();
        Response::builder()
            .status(StatusCode::ACCEPTED)
            .header("x-asked", format!("{module} {} {}", head.method, head.uri))
            .body(body)
            .unwrap()
    };
    let module = testing::prepare(relay, json!({})).answer_calls(echo);
    let module = module.start().await.unwrap();
    for from in ["handler", "session", "task"] {
        for len in [0, 1, LARGE] {
            let target = format!("/{from}/echo?len={len}");
            let sent = "x".repeat(len);
            let response = module.call(ada(), request(&target, sent.clone())).await;
            assert_eq!(response.status(), StatusCode::ACCEPTED, "{target}");
            assert_eq!(
                response.headers()["x-asked"],
                format!("other POST {target}").as_str()
            );
            assert!(text(response).await == sent, "{target}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_not_made() {
    let made = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&made);
    let endless = move |_module: String, _request: Request| {
        let made = Arc::clone(&counted);
        let pieces = futures_util::stream::repeat_with(move || {
            made.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(vec![0_u8; 16 * 1024])
        });
        std::future::ready(Response::new(Body::from_stream(pieces)))
    };
    let module = testing::prepare(relay, json!({})).answer_calls(endless);
    let module = module.start().await.unwrap();
    let response = module.call(None, request("/task/endless", "")).await;
    let mut stream = response.into_body().into_data_stream();
    stream.next().await.unwrap().unwrap();
    let before = made.load(Ordering::SeqCst);
    assert!(before < 100, "{before}");
    drop(stream);
}

#[tokio::test]
async fn without_an_answerer_no_module_is_loaded() {
    let module = testing::start(relay, json!({})).await.unwrap();
    let response = module.call(None, request("/handler/x", "")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let problem: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(problem["code"], "call_failed");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("the module other, which this one calls, is not loaded"));
}

#[tokio::test]
async fn a_module_calls_before_it_serves_and_a_failure_refuses_it() {
    async fn careful(ctx: Context) -> Result<Router> {
        let answer = ctx.call("other", http::Request::new(Body::empty())).await?;
        let greeting = to_bytes(answer.into_body(), 100).await?;
        Ok(Router::new().route("/", get(async move || greeting)))
    }
    let answer = async |_module: String, _request: Request| Response::new(Body::from("well"));
    let module = testing::prepare(careful, json!({})).answer_calls(answer);
    let module = module.start().await.unwrap();
    let response = module.call(None, http::Request::new(Body::empty())).await;
    assert_eq!(text(response).await, "well");
    let error = testing::start(careful, json!({})).await.err().unwrap();
    assert!(error.to_string().contains("is not loaded"), "{error}");
}

#[tokio::test]
async fn a_caller_is_named_and_a_client_is_none() {
    let module = testing::start(relay, json!({})).await.unwrap();
    let get = || http::Request::get("/who").body(Body::empty()).unwrap();
    for (session, user) in [(None, Value::Null), (ada(), json!("ada"))] {
        let response = module.call_from("notes", session, get()).await;
        let who: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(
            who,
            json!({"module": "notes", "generation": 1, "user": user})
        );
    }
    let response = module.call(ada(), get()).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}
