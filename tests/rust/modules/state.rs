//! State that is only in memory passes from one generation to the next, whole, or the old one goes on.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use super::logged;
use crate::harness::{Answer, Kernel, apart, artifact, eventually};

pub(super) async fn keeper(config: &str, settings: &str) -> (Kernel, String) {
    let kernel = Kernel::builder()
        .config(config)
        .module_at("keeper", artifact("keeper-v1"), settings)
        .start()
        .await;
    let token = kernel.session(json!({"user": "ada"})).await;
    (kernel, token)
}

/// Loads a version of the module over the one that runs.
pub(super) async fn load(kernel: &Kernel, version: &str, config: Value) -> Answer {
    let source = artifact(version);
    let path = kernel
        .dir
        .path()
        .join("modules")
        .join(source.file_name().unwrap());
    std::fs::copy(&source, &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let body = json!({"path": path, "config": config});
    kernel
        .host("PUT", "/modules/keeper")
        .json(&body)
        .send()
        .await
}

async fn reload(kernel: &Kernel, config: Value) -> Answer {
    let request = kernel.host("POST", "/modules/keeper/reload?wait=drained");
    request.json(&json!({"config": config})).send().await
}

pub(super) async fn add(kernel: &Kernel, token: &str, times: u64) {
    for _ in 0..times {
        let answer = kernel.post("/api/keeper/add").bearer(token).send().await;
        answer.expect_status(200);
    }
}

pub(super) async fn count(kernel: &Kernel, token: &str) -> String {
    let answer = kernel.get("/api/keeper/count").bearer(token).send().await;
    answer.expect_status(200).text().to_owned()
}

#[tokio::test]
async fn what_was_counted_is_there_after_a_reload_and_the_receipt_says_so() {
    let (kernel, token) = keeper("", "").await;
    add(&kernel, &token, 3).await;
    let receipt = reload(&kernel, json!({})).await.expect_status(200).json();
    let bytes = r#"{"count":3,"label":""}"#.len();
    assert_eq!(
        receipt["state"],
        json!({"bytes": bytes, "schema": 1, "accepted": true}),
        "{receipt}"
    );
    assert_eq!(count(&kernel, &token).await, "3");
    add(&kernel, &token, 1).await;
    assert_eq!(count(&kernel, &token).await, "4");
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_while_reloads_and_writes_overlap() {
    let (kernel, token) = keeper("", "").await;
    let (kernel, over) = (Arc::new(kernel), Arc::new(AtomicBool::new(false)));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let (kernel, over, acknowledged, token) = (
                Arc::clone(&kernel),
                Arc::clone(&over),
                Arc::clone(&acknowledged),
                token.clone(),
            );
            tokio::spawn(async move {
                let path = format!("/api/keeper/add-late/{}", 5 * number);
                while !over.load(Ordering::Relaxed) {
                    let answer = kernel.post(&path).bearer(&token).send().await;
                    answer.expect_status(200);
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let stream = kernel
        .get("/api/keeper/stream/2000")
        .bearer(&token)
        .stream()
        .await;
    for _ in 0..25 {
        let answer = kernel
            .host("POST", "/modules/keeper/reload")
            .json(&json!({}))
            .send()
            .await;
        let receipt = answer.expect_status(200).json();
        assert_eq!(receipt["state"]["accepted"], true, "{receipt}");
    }
    over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(acknowledged.load(Ordering::Relaxed) > 25);
    assert_eq!(
        count(&kernel, &token).await,
        acknowledged.load(Ordering::Relaxed).to_string()
    );
    assert_eq!(stream.rest().await, ("0\n1\n".to_owned(), true));
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_old_one_with_its_state() {
    let (kernel, token) = keeper("", "").await;
    add(&kernel, &token, 2).await;
    for (config, says) in [
        (
            json!({"restore": "error", "reason": "no such label"}),
            "the module cannot take over: no such label",
        ),
        (
            json!({"restore": "panic", "reason": "oh no"}),
            "cannot take over: it panicked: oh no",
        ),
        (
            json!({"restore": "hang"}),
            "longer than the 250 ms that requests may wait",
        ),
        (
            json!({"probe": "error", "reason": "the model is gone"}),
            "the module cannot serve: the model is gone",
        ),
        (
            json!({"probe": "panic", "reason": "oh no"}),
            "cannot serve: it panicked: oh no",
        ),
        (
            json!({"probe": "hang"}),
            "longer than the 250 ms that requests may wait",
        ),
    ] {
        let answer = reload(&kernel, config.clone()).await;
        answer.expect_problem(422, "module_refused");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(says), "{config}: {detail}");
        let answer = kernel.get("/api/keeper/count").bearer(&token).send().await;
        assert_eq!(
            (answer.text(), answer.header("x-midplane-module")),
            ("2", "keeper#1")
        );
    }
    let receipt = reload(&kernel, json!({})).await.expect_status(200).json();
    assert_eq!(receipt["from"]["generation"], 1);
    assert_eq!(count(&kernel, &token).await, "2");
}

#[tokio::test]
async fn an_old_one_that_cannot_save_stays_until_it_is_unloaded() {
    for (save, says) in [
        (
            "panic",
            "the generation that serves could not hand its state over: it panicked",
        ),
        ("hang", "longer than the 250 ms that requests may wait"),
    ] {
        let (kernel, token) = keeper("", "").await;
        reload(&kernel, json!({"save": save, "reason": "oh no"}))
            .await
            .expect_status(200);
        add(&kernel, &token, 1).await;
        for again in [false, true] {
            let answer = reload(&kernel, json!({})).await;
            answer.expect_problem(422, "module_refused");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            let says = if again && save == "hang" {
                "on_save of keeper#2 has not returned since an earlier reload: unload the module and load it anew"
            } else {
                says
            };
            assert!(detail.contains(says), "{save}: {detail}");
            assert_eq!(count(&kernel, &token).await, "1");
        }
        let receipt = kernel
            .host("DELETE", "/modules/keeper")
            .send()
            .await
            .expect_status(200)
            .json();
        if save == "hang" {
            // One in a process of its own is killed.
            let reason = if apart() {
                Value::Null
            } else {
                json!("on_save has not returned")
            };
            assert_eq!(receipt["unloaded"], apart(), "{receipt}");
            assert_eq!(receipt["resident_reason"], reason, "{receipt}");
        }
        load(&kernel, "keeper-v1", json!({}))
            .await
            .expect_status(201);
        assert_eq!(count(&kernel, &token).await, "0");
    }
}

#[tokio::test]
async fn requests_wait_for_a_slow_hand_over_and_none_is_refused() {
    let (kernel, token) = keeper("", "").await;
    reload(&kernel, json!({"save": "slow"}))
        .await
        .expect_status(200);
    let kernel = Arc::new(kernel);
    let reloading = {
        let kernel = Arc::clone(&kernel);
        tokio::spawn(async move { reload(&kernel, json!({"save": "slow"})).await })
    };
    eventually("the hold", || async {
        let state = kernel.host("GET", "/modules/keeper").send().await.json()["state"].clone();
        (state == "held").then_some(())
    })
    .await;
    let waiting = kernel.post("/api/keeper/add").bearer(&token).send().await;
    assert_eq!(
        waiting.expect_status(200).header("x-midplane-module"),
        "keeper#3"
    );
    let receipt = reloading.await.unwrap().expect_status(200).json();
    assert!(receipt["swap_us"].as_u64().unwrap() >= 100_000, "{receipt}");
    assert_eq!(count(&kernel, &token).await, "1");
}

#[tokio::test]
async fn a_version_gets_only_state_that_it_reads() {
    let (kernel, token) = keeper("", "").await;
    add(&kernel, &token, 1).await;
    let receipt = load(&kernel, "keeper-v2", json!({}))
        .await
        .expect_status(200)
        .json();
    assert_eq!(receipt["state"]["schema"], 1, "{receipt}");
    add(&kernel, &token, 1).await;
    for (version, reads) in [
        ("keeper-v1", "version 1.0.0 reads 1:"),
        ("keeper-v3", "version 3.0.0 reads 3:"),
    ] {
        let answer = load(&kernel, version, json!({})).await;
        answer.expect_problem(422, "module_refused");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.starts_with("keeper#2 hands over state of schema 2, and "),
            "{detail}"
        );
        assert!(detail.contains(reads), "{detail}");
    }
    assert_eq!(count(&kernel, &token).await, "2");
    // On purpose, and said so: a version without state drops it.
    let receipt = load(&kernel, "keeper-v0", json!({}))
        .await
        .expect_status(200)
        .json();
    assert_eq!(
        (&receipt["state"]["schema"], &receipt["state"]["accepted"]),
        (&json!(2), &json!(false))
    );
    logged(&kernel, &["takes no state", "keeper"]).await;
    let receipt = load(&kernel, "keeper-v3", json!({}))
        .await
        .expect_status(200)
        .json();
    assert_eq!(receipt["state"], Value::Null);
    assert_eq!(count(&kernel, &token).await, "0");
}

#[tokio::test]
async fn state_over_the_limit_is_refused_with_its_size() {
    let (kernel, token) = keeper("[limits]\nstate_bytes = \"4KiB\"", "").await;
    add(&kernel, &token, 1).await;
    reload(&kernel, json!({"ballast": 3000}))
        .await
        .expect_status(200);
    reload(&kernel, json!({"ballast": 5000}))
        .await
        .expect_status(200);
    let answer = reload(&kernel, json!({})).await;
    answer.expect_problem(422, "module_refused");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("raise `state_bytes` in [limits]"),
        "{detail}"
    );
    assert_eq!(count(&kernel, &token).await, "1");
}
