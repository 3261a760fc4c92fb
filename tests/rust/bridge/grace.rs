//! Sessions whose keys came from a host that is gone.

use serde_json::{Value, json};

use super::slow;
use crate::harness::{Bridge, Kernel};

async fn start(grace: &str) -> (Kernel, Bridge) {
    let kernel = slow()
        .config(&format!("[sessions]\nhost_grace = \"{grace}\""))
        .config("[secrets]\nby-env = \"env:MIDPLANE_TEST_SECRET\"")
        .env("MIDPLANE_TEST_SECRET", "sk-from-env")
        .start()
        .await;
    let watching = Bridge::attach(&kernel, "watching", json!({"events": true})).await;
    (kernel, watching)
}

async fn source(kernel: &Kernel, client: Value) -> Bridge {
    let mut source = Bridge::dial(kernel).await;
    source.ready().await;
    source.initialize(client, json!({"secrets": true})).await;
    source
}

/// A session with a key of this host's.
async fn session(client: &mut Bridge, source: &mut Bridge, key: &str) -> Value {
    let id = client
        .request("session/create", json!({"secret_key_id": key}))
        .await;
    let question = source.question().await;
    source.give(&question, "sk-1").await;
    client.outcome(json!(id)).await.unwrap()
}

async fn status(kernel: &Kernel, session: &Value) -> Value {
    let path = format!("/sessions/{}", session["id"].as_str().unwrap());
    kernel.host("GET", &path).send().await.json()["status"].clone()
}

#[tokio::test]
async fn they_end_with_it_and_no_others_do() {
    let (kernel, mut watching) = start("300ms").await;
    let mut staying = source(&kernel, json!({"name": "staying", "version": "1"})).await;
    let kept = session(&mut watching, &mut staying, "a").await;
    let mut leaving = source(&kernel, json!({"name": "leaving", "version": "1"})).await;
    let lost = session(&mut watching, &mut leaving, "b").await;
    let env = kernel.issue(json!({"secret_key_id": "by-env"})).await;
    let none = kernel.issue(json!({})).await;
    // What it gave for a session that has asked elsewhere since is gone with that.
    let label = leaving.label.clone();
    drop(leaving);
    watching
        .notified("event", |event| {
            event["type"] == "host.gone" && event["host"] == label
        })
        .await;
    let revoked = watching
        .notified("event", |event| event["type"] == "session.revoked")
        .await;
    assert_eq!(revoked["session"], lost["id"]);
    assert_eq!(status(&kernel, &lost).await, "revoked");
    for session in [&kept, &env, &none] {
        assert_eq!(status(&kernel, session).await, "active");
    }
    let token = lost["client_secret"].as_str().unwrap();
    let answer = kernel.get("/api/slow/whoami").bearer(token).send().await;
    answer.expect_problem(401, "invalid_token");
}

/// In time means before the grace is over; then there is nothing to wait for, but what is done for others meanwhile.
#[tokio::test]
async fn they_live_on_when_it_is_back_in_time() {
    let (kernel, mut watching) = start("1s").await;
    let client = json!({"name": "editor", "version": "1", "instance": "window-1"});
    let mut host = source(&kernel, client.clone()).await;
    let kept = session(&mut watching, &mut host, "a").await;
    // Another window of the same editor is another host, and a name alone is none.
    let other = json!({"name": "editor", "version": "1", "instance": "window-2"});
    let mut other = source(&kernel, other).await;
    let lost = session(&mut watching, &mut other, "b").await;
    drop(other);
    drop(host);
    let _named_so = source(&kernel, json!({"name": "editor", "version": "1"})).await;
    let host = source(&kernel, client.clone()).await;
    let revoked = |event: &Value| event["type"] == "session.revoked";
    let first = watching.notified("event", revoked).await;
    assert_eq!(first["session"], lost["id"]);
    assert_eq!(status(&kernel, &kept).await, "active");
    // Each end has its own grace, also of one that has given nothing since it came back.
    drop(host);
    let back = source(&kernel, client.clone()).await;
    drop(back);
    let second = watching.notified("event", revoked).await;
    assert_eq!(second["session"], kept["id"]);
}
