//! The path everything else widens: a kernel, a module, a session, an answer.

use serde_json::json;

use crate::harness::Kernel;

#[tokio::test]
async fn a_session_reaches_a_module_and_nobody_else_does() {
    let kernel = Kernel::start(&["hello"]).await;
    let token = kernel.session(json!({"user": "ada"})).await;
    let answer = kernel.get("/api/hello/hello").bearer(&token).send().await;
    answer.expect_status(200);
    assert_eq!(answer.text(), "hello ada");
    assert_eq!(answer.header("x-midplane-module"), "hello#1");
    kernel
        .get("/api/hello/hello")
        .send()
        .await
        .expect_problem(401, "credential_required");
    kernel
        .get("/api/hello/hello")
        .bearer("nonsense")
        .send()
        .await
        .expect_problem(401, "invalid_token");
    kernel
        .get("/api/hello/hello")
        .bearer(&kernel.host_key)
        .send()
        .await
        .expect_problem(403, "insufficient_scope");
}
