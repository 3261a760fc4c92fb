//! A module that owns what two generations cannot share: the old one ends before the new one begins, and nobody is refused.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::logged;
use crate::harness::{Answer, Kernel, OnlyHere, Stream, artifact, connect};

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
    put_version(kernel, "owner", json!({})).await
}

/// Loads this artifact in place of what there is.
async fn put_version(kernel: &Kernel, version: &str, config: Value) -> Answer {
    let source = artifact(version);
    let modules = kernel.dir.path().join("modules");
    let path = modules.join(source.file_name().unwrap());
    if !path.exists() {
        std::fs::copy(&source, &path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    let request = kernel.host("PUT", "/modules/owner");
    request
        .json(&json!({"path": path, "config": config}))
        .send()
        .await
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

/// A stream that has begun, and ends only when it is cut.
async fn endless(kernel: &Kernel, token: &str) -> Stream {
    let request = kernel.get("/api/owner/stream").bearer(token);
    let mut stream = request.stream().await;
    stream.read_until("first").await;
    stream
}

/// A file of the module's: while `closed` is there, no generation starts; `ended` is made at the end of one.
fn file(kernel: &Kernel, name: &str) -> PathBuf {
    kernel.dir.path().join("data/state/owner").join(name)
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
    let restarted = r#""module.restarted","module":"owner","from":1,"to":3"#;
    events.read_until(restarted).await;
    // It is reloaded from then on as before.
    reload(&kernel, json!({})).await.expect_status(200);
    let (count, by) = add(&kernel, &token).await;
    assert_eq!((count, by.as_str()), (6, "owner#5"));
}

#[tokio::test]
async fn where_the_old_one_cannot_come_back_either_it_is_told_and_can_be_loaded_anew() {
    let (kernel, token) = owner("", "").await;
    add(&kernel, &token).await;
    std::fs::write(file(&kernel, "closed"), "").unwrap();
    let refused = reload(&kernel, json!({})).await;
    assert!(
        refused
            .expect_status(422)
            .text()
            .contains("could not be started again (the module cannot take over: refused, as it was told to be)"),
        "{}",
        refused.text()
    );
    let gone = kernel.get("/api/owner/add").bearer(&token).send().await;
    assert_eq!(gone.expect_status(404).json()["code"], "module_not_found");
    std::fs::remove_file(file(&kernel, "closed")).unwrap();
    let reloaded = reload(&kernel, json!({})).await;
    assert_eq!(reloaded.expect_status(201).json()["from"], Value::Null);
    assert_eq!(add(&kernel, &token).await.0, 2);
}

#[tokio::test]
async fn what_takes_longer_than_requests_may_wait_is_cut() {
    let (kernel, token) = owner("[limits]\nrestart_wait = \"300ms\"", "").await;
    let stream = endless(&kernel, &token).await;
    let receipt = reload(&kernel, json!({})).await.expect_status(200).json();
    assert_eq!(receipt["requests"]["cancelled"], 1, "{receipt}");
    assert!(!stream.rest().await.1, "it was cut");
    assert_eq!(add(&kernel, &token).await.0, 1);
}

#[tokio::test]
async fn one_that_is_loaded_while_the_last_one_ends_waits_for_that() {
    let (kernel, token) = owner("", "config = { end_ms = 600 }").await;
    add(&kernel, &token).await;
    let unload = kernel.host("DELETE", "/modules/owner").send();
    let (unloaded, loaded) = tokio::join!(unload, async {
        super::eventually(&kernel, "it to be taken away", async || {
            let told = kernel.host("GET", "/modules/owner").send().await;
            (told.status() == 404).then_some(())
        })
        .await;
        assert!(!file(&kernel, "ended").exists());
        put(&kernel).await
    });
    unloaded.expect_status(200);
    loaded.expect_status(201);
    assert!(file(&kernel, "ended").exists());
    assert_eq!(add(&kernel, &token).await, (2, "owner#2".to_owned()));
}

#[tokio::test]
async fn one_that_takes_too_long_to_begin_is_gone_before_the_old_code_comes_back() {
    let (kernel, token) = owner("[limits]\ninit_timeout = \"1s\"", "").await;
    add(&kernel, &token).await;
    let refused = reload(&kernel, json!({"begin_ms": 2_500})).await;
    let told = refused.expect_status(422).text().to_owned();
    assert!(told.contains("init_timeout"), "{told}");
    assert_eq!(add(&kernel, &token).await, (2, "owner#3".to_owned()));
}

#[tokio::test]
async fn one_that_does_not_end_keeps_its_place_from_the_next() {
    if OnlyHere::Code.skip() {
        return;
    }
    // Much longer than the kernel waits for an end.
    let settings = "config = { end_ms = 20000 }";
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

#[tokio::test]
async fn a_version_that_was_not_exclusive_makes_room_too_and_comes_back() {
    let (kernel, _) = owner("", "").await;
    kernel
        .host("DELETE", "/modules/owner")
        .send()
        .await
        .expect_status(200);
    put_version(&kernel, "owner-plain", json!({}))
        .await
        .expect_status(201);
    let token = kernel.session(json!({"modules": ["owner"]})).await;
    add(&kernel, &token).await;
    let session = async || kernel.session(json!({"modules": ["owner"]})).await;
    let (refused, _) = tokio::join!(
        put_version(&kernel, "owner", json!({"refuse": true})),
        session()
    );
    refused.expect_status(422);
    // What was only in memory is gone, as the log says.
    assert_eq!(add(&kernel, &token).await, (1, "owner#4".to_owned()));
    logged(&kernel, &["takes no state", "owner#2"]).await;
    let (loaded, _) = tokio::join!(put_version(&kernel, "owner", json!({})), session());
    loaded.expect_status(200);
    assert_eq!(add(&kernel, &token).await, (1, "owner#5".to_owned()));
    let (loaded, _) = tokio::join!(put_version(&kernel, "owner-plain", json!({})), session());
    loaded.expect_status(200);
    assert_eq!(add(&kernel, &token).await, (1, "owner#6".to_owned()));
}

#[tokio::test]
async fn the_kernels_end_cuts_one_that_makes_room_and_has_it_end_in_order() {
    let (kernel, token) = owner(
        "[kernel]\nshutdown_timeout = \"1s\"\n[limits]\nrestart_wait = \"40s\"",
        "",
    )
    .await;
    let _stream = endless(&kernel, &token).await;
    let reload = kernel
        .host("POST", "/modules/owner/reload")
        .json(&json!({}))
        .send();
    let ends = async {
        super::eventually(&kernel, "it to make room", async || {
            let told = kernel.host("GET", "/modules/owner").send().await.json();
            (told["state"] == "draining").then_some(())
        })
        .await;
        kernel.signal(Signal::SIGTERM);
        kernel.wait().await
    };
    tokio::select! {
        // Whether it is answered is not the point.
        () = async { reload.await; std::future::pending().await } => {}
        status = ends => assert!(status.success(), "{status}"),
    }
    assert!(file(&kernel, "ended").exists());
}

#[tokio::test]
async fn a_version_that_fails_is_rolled_back() {
    let (kernel, token) = owner("", "rollback = { window = \"1m\", max_failures = 0 }").await;
    add(&kernel, &token).await;
    reload(&kernel, json!({})).await.expect_status(200);
    kernel
        .get("/api/owner/panic")
        .bearer(&token)
        .send()
        .await
        .expect_status(500);
    super::eventually(&kernel, "the one before to be back", async || {
        (add(&kernel, &token).await.1 == "owner#3").then_some(())
    })
    .await;
}
