//! Metrics through the SDK's own stand-in for the kernel: what an author's unit test sees.

#![expect(clippy::unwrap_used, reason = "a test may")]

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::Request;
use midplane_sdk::testing::{self, Module, session};
use midplane_sdk::{Context, Result, Session};
use serde_json::json;

async fn counting(ctx: Context) -> Result<Router> {
    let metrics = ctx.metrics();
    let tokens = metrics.counter("tokens", "Tokens the provider counted.");
    let open = metrics.gauge("open_streams", "Streams that are open.");
    let taken = metrics.histogram("answer_seconds", "Until the first token.", &[0.1, 1.0]);
    let kept = tokens.series(&[("kind", "kept")]);
    // Refused by the kernel, too, and no reason to fail.
    metrics.counter("not a name", "A").add(&[], 1);
    metrics.counter("tokens_total", "A").add(&[], 1);
    metrics.gauge("tokens", "A counter already.").set(&[], 7.0);
    let turn = move |who: Option<Session>| async move {
        tokens.add(&[("model", "tiny"), ("kind", "input")], 3);
        tokens.add(&[("module", "mine")], 1);
        kept.add(2);
        if let Some(session) = who {
            tokens.add_for(&session, &[("kind", "input"), ("model", "tiny")], 12);
        }
        open.add(&[], 3);
        open.add(&[], -1);
        open.set(&[("of", "set")], 2.5);
        open.set(&[("of", "set")], f64::NAN);
        for seconds in [0.05, 0.5, -1.0, f64::INFINITY] {
            taken.observe(&[], seconds);
        }
    };
    Ok(Router::new().route("/turn", post(turn)))
}

async fn turn(module: &Module, session: Option<testing::SessionBuilder>) {
    let request = Request::post("/turn").body(Body::empty()).unwrap();
    assert_eq!(module.call(session, request).await.status(), 200);
}

#[tokio::test]
async fn a_test_sees_what_the_module_counted() {
    let module = testing::start(counting, json!({})).await.unwrap();
    let input = [("kind", "input"), ("model", "tiny")];
    assert_eq!(module.metric("tokens", &input), 0);
    turn(&module, None).await;
    assert_eq!(module.metric("tokens", &input), 3);
    assert_eq!(module.session_metric("tokens", &input), 0);
    turn(&module, Some(session("ada"))).await;
    // The session's share is in the total, in whatever order the labels stand.
    assert_eq!(module.metric("tokens", &[input[1], input[0]]), 18);
    assert_eq!(module.session_metric("tokens", &input), 12);
    assert_eq!(module.metric("tokens", &[("kind", "kept")]), 4);
    assert_eq!(module.metric("tokens", &[("module", "mine")]), 0);
    assert_eq!(module.metric("open_streams", &[]), 4);
    assert_eq!(module.metric("open_streams", &[("of", "set")]), 2);
    assert_eq!(module.metric("answer_seconds", &[]), 4);
}

#[tokio::test]
async fn each_module_counts_for_itself() {
    let one = testing::start(counting, json!({})).await.unwrap();
    let other = testing::start(counting, json!({})).await.unwrap();
    turn(&one, None).await;
    assert_eq!(one.metric("tokens", &[("kind", "kept")]), 2);
    assert_eq!(other.metric("tokens", &[("kind", "kept")]), 0);
}

#[tokio::test]
#[should_panic = "declared no metric `token`"]
async fn a_name_that_nobody_declared_is_a_mistake_of_the_test() {
    let module = testing::start(counting, json!({})).await.unwrap();
    module.metric("token", &[]);
}

#[test]
fn without_a_module_counting_is_possible_and_leads_nowhere() {
    let metrics = testing::metrics();
    metrics.counter("tokens", "Tokens.").add(&[], 1);
    metrics.gauge("open", "Open.").set(&[], 1.0);
    metrics
        .histogram("seconds", "Seconds.", &[1.0])
        .observe(&[], 1.0);
}
