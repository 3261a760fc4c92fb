//! Retired code leaves the process, and what keeps it there is told, counted, and tried again.

#![cfg(target_os = "linux")]

use serde_json::{Value, json};

use super::{eventually, logged};
use crate::harness::{Kernel, OnlyHere, compile, private_copies, private_dir, repository};

/// A kernel with `remains`, which leaves `what` behind.
async fn remains(what: &str, config: &str) -> Kernel {
    let dir = private_dir();
    let library = dir.path().join("libremains.so");
    let source = repository().join("tests/modules/remains/remains.c");
    compile(&[&source], &["-shared", "-pthread"], &library);
    let release = dir.path().join("release");
    Kernel::builder()
        .dir(&dir)
        .config(config)
        .env("REMAINS_RELEASE", release.to_str().unwrap())
        .module_at(
            "remains",
            library,
            &format!("config = {{ leave = {what:?} }}"),
        )
        .start()
        .await
}

async fn reload(kernel: &Kernel, config: Value) -> Value {
    let request = kernel.host("POST", "/modules/remains/reload?wait=drained");
    let answer = request.json(&json!({"config": config})).send().await;
    answer.expect_status(200).json()
}

async fn resident(kernel: &Kernel) -> Value {
    let answer = kernel.host("GET", "/modules/remains").send().await;
    answer.expect_status(200).json()["resident_generations"].clone()
}

/// Has every worker run the module.
async fn call(kernel: &Kernel, module: &str, path: &str) {
    let token = kernel.session(json!({"modules": [module]})).await;
    for _ in 0..20 {
        let path = format!("/api/{module}/{path}");
        let answer = kernel.get(&path).bearer(&token).send().await;
        answer.expect_status(200);
    }
}

#[tokio::test]
async fn code_that_leaves_nothing_leaves() {
    if OnlyHere::Code.skip() {
        return;
    }
    let kernel = remains("nothing", "").await;
    for generation in 1..=5 {
        call(&kernel, "remains", "x").await;
        let receipt = reload(&kernel, json!({})).await;
        assert_eq!(receipt["from"]["generation"], generation);
        assert_eq!(
            (&receipt["unloaded"], &receipt["resident_reason"]),
            (&json!(true), &Value::Null),
            "{receipt}"
        );
        assert_eq!(resident(&kernel).await, 1);
        assert_eq!(kernel.mapped_copies().len(), 1);
        assert_eq!(private_copies(kernel.dir.path()).len(), 1);
    }
    let gone = kernel.host("DELETE", "/modules/remains").send().await;
    assert_eq!(gone.expect_status(200).json()["unloaded"], true);
    assert!(kernel.mapped_copies().is_empty());
    assert!(private_copies(kernel.dir.path()).is_empty());
}

#[tokio::test]
async fn an_axum_module_leaves_with_its_runtime_and_thread_locals() {
    if OnlyHere::Code.skip() {
        return;
    }
    let kernel = Kernel::start(&["faults"]).await;
    for _ in 0..3 {
        call(&kernel, "faults", "timer").await;
        call(&kernel, "faults", "log").await;
        let reload = kernel.host("POST", "/modules/faults/reload?wait=drained");
        let receipt = reload
            .json(&json!({}))
            .send()
            .await
            .expect_status(200)
            .json();
        assert_eq!(receipt["unloaded"], true, "{receipt}");
    }
    assert_eq!(kernel.mapped_copies().len(), 1);
}

#[tokio::test]
async fn a_load_that_was_refused_leaves_nothing_either() {
    if OnlyHere::Code.skip() {
        return;
    }
    let kernel = Kernel::start(&["faults"]).await;
    for init in ["error", "panic"] {
        let reload = kernel.host("POST", "/modules/faults/reload");
        let config = json!({"config": {"init": init}});
        let answer = reload.json(&config).send().await;
        answer.expect_problem(422, "module_refused");
        eventually(&kernel, "the end of what was refused", async || {
            (kernel.mapped_copies().len() == 1).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn keys_are_run_and_deleted_on_the_way() {
    if OnlyHere::Code.skip() {
        return;
    }
    let kernel = remains("keys", "").await;
    // There are 1,024 of them in a process; each load makes two.
    for _ in 0..600 {
        let receipt = reload(&kernel, json!({"leave": "keys"})).await;
        assert_eq!(receipt["unloaded"], true, "{receipt}");
    }
}

#[tokio::test]
async fn a_thread_that_goes_on_keeps_it_until_it_has_ended() {
    if OnlyHere::Code.skip() {
        return;
    }
    let kernel = remains("thread", "").await;
    let mut events = kernel.host("GET", "/events").stream().await;
    let receipt = reload(&kernel, json!({"leave": "nothing"})).await;
    assert_eq!(receipt["unloaded"], false, "{receipt}");
    assert_eq!(
        receipt["resident_reason"],
        "module threads still running: 1 (lingerer)"
    );
    assert_eq!(resident(&kernel).await, 2);
    // It is in nobody's way meanwhile.
    call(&kernel, "remains", "x").await;
    std::fs::write(kernel.dir.path().join("release"), "").unwrap();
    // Tried again when the next one ends. Its last call of the host found nothing, and its way back was waited for.
    eventually(&kernel, "the end of the first", async || {
        reload(&kernel, json!({"leave": "nothing"})).await;
        (resident(&kernel).await == 1).then_some(())
    })
    .await;
    events
        .read_until("\"generation\":1,\"unloaded\":true")
        .await;
    logged(&kernel, &["a module that was held has left the process"]).await;
    assert!(
        !kernel.log().contains("the thread ends"),
        "a call after fini"
    );
    assert_eq!(kernel.mapped_copies().len(), 1);
}

#[tokio::test]
async fn a_signal_handler_keeps_it_for_good() {
    if OnlyHere::Code.skip() {
        return;
    }
    let kernel = remains("handler", "").await;
    let receipt = reload(&kernel, json!({"leave": "nothing"})).await;
    assert_eq!(receipt["unloaded"], false, "{receipt}");
    assert_eq!(
        receipt["resident_reason"],
        "signal handlers left in its code: 1 (signal 12, User defined signal 2)"
    );
    kernel.signal(nix::sys::signal::Signal::SIGUSR2);
    reload(&kernel, json!({"leave": "nothing"})).await;
    assert_eq!(resident(&kernel).await, 2);
    call(&kernel, "remains", "x").await;
}

#[tokio::test]
async fn the_operator_can_have_everything_stay() {
    if OnlyHere::Code.skip() {
        return;
    }
    let kernel = remains("nothing", "[kernel]\nunload = \"never\"").await;
    for generation in 2..=3 {
        let receipt = reload(&kernel, json!({})).await;
        assert_eq!(receipt["unloaded"], false, "{receipt}");
        assert_eq!(
            receipt["resident_reason"],
            "`unload = \"never\"` in [kernel]"
        );
        assert_eq!(resident(&kernel).await, generation);
    }
}

#[tokio::test]
async fn a_worker_that_another_module_holds_is_told_and_does_not_hold_it_for_ever() {
    if OnlyHere::Code.skip() {
        return;
    }
    let dir = private_dir();
    let library = dir.path().join("libremains.so");
    let source = repository().join("tests/modules/remains/remains.c");
    compile(&[&source], &["-shared", "-pthread"], &library);
    let kernel = Kernel::builder()
        .dir(&dir)
        .config("[limits]\nquarantine_after = \"1h\"")
        .module_at("remains", library, "")
        .module("faults", "")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    let holding = kernel.get("/api/faults/hold-worker/one").bearer(&token);
    let holding = tokio::spawn(holding.send());
    logged(&kernel, &["held as one"]).await;
    let receipt = reload(&kernel, json!({})).await;
    assert_eq!(receipt["unloaded"], false, "{receipt}");
    assert_eq!(receipt["resident_reason"], "workers that a module holds: 1");
    let release = kernel.get("/api/faults/release-workers").bearer(&token);
    release.send().await.expect_status(200);
    holding.await.unwrap().expect_status(200);
    reload(&kernel, json!({})).await;
    eventually(&kernel, "the end of both", async || {
        (resident(&kernel).await == 1).then_some(())
    })
    .await;
}
