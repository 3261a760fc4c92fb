//! `GET /events`: what happens, as it happens.

use serde_json::{Value, json};

use crate::harness::{Kernel, hellos};

#[tokio::test]
async fn everything_that_happens_is_told_in_order() {
    for hello in hellos() {
        expect_events(hello.start().await).await;
    }
}

async fn expect_events(kernel: Kernel) {
    let mut stream = kernel.host("GET", "/events").stream().await;
    assert_eq!(stream.parts.status, 200);
    assert_eq!(stream.parts.headers["content-type"], "text/event-stream");
    stream.read_until(": listening\n\n").await;
    let session = kernel.issue(json!({"user": "ada"})).await;
    let id = session["id"].as_str().unwrap();
    kernel
        .host("DELETE", &format!("/sessions/{id}"))
        .send()
        .await
        .expect_status(204);
    let rotated = kernel.host("POST", "/keys/rotate").send().await.json();
    let reload = kernel.host("POST", "/modules/hello/reload?wait=drained");
    reload.send().await.expect_status(200);
    let bad = kernel
        .host("PUT", "/modules/hello")
        .json(&json!({"path": "/nonexistent/x.so"}));
    assert!(bad.send().await.status() >= 400);
    kernel
        .host("DELETE", "/modules/hello")
        .send()
        .await
        .expect_status(200);
    let told = stream.read_until("\"generation\":2").await;
    let events: Vec<Value> = told
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|json| serde_json::from_str(json).unwrap())
        .collect();
    let types: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "session.issued",
            "session.revoked",
            "keys.rotated",
            "module.swapped",
            "module.unloaded",
            "module.refused",
            "module.unloaded"
        ]
    );
    assert!(
        events.iter().all(|event| event["at"].is_u64()),
        "{events:?}"
    );
    assert_eq!(
        (&events[0]["session"], &events[0]["user"]),
        (&json!(id), &json!("ada"))
    );
    assert_eq!(events[1]["session"], id);
    assert_eq!(events[2]["kid"], rotated["kid"]);
    assert_eq!(
        (&events[3]["from"], &events[3]["to"]),
        (&json!(1), &json!(2))
    );
    assert!(!told.contains(session["client_secret"].as_str().unwrap()));
    kernel.signal(nix::sys::signal::Signal::SIGTERM);
    let (last, whole) = stream.rest().await;
    assert!(whole && last.contains("kernel.draining"), "{last}");
}
