//! A module that owns what two generations cannot share: the old one ends before the new one begins, and nobody is refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::{Answer, Kernel, OnlyHere, artifact, connect};

async fn owner(config: &str, settings: &str) -> (Kernel, String) {
    let kernel = Kernel::builder()
        .config(config)
        .module("owner", settings)
        .start()
        .await;
    let token = kernel.session(json!({"user": "ada"})).await;
    (kernel, token)
}

async fn reload(kernel: &Kernel, config: Value) -> Answer {
    let request = kernel.host("POST", "/modules/owner/reload?wait=drained");
    request.json(&json!({"config": config})).send().await
}

async fn put(kernel: &Kernel) -> Answer {
    let request = kernel.host("PUT", "/modules/owner");
    let file = artifact("owner");
    let path = kernel
        .dir
        .path()
        .join("modules")
        .join(file.file_name().unwrap());
    request.json(&json!({"path": path})).send().await
}

/// The count in the file, and the generation that wrote it.
async fn add(kernel: &Kernel, token: &str) -> (u64, String) {
    let answer = kernel.post("/api/owner/add").bearer(token).send().await;
    let answer = answer.expect_status(200);
    (
        answer.text().parse().unwrap(),
        answer.header("x-midplane-module").to_owned(),
    )
}

/// While it is there, no generation starts.
fn closed(kernel: &Kernel) -> PathBuf {
    kernel.dir.path().join("data/state/owner/closed")
}

#[tokio::test]
async fn reloads_under_load_lose_nothing_and_refuse_nobody() {
    let (kernel, token) = owner("", "").await;
    let (kernel, over) = (Arc::new(kernel), Arc::<AtomicBool>::default());
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (kernel, over, token) = (Arc::clone(&kernel), Arc::clone(&over), token.clone());
            tokio::spawn(async move {
                let (mut sender, _connection) = connect(&kernel.socket).await;
                let mut added = 0;
                while !over.load(Ordering::SeqCst) {
                    let request = kernel.post("/api/owner/add").bearer(&token);
                    request.send_on(&mut sender).await.expect_status(200);
                    added += 1;
                }
                added
            })
        })
        .collect();
    for _ in 0..10 {
        let slow = kernel.get("/api/owner/slow/30").bearer(&token).send();
        let (slow, receipt) = tokio::join!(slow, reload(&kernel, json!({})));
        slow.expect_status(200);
        let receipt = receipt.expect_status(200).json();
        assert_eq!(receipt["requests"]["cancelled"], 0, "{receipt}");
        assert_eq!(receipt["unloaded"], true, "{receipt}");
    }
    over.store(true, Ordering::SeqCst);
    let mut added = 0;
    for client in clients {
        let of_client: u64 = client.await.unwrap();
        assert!(of_client > 0);
        added += of_client;
    }
    assert_eq!(
        add(&kernel, &token).await,
        (added + 1, "owner#11".to_owned())
    );
}

#[tokio::test]
async fn a_new_one_that_is_refused_brings_the_code_of_the_old_one_back() {
    let (kernel, token) = owner("", "rollback = { window = \"1m\", max_failures = 2 }").await;
    let mut events = kernel.host("GET", "/events").stream().await;
    add(&kernel, &token).await;
    for (config, says) in [
        (json!({"refuse": true}), "refused, as it was told to be"),
        // Before anything of the old one ended.
        (json!({"none": true}), "none"),
    ] {
        let before = add(&kernel, &token).await;
        let refused = reload(&kernel, config).await;
        assert!(
            refused.expect_status(422).text().contains(says),
            "{}",
            refused.text()
        );
        let (count, by) = add(&kernel, &token).await;
        assert_eq!((count, by.as_str()), (before.0 + 1, "owner#3"));
    }
    let told = events.read_until("module.restarted").await + &events.read_until("\n\n").await;
    assert!(told.contains(r#""from":1,"to":3"#), "{told}");
    // It is reloaded from then on as before.
    reload(&kernel, json!({})).await.expect_status(200);
    let (count, by) = add(&kernel, &token).await;
    assert_eq!((count, by.as_str()), (6, "owner#5"));
}

#[tokio::test]
async fn where_the_old_one_cannot_come_back_either_it_is_told_and_can_be_loaded_anew() {
    let (kernel, token) = owner("", "").await;
    add(&kernel, &token).await;
    std::fs::write(closed(&kernel), "").unwrap();
    let refused = reload(&kernel, json!({})).await;
    assert!(
        refused
            .expect_status(422)
            .text()
            .contains("the module is not loaded; load it anew"),
        "{}",
        refused.text()
    );
    let gone = kernel.get("/api/owner/add").bearer(&token).send().await;
    assert_eq!(gone.expect_status(404).json()["code"], "module_not_found");
    std::fs::remove_file(closed(&kernel)).unwrap();
    put(&kernel).await.expect_status(201);
    assert_eq!(add(&kernel, &token).await.0, 2);
}

#[tokio::test]
async fn what_takes_longer_than_requests_may_wait_is_cut() {
    let (kernel, token) = owner("[limits]\nrestart_wait = \"300ms\"", "").await;
    let mut stream = kernel
        .get("/api/owner/stream")
        .bearer(&token)
        .stream()
        .await;
    stream.read_until("first").await;
    let receipt = reload(&kernel, json!({})).await.expect_status(200).json();
    assert_eq!(receipt["requests"]["cancelled"], 1, "{receipt}");
    assert!(!stream.rest().await.1, "it was cut");
    assert_eq!(add(&kernel, &token).await.0, 1);
}

#[tokio::test]
async fn one_that_is_loaded_while_the_last_one_ends_waits_for_that() {
    let (kernel, token) = owner("", "config = { end_ms = 400 }").await;
    add(&kernel, &token).await;
    kernel
        .host("DELETE", "/modules/owner")
        .send()
        .await
        .expect_status(200);
    put(&kernel).await.expect_status(201);
    assert_eq!(add(&kernel, &token).await, (2, "owner#2".to_owned()));
}

#[tokio::test]
async fn one_that_does_not_end_keeps_its_place_from_the_next() {
    if OnlyHere::Code.skip() {
        return;
    }
    // Longer than the kernel waits for an end.
    let settings = "config = { end_ms = 12000 }";
    let (kernel, token) = owner("[limits]\nrestart_wait = \"200ms\"", settings).await;
    add(&kernel, &token).await;
    let (refused, late) = tokio::join!(reload(&kernel, json!({})), async {
        super::eventually(&kernel, "a request that waits too long", async || {
            let late = kernel.post("/api/owner/add").bearer(&token).send().await;
            (late.status() == 503).then_some(late)
        })
        .await
    });
    late.expect_problem(503, "module_restarting");
    let expect_there = |refused: &Answer| {
        let told = refused.expect_status(422).text();
        assert!(told.contains("owner#1 has not ended"), "{told}");
    };
    expect_there(&refused);
    expect_there(&put(&kernel).await);
    super::eventually(&kernel, "the old one to end", async || {
        (put(&kernel).await.status() == 201).then_some(())
    })
    .await;
    assert_ne!(add(&kernel, &token).await.1, "owner#1");
}
