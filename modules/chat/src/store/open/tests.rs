//! Which store a module takes, by what is configured and what answers its first call.

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::{Request, Response, StatusCode};
use midplane_sdk::Problem;
use midplane_sdk::testing::{self, Module};
use serde_json::{Value, json};

use crate::tests::{ada, call};

/// A module whose calls are all answered with this problem, but that for what is kept, if that is to succeed.
async fn refused_with(
    config: Value,
    status: u16,
    code: &'static str,
    is_there: bool,
) -> midplane_sdk::Result<Module> {
    let answer = move |_, request: Request<Body>| async move {
        let usage = json!({"entries": 0, "bytes": 0, "quota_bytes": 9, "version": 0});
        match is_there && request.uri().path() == "/usage" {
            true => Response::new(Body::from(usage.to_string())),
            false => {
                let status = StatusCode::from_u16(status).unwrap();
                Problem::new(status, code, "this is why").into_response()
            }
        }
    };
    let prepared = testing::prepare(crate::chat, config).answer_calls(answer);
    prepared.start().await
}

async fn list(module: &Module) -> (u16, String) {
    let list = json!({"type": "threads.list", "params": {}});
    let response = call(module, ada(), list).await;
    (
        response.status().as_u16(),
        crate::tests::text(response).await,
    )
}

#[tokio::test]
async fn memory_is_taken_where_it_is_wanted_or_there_is_nothing_else() {
    for config in [json!({}), json!({"store": "memory"})] {
        let module = testing::start(crate::chat, config).await.unwrap();
        assert_eq!(list(&module).await.0, 200);
    }
    let module = refused_with(json!({"store": "memory"}), 500, "store_failed", false).await;
    assert_eq!(list(&module.unwrap()).await.0, 200, "it is not asked");
}

#[tokio::test]
async fn what_must_last_is_not_begun_without_the_store() {
    let durable = json!({"store": "durable"});
    let refused = testing::start(crate::chat, durable.clone()).await;
    let told = refused.err().expect("it is refused").to_string();
    assert!(told.contains("grant `call:store`"), "{told}");
    for (status, code) in [(503, "store_busy"), (500, "store_damaged")] {
        let refused = refused_with(durable.clone(), status, code, false).await;
        let told = refused.err().expect("it is refused").to_string();
        assert!(told.contains("this is why"), "{told}");
    }
}

#[tokio::test]
async fn a_store_that_is_loaded_and_fails_does_not_make_conversations_seem_gone() {
    for (status, code, told_status, told_code) in [
        (503, "store_busy", 503, "store_unavailable"),
        (404, "module_not_loaded", 503, "store_unavailable"),
        (507, "quota_exceeded", 507, "store_full"),
        (507, "disk_full", 507, "store_full"),
        (500, "store_damaged", 500, "store_failed"),
    ] {
        let module = refused_with(json!({}), status, code, true).await.unwrap();
        let (status, told) = list(&module).await;
        assert_eq!(status, told_status, "{code}: {told}");
        assert!(
            told.contains(told_code) && told.contains("this is why"),
            "{code}: {told}"
        );
    }
    let module = refused_with(json!({}), 503, "store_busy", false).await;
    assert_eq!(list(&module.unwrap()).await.0, 503);
}
