//! Swapping and taking away while requests run, and how streams end.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{counted, eventually, expect_well, faults, logged, module};
use crate::harness::{Answer, Kernel, Stream};

const END: &str = "event: midplane.end\ndata: {\"reason\":\"";

async fn open(kernel: &Kernel, token: &str, path: &str, first: &str) -> Stream {
    let mut stream = kernel
        .get(&format!("/api/faults/{path}"))
        .bearer(token)
        .stream()
        .await;
    stream.read_until(first).await;
    stream
}

async fn reload(kernel: &Kernel, query: &str, config: Value) -> Answer {
    let request = kernel.host("POST", &format!("/modules/faults/reload{query}"));
    request.json(&json!({"config": config})).send().await
}

#[tokio::test]
async fn a_stream_finishes_on_the_old_generation_while_the_new_one_serves() {
    let (kernel, token) = faults("drain_timeout = \"20s\"").await;
    let stream = open(&kernel, &token, "until-drained", "data: one\n\n").await;
    assert_eq!(stream.parts.headers["x-midplane-module"], "faults#1");
    let upload = super::wire::Upload::new(1000).hanging();
    let under_way =
        super::wire::Exchange::start(&kernel, "/api/faults/count", &token, upload).await;
    eventually(&kernel, "both requests", async || {
        (module(&kernel).await["in_flight_requests"] == 2).then_some(())
    })
    .await;
    let answer = reload(&kernel, "", json!({"marker": "new"})).await;
    let receipt = answer.expect_status(200).json();
    assert_eq!(receipt["from"]["generation"], 1);
    assert_eq!(receipt["to"]["generation"], 2);
    assert_eq!(receipt["unloaded"], Value::Null);
    let answer = kernel.get("/api/faults/marker").bearer(&token).send().await;
    assert_eq!(
        (answer.text(), answer.header("x-midplane-module")),
        ("new", "faults#2")
    );
    assert_eq!(stream.rest().await, ("data: goodbye\n\n".to_owned(), true));
    drop(under_way);
    logged(&kernel, &["module retired", "faults#1"]).await;
}

#[tokio::test]
async fn what_outlasts_the_drain_is_cut_with_an_event_where_one_fits() {
    let (kernel, token) = faults("drain_timeout = \"100ms\"").await;
    let event = open(&kernel, &token, "events", "data: one\n\n").await;
    let fast = open(&kernel, &token, "fast-events", "data: fast\n\n").await;
    let half = open(&kernel, &token, "half-event", "data: one").await;
    let lines = open(&kernel, &token, "lines", "one\n").await;
    let waiting = tokio::spawn(kernel.get("/api/faults/wait").bearer(&token).send());
    counted(&kernel, &token, "began to wait", 1).await;
    let (fast, receipt) = tokio::join!(fast.rest(), reload(&kernel, "?wait=drained", json!({})));
    let receipt = receipt.expect_status(200).json();
    assert_eq!(
        receipt["requests"],
        json!({"finished_on_old": 0, "cancelled": 5}),
        "{receipt}"
    );
    assert_eq!(event.rest().await, (format!("{END}draining\"}}\n\n"), true));
    assert!(
        fast.1
            && fast
                .0
                .ends_with(&format!("data: fast\n\n{END}draining\"}}\n\n")),
        "{fast:?}"
    );
    assert_eq!(half.rest().await, (String::new(), false));
    assert_eq!(lines.rest().await, (String::new(), false));
    let waiting = waiting.await.unwrap();
    waiting.expect_problem(503, "draining");
    assert_eq!(waiting.header("retry-after"), "1");
    expect_well(&kernel, &token).await;
}

#[tokio::test]
async fn a_revoked_session_loses_its_streams_at_once() {
    let (kernel, keeps) = faults("").await;
    let issued = kernel
        .host("POST", "/sessions")
        .json(&json!({}))
        .send()
        .await
        .json();
    let (id, token) = (
        issued["id"].as_str().unwrap(),
        issued["client_secret"].as_str().unwrap(),
    );
    let slow = open(&kernel, token, "events", "data: one\n\n").await;
    let fast = open(&kernel, token, "fast-events", "data: fast\n\n").await;
    let mut other = open(&kernel, &keeps, "fast-events", "data: fast\n\n").await;
    let waiting = tokio::spawn(kernel.get("/api/faults/wait").bearer(token).send());
    counted(&kernel, &keeps, "began to wait", 1).await;
    let revoke = kernel.host("DELETE", &format!("/sessions/{id}")).send();
    let (fast, revoked) = tokio::join!(fast.rest(), revoke);
    revoked.expect_status(204);
    let last = format!("{END}session_revoked\"}}\n\n");
    assert_eq!(slow.rest().await, (last.clone(), true));
    assert!(fast.1 && fast.0.ends_with(&last), "{fast:?}");
    waiting.await.unwrap().expect_problem(401, "invalid_token");
    counted(&kernel, &keeps, "waiting", 1).await;
    // Nobody else's.
    other.next().await.unwrap().unwrap();
    expect_well(&kernel, &keeps).await;
}

#[tokio::test]
async fn at_the_end_of_the_kernel_a_module_ends_its_streams_itself() {
    let (kernel, token) = faults("").await;
    let stream = open(&kernel, &token, "until-drained", "data: one\n\n").await;
    kernel.signal(Signal::SIGTERM);
    assert_eq!(stream.rest().await, ("data: goodbye\n\n".to_owned(), true));
    let status = kernel.wait().await;
    assert!(status.success(), "{status}");
    for text in [
        "the last step of on_drain ran",
        "the last step of on_shutdown ran",
    ] {
        logged(&kernel, &[text]).await;
    }
}

#[tokio::test]
async fn delete_waits_as_long_as_it_is_told() {
    let (kernel, token) = faults("").await;
    kernel
        .host("DELETE", "/modules/faults?drain_ms=soon")
        .send()
        .await
        .expect_problem(400, "invalid_request");
    let stream = open(&kernel, &token, "events", "data: one\n\n").await;
    let receipt = kernel
        .host("DELETE", "/modules/faults?drain_ms=50")
        .send()
        .await;
    let receipt = receipt.expect_status(200).json();
    assert_eq!(receipt["to"], Value::Null);
    assert_eq!(receipt["requests"]["cancelled"], 1, "{receipt}");
    assert!(receipt["drain_ms"].as_u64().unwrap() >= 50, "{receipt}");
    assert_eq!(receipt["unloaded"], cfg!(target_os = "linux"), "{receipt}");
    assert_eq!(
        receipt["resident_reason"].is_null(),
        cfg!(target_os = "linux"),
        "{receipt}"
    );
    assert_eq!(stream.rest().await.0, format!("{END}draining\"}}\n\n"));
    let gone = kernel.get("/api/faults/marker").bearer(&token).send().await;
    gone.expect_problem(404, "module_not_found");
    kernel
        .host("DELETE", "/modules/faults")
        .send()
        .await
        .expect_problem(404, "module_not_found");
    // It can come back, as another generation.
    let path = kernel.dir.path().join("modules/libmidplane_faults.so");
    let put = kernel
        .host("PUT", "/modules/faults")
        .json(&json!({"path": path}));
    assert_eq!(
        put.send().await.expect_status(201).json()["to"]["generation"],
        2
    );
    expect_well(&kernel, &token).await;
}
