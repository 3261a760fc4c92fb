//! A panic or an error fails the request it happened in, says so in the log, and nothing else.

use serde_json::json;

use super::{counted, expect_well, faults, logged, module};

#[tokio::test]
async fn a_panic_before_the_head_answers_500_and_the_log_says_where() {
    let (kernel, token) = faults("").await;
    for (path, message) in [
        ("panic", "the handler panics on purpose"),
        ("panic-with-a-number", "a panic whose payload is not a text"),
        (
            "panic-in-body-drop",
            "the drop of whole body panics on purpose",
        ),
        ("panic-in-task", "the task ends well"),
    ] {
        let id = format!("request-{path}");
        let answer = kernel
            .get(&format!("/api/faults/{path}"))
            .bearer(&token)
            .header("x-request-id", &id)
            .send()
            .await;
        answer.expect_problem(500, "module_failed");
        assert_eq!(answer.header("x-request-id"), id);
        assert!(
            !answer.text().contains("on purpose"),
            "internals stay in the log: {answer}"
        );
        let place = if path == "panic-in-body-drop" {
            "src/witness.rs:"
        } else {
            "src/panics.rs:"
        };
        let said = format!("request_id={id}");
        logged(
            &kernel,
            &[message, &said, place, "module=faults", "generation=1"],
        )
        .await;
        expect_well(&kernel, &token).await;
    }
    logged(
        &kernel,
        &[
            "the task panics on purpose",
            "src/panics.rs:",
            "module=faults",
        ],
    )
    .await;
    let requests = &module(&kernel).await["requests"];
    assert_eq!(requests["5xx"], 4, "{requests}");
}

#[tokio::test]
async fn an_error_of_the_service_answers_500() {
    let (kernel, token) = faults("").await;
    let answer = kernel
        .get("/api/faults/fail")
        .bearer(&token)
        .header("x-request-id", "failing")
        .send()
        .await;
    answer.expect_problem(500, "module_failed");
    logged(
        &kernel,
        &["the handler fails on purpose", "failing", "faults#1"],
    )
    .await;
    expect_well(&kernel, &token).await;
}

#[tokio::test]
async fn after_the_head_the_answer_is_cut() {
    let (kernel, token) = faults("").await;
    for (path, message) in [
        ("panic-in-stream", "the stream panics on purpose"),
        ("fail-in-stream", "the stream fails on purpose"),
    ] {
        let mut stream = kernel
            .get(&format!("/api/faults/{path}"))
            .bearer(&token)
            .header("x-request-id", path)
            .stream()
            .await;
        assert_eq!(stream.parts.status, 200);
        stream.read_until("one\n").await;
        let (rest, whole) = stream.rest().await;
        assert!(
            !whole && rest.is_empty(),
            "{path}: {rest:?}, whole: {whole}"
        );
        logged(&kernel, &[message, path]).await;
        expect_well(&kernel, &token).await;
    }
}

#[tokio::test]
async fn a_panic_while_something_is_dropped_hurts_nobody() {
    let (kernel, token) = faults("").await;
    let mut stream = kernel
        .get("/api/faults/panic-in-open-body-drop")
        .bearer(&token)
        .stream()
        .await;
    stream.read_until("one\n").await;
    drop(stream);
    counted(&kernel, &token, "open body", 1).await;
    logged(
        &kernel,
        &["the drop of open body panics on purpose", "src/witness.rs:"],
    )
    .await;

    let request = kernel
        .get("/api/faults/panic-in-future-drop")
        .bearer(&token);
    let waiting = tokio::spawn(request.stream());
    super::eventually(&kernel, "the request", async || {
        (module(&kernel).await["in_flight_requests"] == 1).then_some(())
    })
    .await;
    waiting.abort();
    // Dropping the request closed its connection.
    assert!(waiting.await.is_err_and(|error| error.is_cancelled()));
    counted(&kernel, &token, "future", 1).await;
    logged(
        &kernel,
        &["the drop of future panics on purpose", "src/witness.rs:"],
    )
    .await;
    super::eventually(&kernel, "the end of both", async || {
        (module(&kernel).await["in_flight_requests"] == 0).then_some(())
    })
    .await;
    expect_well(&kernel, &token).await;
}

#[tokio::test]
async fn what_init_refuses_leaves_the_running_one_alone() {
    let (kernel, token) = faults("").await;
    for (config, reason) in [
        (
            json!({"init": "panic"}),
            "init panicked: init panics on purpose",
        ),
        (json!({"init": "error"}), "init failed: set a better `init`"),
        (json!({"initt": "error"}), "unknown member `initt`"),
        (json!({"large": "many"}), "invalid type: string \"many\""),
        (
            json!({"large": 1_u64 << 40}),
            "raise `body_bytes_max` in [limits]",
        ),
    ] {
        let answer = kernel
            .host("POST", "/modules/faults/reload")
            .json(&json!({"config": config}))
            .send()
            .await;
        answer.expect_problem(422, "module_refused");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(reason), "{detail}");
        let answer = kernel.get("/api/faults/timer").bearer(&token).send().await;
        assert_eq!(
            answer.expect_status(200).header("x-midplane-module"),
            "faults#1"
        );
    }
    // The configuration that was refused is forgotten, too.
    let answer = kernel
        .host("POST", "/modules/faults/reload")
        .json(&json!({}))
        .send()
        .await;
    answer.expect_status(200);
}

#[tokio::test]
async fn a_panic_in_on_drain_or_on_shutdown_skips_no_other_step() {
    let (kernel, token) =
        faults("config = { on_drain = \"panic\", on_shutdown = \"panic\" }").await;
    let mut stream = kernel
        .get("/api/faults/until-drained")
        .bearer(&token)
        .stream()
        .await;
    stream.read_until("data: one\n\n").await;
    let receipt = kernel
        .host("POST", "/modules/faults/reload?wait=drained")
        .json(&json!({"config": {}}));
    let receipt = tokio::spawn(receipt.send());
    let (rest, whole) = stream.rest().await;
    assert_eq!((rest.as_str(), whole), ("data: goodbye\n\n", true));
    let receipt = receipt.await.unwrap();
    assert_eq!(
        receipt.expect_status(200).json()["requests"]["finished_on_old"],
        1,
        "{receipt}"
    );
    for text in [
        "on_drain panics on purpose",
        "the last step of on_drain ran",
        "on_shutdown panics on purpose",
        "the last step of on_shutdown ran",
    ] {
        logged(&kernel, &[text, "module=faults", "generation=1"]).await;
    }
    expect_well(&kernel, &token).await;
}

#[tokio::test]
async fn a_session_check_may_refuse_and_may_panic() {
    let kernel = crate::harness::Kernel::builder()
        .module("faults", "config = { on_session = \"panic\" }")
        .start()
        .await;
    let ask = || {
        kernel
            .host("POST", "/sessions")
            .json(&json!({"user": "ada"}))
    };
    ask().send().await.expect_problem(500, "module_failed");
    logged(&kernel, &["on_session panics on purpose", "src/lib.rs:"]).await;
    let reload = |word: &str| {
        kernel
            .host("POST", "/modules/faults/reload")
            .json(&json!({"config": {"on_session": word}}))
    };
    reload("refuse").send().await.expect_status(200);
    let answer = ask().send().await;
    answer.expect_problem(403, "secret_rejected");
    assert!(answer.text().contains("ada is not welcome"), "{answer}");
    reload("accept").send().await.expect_status(200);
    ask().send().await.expect_status(201);
}
