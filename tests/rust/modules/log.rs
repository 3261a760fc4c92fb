//! What a module writes to the log, and what it cannot.

use serde_json::json;

use super::{faults, logged};

#[tokio::test]
async fn lines_say_module_generation_and_request() {
    let (kernel, token) = faults("").await;
    let get = |path: &str, id: &str| {
        let request = kernel.get(&format!("/api/faults/{path}")).bearer(&token);
        request.header("x-request-id", id).send()
    };
    get("log", "quiet").await.expect_status(200);
    let who = ["module=faults", "generation=1", "request_id=quiet"];
    for texts in [
        ["INFO", "a line of info", "answer=42"],
        ["WARN", "a record of the log crate", "faults::answers"],
    ] {
        logged(&kernel, &[&texts[..], &who[..]].concat()).await;
    }
    get("spawned-log", "spawned").await.expect_status(200);
    let line = [
        "a line of a spawned task",
        "request_id=spawned",
        "step=3",
        "module=faults",
        "generation=1",
    ];
    logged(&kernel, &line).await;
    assert!(!kernel.log().contains("a line of debug"));

    let level = json!({"filter": "info,faults=debug"});
    kernel
        .host("PUT", "/log-level")
        .json(&level)
        .send()
        .await
        .expect_status(200);
    get("log", "loud").await.expect_status(200);
    logged(&kernel, &["DEBUG", "a line of debug", "request_id=loud"]).await;
    let level = json!({"filter": "info,faults=error"});
    kernel
        .host("PUT", "/log-level")
        .json(&level)
        .send()
        .await
        .expect_status(200);
    get("log", "silent").await.expect_status(200);
    // The panic's line comes after what the request before could have written.
    get("panic", "after").await.expect_status(500);
    logged(
        &kernel,
        &["the handler panics on purpose", "request_id=after"],
    )
    .await;
    let log = kernel.log();
    assert!(
        !log.lines()
            .any(|line| line.contains("request_id=silent") && line.contains("a line of")),
        "{log}"
    );
}

#[tokio::test]
async fn a_newline_forges_no_line() {
    let (kernel, token) = faults("").await;
    let request = kernel.get("/api/faults/forge").bearer(&token);
    request.send().await.expect_status(200);
    let line = logged(&kernel, &["forged"]).await;
    assert!(
        line.contains("module=faults") && line.contains("first\\n2026-01-01"),
        "{line}"
    );
}
