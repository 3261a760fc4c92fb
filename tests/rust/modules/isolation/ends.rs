//! What comes of a module that ends its process, or hangs, in a step of its life: when it starts, hands over, or ends.

use serde_json::{Value, json};

use super::super::{eventually, logged};
use super::{Apart, OVERDUE, Process};

/// Only the process of the generation that serves is left.
async fn expect_one_process(apart: &Apart) {
    eventually(
        &apart.kernel,
        "the end of every other process",
        async || {
            let serving = apart.process().await;
            (Process::children(&apart.kernel) == [serving]).then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn one_that_ends_while_it_starts_is_refused_and_the_old_goes_on() {
    let apart = Apart::start("[limits]\ninit_timeout = \"5s\"", "").await;
    let old = apart.process().await;
    let ended = |how| format!("its process ended ({how}) while `init` ran");
    for (fault, reason) in [
        ("segfault", ended("SIGSEGV")),
        ("abort", ended("SIGABRT")),
        ("exit", ended("exit status 3")),
        ("overflow", ended("SIGABRT")),
        (
            "spin",
            "the module's function (`init`) did not return within 5s".to_owned(),
        ),
    ] {
        let config = json!({"config": {"init": fault}});
        let answer = apart.reload_once("", &config).await;
        answer.expect_problem(422, "module_refused");
        let told = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(told.contains(&reason), "{fault}: {told}");
        expect_one_process(&apart).await;
        assert!(old.lives());
        assert_eq!(apart.text("pid").await, old.pid.to_string());
    }
    assert_eq!(apart.module().await["process"]["crashes"], 0);
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn one_that_ends_while_it_hands_over_is_started_again_without_its_state() {
    let mut apart = Apart::start("", "config = { on_save = \"segfault\" }").await;
    apart.request("POST", "add").send().await.expect_status(200);
    let answer = apart.reload_once("", &json!({})).await;
    answer.expect_problem(422, "module_refused");
    let told = answer.json()["detail"].as_str().unwrap().to_owned();
    // On a busy machine the wait for it may be over before its end is known.
    let says = ["ended (SIGSEGV) while it handed its state over", OVERDUE];
    assert!(says.iter().any(|says| told.contains(says)), "{told}");
    assert_eq!(apart.event("module.crashed").await["generation"], 1);
    assert_eq!(apart.text("count").await, "0");
    expect_one_process(&apart).await;
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn one_that_ends_when_it_is_told_to_drain_takes_its_streams_with_it() {
    let mut apart = Apart::start("", "config = { on_drain = \"abort\" }").await;
    let old = apart.process().await;
    let stream = apart.open("events", "data: 1\n\n").await;
    let receipt = apart.reload(&json!({"config": {}})).await;
    assert_eq!(receipt["unloaded"], true, "{receipt}");
    assert!(!stream.rest().await.1);
    let event = apart.event("module.crashed").await;
    assert_eq!(
        (
            &event["generation"],
            &event["reason"],
            &event["restart_in_ms"]
        ),
        (&json!(1), &json!("SIGABRT"), &Value::Null),
        "{event}"
    );
    assert!(!old.lives());
    expect_one_process(&apart).await;
    assert_eq!(apart.text("marker").await, "");
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn one_that_ends_badly_has_ended_all_the_same() {
    for (step, fault, how) in [
        ("on_shutdown", "segfault", "SIGSEGV"),
        ("on_shutdown", "exit", "exit status 3"),
        ("at_end", "abort", "SIGABRT"),
    ] {
        println!("{step} {fault}");
        let apart = Apart::start("", &format!("config = {{ {step} = {fault:?} }}")).await;
        let old = apart.process().await;
        let receipt = apart.reload(&json!({"config": {}})).await;
        assert_eq!(receipt["unloaded"], true, "{receipt}");
        assert!(!old.lives());
        let texts = ["did not end in good order", "crash#1", how];
        logged(&apart.kernel, &texts).await;
        let process = &apart.module().await["process"];
        assert_eq!(process["crashes"], 0, "it was to end: {process}");
        expect_one_process(&apart).await;
        apart.expect_unnoticed().await;
    }
}

#[tokio::test]
async fn one_that_hangs_when_it_is_to_end_is_killed() {
    for step in ["on_drain", "on_shutdown", "at_end"] {
        println!("{step}");
        let apart = Apart::start("", &format!("config = {{ {step} = \"spin\" }}")).await;
        let old = apart.process().await;
        let receipt = apart.reload(&json!({"config": {}})).await;
        assert_eq!(receipt["unloaded"], true, "{step}: {receipt}");
        assert!(!old.lives());
        expect_one_process(&apart).await;
        apart.expect_unnoticed().await;
    }
}

#[tokio::test]
async fn one_that_hangs_in_its_hand_over_goes_on_as_it_was() {
    let apart = Apart::start("", "config = { on_save = \"spin\" }").await;
    let old = apart.process().await;
    apart.request("POST", "add").send().await.expect_status(200);
    let answer = apart.reload_once("", &json!({})).await;
    answer.expect_problem(422, "module_refused");
    assert_eq!(apart.text("count").await, "1");
    assert!(old.lives());
    // Whoever gives the state up gets rid of it.
    let unload = apart.kernel.host("DELETE", "/modules/crash?drain_ms=100");
    let receipt = unload.send().await.expect_status(200).json();
    assert_eq!(receipt["unloaded"], true, "{receipt}");
    assert!(!old.lives());
    apart.expect_unnoticed().await;
}
