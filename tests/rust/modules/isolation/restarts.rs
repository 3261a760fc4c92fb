//! Restarts: which wait, which are the last, and what lifts a quarantine.

use serde_json::{Value, json};

use super::super::eventually;
use super::{Apart, Process};
use nix::sys::signal::Signal;

/// Ends the process, and waits until the kernel knows.
async fn crash(apart: &mut Apart) -> Value {
    let ended = apart.get("now/exit").send().await;
    ended.expect_problem(502, "module_crashed");
    apart.event("module.crashed").await
}

#[tokio::test]
async fn the_fifth_crash_in_a_minute_is_the_last_until_somebody_loads_it_anew() {
    let mut apart = Apart::start("", "").await;
    for (round, restart_in_ms) in
        (1..).zip([json!(0), json!(100), json!(200), json!(400), Value::Null])
    {
        let event = crash(&mut apart).await;
        assert_eq!(event["generation"], round, "{event}");
        assert_eq!(event["restart_in_ms"], restart_in_ms, "{event}");
        assert_eq!(event["quarantined"], round == 5, "{event}");
    }
    let event = apart.event("module.faulted").await;
    let reason = "its process ended too often, at last with exit status 3";
    assert_eq!(event["reason"], reason);
    let refused = apart.get("marker").send().await;
    refused.expect_problem(503, "module_unavailable");
    let module = apart.module().await;
    assert_eq!(
        (&module["state"], &module["generation"]),
        (&json!("faulted"), &json!(5)),
        "{module}"
    );
    assert_eq!(
        (&module["process"]["pid"], &module["process"]["crashes"]),
        (&Value::Null, &json!(5)),
        "{module}"
    );
    assert_eq!(module["resident_generations"], 0, "{module}");
    let health = apart.kernel.host("GET", "/health").send().await.json();
    assert_eq!(health["status"], "degraded", "{health}");
    assert_eq!(Process::children(&apart.kernel), []);

    // A reload lifts it, and what was before no longer counts.
    let receipt = apart.reload(&json!({"config": {"marker": "again"}})).await;
    assert_eq!(receipt["to"]["generation"], 6, "{receipt}");
    assert_eq!(apart.text("marker").await, "again");
    assert_eq!(crash(&mut apart).await["restart_in_ms"], 0);
    // The configuration is that of the reload.
    assert_eq!(apart.text("marker").await, "again");
    let health = apart.kernel.host("GET", "/health").send().await.json();
    assert_eq!(health["status"], "ok", "{health}");
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn a_put_lifts_a_quarantine_too() {
    let mut apart = Apart::start("", "").await;
    for _ in 0..5 {
        crash(&mut apart).await;
    }
    apart.event("module.faulted").await;
    let path = apart.module().await["path"].clone();
    let put = apart.kernel.host("PUT", "/modules/crash");
    let receipt = put.json(&json!({"path": path})).send().await;
    assert_eq!(receipt.expect_status(200).json()["to"]["generation"], 6);
    apart.text("marker").await;
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn what_was_in_memory_is_gone_and_what_was_on_disk_is_there() {
    let mut apart = Apart::start("", "").await;
    apart.request("POST", "add").send().await.expect_status(200);
    let note = apart.request("PUT", "note").body("kept");
    note.send().await.expect_status(200);
    crash(&mut apart).await;
    assert_eq!(apart.text("count").await, "0");
    assert_eq!(apart.text("note").await, "kept");
    // A reload after that hands over as ever.
    apart.request("POST", "add").send().await.expect_status(200);
    let receipt = apart.reload(&json!({})).await;
    assert_eq!(receipt["state"]["accepted"], true, "{receipt}");
    assert_eq!(apart.text("count").await, "1");
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn a_restart_that_fails_is_tried_again_and_in_the_end_given_up() {
    let mut apart = Apart::start("", "config = { init_when_noted = \"abort\" }").await;
    let note = apart.request("PUT", "note").body("x");
    note.send().await.expect_status(200);
    crash(&mut apart).await;
    for _ in 0..4 {
        let refused = apart.event("module.refused").await;
        assert_eq!(
            refused["reason"],
            "its process ended (SIGABRT) while `init` ran: the log has what it printed",
            "{refused}"
        );
    }
    apart.event("module.faulted").await;
    let refused = apart.get("marker").send().await;
    refused.expect_problem(503, "module_unavailable");
    assert_eq!(apart.module().await["process"]["crashes"], 1);
    // What was wrong is mended by hand.
    let note = apart.kernel.dir.path().join("data/state/crash/note");
    std::fs::remove_file(note).unwrap();
    apart.reload(&json!({})).await;
    apart.text("marker").await;
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn requests_wait_for_a_restart_for_so_long_and_are_told_when_to_come_back() {
    let limits = "[kernel]\nshutdown_timeout = \"1s\"\n[limits]\nrestart_wait = \"200ms\"\ninit_timeout = \"1h\"";
    let mut apart = Apart::start(limits, "config = { init_when_noted = \"spin\" }").await;
    let note = apart.request("PUT", "note").body("x");
    note.send().await.expect_status(200);
    let waiting: Vec<_> = {
        crash(&mut apart).await;
        let send = |_| tokio::spawn(apart.get("marker").send());
        (0..20).map(send).collect()
    };
    for answer in waiting {
        let answer = answer.await.unwrap();
        answer.expect_problem(503, "module_restarting");
        assert_eq!(answer.header("retry-after"), "1");
    }
    // The kernel ends although a restart hangs, and leaves nothing.
    let children = eventually(&apart.kernel, "the one in `init`", async || {
        let children = Process::children(&apart.kernel);
        (children.len() == 1).then_some(children)
    })
    .await;
    apart.bystander.stop().await;
    apart.kernel.signal(Signal::SIGTERM);
    assert!(apart.kernel.wait().await.success());
    assert!(!children[0].lives());
}

#[tokio::test]
async fn an_old_generation_that_crashes_while_it_drains_is_not_started_again() {
    let mut apart = Apart::start("", "").await;
    let old = apart.process().await;
    let stream = apart.open("events", "data: 1\n\n").await;
    let new = apart.swap().await["to"]["generation"].clone();
    let expect_new = async |apart: &Apart| {
        let answer = apart.get("pid").send().await;
        let label = answer.expect_status(200).header("x-midplane-module");
        assert_eq!(label, format!("crash#{new}"));
    };
    expect_new(&apart).await;
    assert!(old.lives(), "it has a stream to finish");
    old.kill();
    let event = apart.event("module.crashed").await;
    assert_eq!(
        (
            &event["generation"],
            &event["restart_in_ms"],
            &event["quarantined"]
        ),
        (&json!(1), &Value::Null, &json!(false)),
        "{event}"
    );
    assert_eq!(event["routes"], json!(["GET /events"]));
    assert!(!stream.rest().await.1);
    eventually(&apart.kernel, "the end of the old one", async || {
        (apart.module().await["resident_generations"] == 1).then_some(())
    })
    .await;
    expect_new(&apart).await;
    apart.expect_unnoticed().await;
}
