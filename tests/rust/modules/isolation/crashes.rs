//! Each way to end the process in the middle of requests: what those get, what is told, and what comes after.

use serde_json::{Value, json};

use super::super::{eventually, logged};
use super::{APART, Apart};
use crate::harness::Kernel;

/// A request that ends the process.
struct Ends {
    path: &'static str,
    /// The reason that is told; for the stack's end, one of two.
    reasons: &'static [&'static str],
    signal: Value,
}

fn ends(path: &'static str, reason: &'static [&'static str], signal: &str) -> Ends {
    Ends {
        path,
        reasons: reason,
        signal: json!(signal),
    }
}

#[tokio::test]
async fn whatever_ends_the_process_ends_its_requests_and_nothing_else() {
    let killed = &["it did not answer for 2 s, and was killed"];
    for end in [
        ends("now/segfault", &["SIGSEGV"], "SIGSEGV"),
        ends("now/abort", &["SIGABRT"], "SIGABRT"),
        ends("now/overflow", &["SIGABRT"], "SIGABRT"),
        ends("now/spin", killed, "SIGKILL"),
        ends("task/segfault", &["SIGSEGV"], "SIGSEGV"),
        ends("task/overflow", &["SIGSEGV", "SIGABRT"], ""),
        ends("thread/abort", &["SIGABRT"], "SIGABRT"),
        Ends {
            path: "now/exit",
            reasons: &["exit status 3"],
            signal: Value::Null,
        },
        Ends {
            path: "thread/exit",
            reasons: &["exit status 3"],
            signal: Value::Null,
        },
    ] {
        println!("{}", end.path);
        end.check().await;
    }
}

impl Ends {
    async fn check(&self) {
        let mut apart = Apart::start("[limits]\nstuck_after = \"2s\"", "").await;
        let before = apart.process().await;
        let events = apart.open("events", "data: 1\n\n").await;
        let lines = apart.open("lines", "a line\n").await;
        let waiting = tokio::spawn(apart.get("wait").send());
        apart.under_way(3).await;

        let ended = apart.get(self.path).send().await;
        // At once: it waits, and is not refused.
        let next = apart.get("pid").send().await;
        let (_, whole) = lines.rest().await;
        assert!(!whole, "no end of a part that could be taken for the whole");
        let (rest, whole) = events.rest().await;
        assert!(!whole && !rest.contains("midplane.end"), "{rest:?}");
        let mut told = String::new();
        for answer in [ended, waiting.await.unwrap()] {
            answer.expect_problem(502, "module_crashed");
            assert!(!answer.has_header("x-midplane-module"), "{answer}");
            told = answer.json()["detail"].as_str().unwrap().to_owned();
        }
        next.expect_status(200);
        assert_eq!(next.header("x-midplane-module"), "crash#2");
        let after = apart.process().await;
        assert_eq!(next.text(), after.pid.to_string());
        assert!(after != before && !before.lives());

        let event = apart.event("module.crashed").await;
        let reason = event["reason"].as_str().unwrap().to_owned();
        assert!(self.reasons.contains(&&*reason), "{event}");
        assert!(told.contains(&format!("({reason})")), "{told}");
        if self.signal != "" {
            assert_eq!(event["signal"], self.signal, "{event}");
        }
        let routes = json!([
            format!("GET /{}", self.path),
            "GET /wait",
            "GET /lines",
            "GET /events"
        ]);
        for (member, expected) in [
            ("module", json!("crash")),
            ("generation", json!(1)),
            ("routes", routes),
            ("restart_in_ms", json!(0)),
            ("quarantined", json!(false)),
        ] {
            assert_eq!(event[member], expected, "{event}");
        }
        let restarted = apart.event("module.restarted").await;
        assert_eq!(
            (&restarted["from"], &restarted["to"]),
            (&json!(1), &json!(2)),
            "{restarted}"
        );
        let line = logged(&apart.kernel, &["the process of a module ended", "crash#1"]).await;
        assert!(line.contains(&reason) && line.contains(self.path), "{line}");
        logged(&apart.kernel, &["a module was started again", "crash#2"]).await;

        let module = apart.module().await;
        assert_eq!(
            (&module["state"], &module["isolation"]),
            (&json!("serving"), &json!("process"))
        );
        let process = &module["process"];
        assert_eq!(
            (&process["crashes"], &process["pid"]),
            (&json!(1), &json!(after.pid))
        );
        for member in ["generation", "reason", "signal", "routes"] {
            assert_eq!(process["last_crash"][member], event[member], "{process}");
        }
        expect_sample(
            &apart.kernel,
            "midplane_module_crashes_total{module=\"crash\"} 1",
        )
        .await;
        expect_sample(
            &apart.kernel,
            "midplane_module_restarts_total{module=\"crash\"} 1",
        )
        .await;
        expect_sample(
            &apart.kernel,
            "midplane_module_processes{module=\"crash\"} 1",
        )
        .await;
        apart.expect_unnoticed().await;
    }
}

#[tokio::test]
async fn a_slow_poll_is_told_and_held_against_nobody() {
    let builder = Kernel::builder()
        .config("[limits]\nquarantine_after = \"100ms\"")
        .module("crash", APART)
        .module("faults", APART);
    let apart = Apart::from(builder).await;
    let faults = |path: &str| {
        let path = format!("/api/faults/{path}");
        apart.kernel.get(&path).bearer(&apart.token).send()
    };
    faults("block/300").await.expect_status(200);
    logged(&apart.kernel, &["slow poll", "GET /block/300", "faults#1"]).await;
    let answer = faults("marker").await;
    answer.expect_status(200);
    assert_eq!(answer.header("x-midplane-module"), "faults#1");
    let path = "/modules/faults";
    let module = apart.kernel.host("GET", path).send().await.json();
    assert_eq!(
        (&module["state"], &module["slow_polls"]),
        (&json!("serving"), &json!(1)),
        "{module}"
    );
    apart.expect_unnoticed().await;
}

async fn expect_sample(kernel: &Kernel, sample: &str) {
    let metrics = kernel.host("GET", "/metrics").send().await;
    let text = metrics.expect_status(200).text();
    assert!(text.lines().any(|line| line == sample), "{text}");
}

/// It is ended by what it cannot allocate, and not by what it leaves for others.
#[tokio::test]
async fn one_that_allocates_without_end_comes_to_its_own() {
    let mut apart = Apart::start("", "confine = { memory = \"256MiB\" }").await;
    let ended = apart.get("now/allocate").send().await;
    ended.expect_problem(502, "module_crashed");
    assert_eq!(apart.event("module.crashed").await["reason"], "SIGABRT");
    logged(
        &apart.kernel,
        &["the module's process printed", "memory allocation of"],
    )
    .await;
    assert_eq!(apart.text("marker").await, "");
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn a_stream_that_crashes_is_cut_behind_what_it_has_said() {
    let apart = Apart::start("", "").await;
    let stream = apart.get("stream/abort").stream().await;
    assert_eq!(stream.parts.status, 200);
    let (text, whole) = stream.rest().await;
    assert_eq!(text, "data: 1\n\ndata: 2\n\ndata: 3\n\n");
    assert!(!whole, "no client takes it for the whole");
    assert_eq!(apart.text("marker").await, "");
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn one_killed_by_hand_is_started_again_also_when_it_idles() {
    let mut apart = Apart::start("", "").await;
    let before = apart.process().await;
    before.kill();
    let event = apart.event("module.crashed").await;
    assert_eq!(
        (&event["reason"], &event["signal"], &event["routes"]),
        (&json!("SIGKILL"), &json!("SIGKILL"), &json!([])),
        "{event}"
    );
    assert_eq!(apart.event("module.restarted").await["to"], 2);
    assert_eq!(
        apart.text("pid").await,
        apart.process().await.pid.to_string()
    );
    assert!(!before.lives());
    apart.expect_unnoticed().await;
}

#[tokio::test]
async fn two_that_crash_by_turns_do_not_hinder_each_other() {
    let builder = Kernel::builder()
        .module("crash", APART)
        .module("faults", APART);
    let apart = Apart::from(builder).await;
    let faults = |path: &str| {
        apart
            .kernel
            .get(&format!("/api/faults/{path}"))
            .bearer(&apart.token)
    };
    let stream = apart.open("events", "data: 1\n\n").await;
    let module = apart
        .kernel
        .host("GET", "/modules/faults")
        .send()
        .await
        .json();
    let pid = u32::try_from(module["process"]["pid"].as_u64().unwrap()).unwrap();
    super::Process::find(pid).unwrap().kill();
    let answer = eventually(&apart.kernel, "the second of its processes", async || {
        let answer = faults("marker").send().await;
        let is_new = answer.status() == 200 && answer.header("x-midplane-module") == "faults#2";
        is_new.then_some(answer)
    })
    .await;
    answer.expect_status(200);
    apart
        .get("now/abort")
        .send()
        .await
        .expect_problem(502, "module_crashed");
    faults("marker").send().await.expect_status(200);
    assert_eq!(apart.text("marker").await, "");
    assert!(!stream.rest().await.1);
    let label = |name: &str| format!("midplane_module_generation{{module=\"{name}\"}} 2");
    expect_sample(&apart.kernel, &label("crash")).await;
    expect_sample(&apart.kernel, &label("faults")).await;
    apart.expect_unnoticed().await;
}
