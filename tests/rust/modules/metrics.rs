//! What modules count, as `GET /metrics` shows it, wherever they run.

use serde_json::{Value, json};

use super::abi::compile;
use super::logged;
use crate::harness::{Builder, Exposition, Kernel, artifact, eventually};

/// The kernel's own limits (kernel/src/modules/metrics/names.rs).
const SERIES_MAX: usize = 256;

const TOTAL: &str = "midplane_module_faults_tokens_total";
const SHARE: &str = "midplane_module_faults_tokens_by_session_total";
const DROPPED: &str = "midplane_module_metrics_dropped_total";
const MODULE: (&str, &str) = ("module", "faults");

const ISOLATIONS: [&str; 2] = ["in-process", "process"];

fn builder(isolation: &str) -> Builder {
    println!("isolation = {isolation:?}");
    Kernel::builder().module("faults", &format!("isolation = {isolation:?}"))
}

async fn count(kernel: &Kernel, token: &str, what: Value) {
    let request = kernel.post("/api/faults/metric").bearer(token);
    request.json(&what).send().await.expect_status(200);
}

/// Waits until `GET /metrics` says so: a module process tells its numbers some time later.
async fn shows(kernel: &Kernel, name: &str, labels: &[(&str, &str)], value: f64) -> Exposition {
    eventually(&format!("{name}{labels:?} {value}"), async || {
        let all = Exposition::of(kernel).await;
        (all.value(name, labels) == Some(value)).then_some(all)
    })
    .await
}

#[tokio::test]
async fn counters_go_on_over_reloads_and_end_with_the_module() {
    for isolation in ISOLATIONS {
        let kernel = builder(isolation).start().await;
        let artifact = artifact("faults");
        let copy = kernel
            .dir
            .path()
            .join("modules")
            .join(artifact.file_name().unwrap());
        let token = kernel.session(json!({})).await;
        let input = json!({"labels": {"kind": "input"}, "n": 5, "kept": 2});
        let labels = [MODULE, ("kind", "input")];
        let gauge = json!({"metric": "open", "kind": "gauge", "n": 3});
        let seconds = json!({"metric": "answer_seconds", "kind": "histogram", "n": 2});
        for reloads in 0..3 {
            for what in [&input, &gauge, &seconds] {
                count(&kernel, &token, what.clone()).await;
            }
            // What was counted just before is not lost by the reload.
            let reload = kernel.host("POST", "/modules/faults/reload?wait=drained");
            reload.send().await.expect_status(200);
            let counted = f64::from(reloads + 1);
            let all = shows(&kernel, TOTAL, &labels, 10.0 * counted).await;
            let name = "midplane_module_faults_answer_seconds";
            let bucket = |le| all.value(&format!("{name}_bucket"), &[MODULE, ("le", le)]);
            assert_eq!(bucket("0.5"), Some(0.0));
            assert_eq!(bucket("10.0"), Some(counted));
            assert_eq!(
                all.value(&format!("{name}_sum"), &[MODULE]),
                Some(2.0 * counted)
            );
            // A gauge was the generation's.
            assert_eq!(all.value("midplane_module_faults_open", &[MODULE]), None);
        }
        count(&kernel, &token, gauge).await;
        shows(&kernel, "midplane_module_faults_open", &[MODULE], 3.0).await;
        let unload = kernel.host("DELETE", "/modules/faults").send().await;
        unload.expect_status(200);
        let all = Exposition::of(&kernel).await;
        assert!(!all.text.contains("faults"), "{}", all.text);
        // Loaded again, it begins anew.
        let load = kernel.host("PUT", "/modules/faults");
        let load = load.json(&json!({"path": copy})).send().await;
        load.expect_status(201);
        let token = kernel.session(json!({})).await;
        count(&kernel, &token, input).await;
        shows(&kernel, TOTAL, &labels, 10.0).await;
    }
}

#[tokio::test]
async fn what_is_counted_for_a_session_goes_with_it_and_stays_in_the_total() {
    for isolation in ISOLATIONS {
        let kernel = builder(isolation).start().await;
        let mut sessions = Vec::new();
        for _ in 0..2 {
            sessions.push(kernel.issue(json!({})).await);
        }
        let what = json!({"for_session": true, "n": 7, "labels": {"kind": "input"}});
        for session in &sessions {
            for _ in 0..2 {
                count(
                    &kernel,
                    session["client_secret"].as_str().unwrap(),
                    what.clone(),
                )
                .await;
            }
        }
        let labels = [MODULE, ("kind", "input")];
        let [one, other] = [0, 1].map(|at| sessions[at]["id"].as_str().unwrap());
        let share = |id| [MODULE, ("kind", "input"), ("session", id)];
        shows(&kernel, TOTAL, &labels, 28.0).await;
        for id in [one, other] {
            shows(&kernel, SHARE, &share(id), 14.0).await;
        }
        let revoke = kernel
            .host("DELETE", &format!("/sessions/{one}"))
            .send()
            .await;
        revoke.expect_status(204);
        let all = Exposition::of(&kernel).await;
        assert_eq!(all.value(SHARE, &share(one)), None);
        assert_eq!(all.value(SHARE, &share(other)), Some(14.0));
        assert_eq!(all.value(TOTAL, &labels), Some(28.0));
        let revoke = kernel.host("DELETE", "/sessions?user=local").send().await;
        revoke.expect_status(200);
        let all = Exposition::of(&kernel).await;
        assert!(!all.text.contains("ses_"), "{}", all.text);
        assert_eq!(all.value(TOTAL, &labels), Some(28.0));
    }
}

#[tokio::test]
async fn what_is_over_a_limit_or_misnamed_is_dropped_counted_and_logged_once() {
    for isolation in ISOLATIONS {
        let kernel = builder(isolation).start().await;
        let token = kernel.session(json!({})).await;
        let all = Exposition::of(&kernel).await;
        assert_eq!(all.value(DROPPED, &[MODULE]), Some(0.0));
        count(&kernel, &token, json!({"times": SERIES_MAX + 50})).await;
        count(&kernel, &token, json!({"times": SERIES_MAX + 50})).await;
        let all = shows(&kernel, DROPPED, &[MODULE], 100.0).await;
        assert_eq!(all.count(TOTAL), SERIES_MAX);
        assert_eq!(all.value(TOTAL, &[MODULE, ("number", "7")]), Some(2.0));
        for what in [
            json!({"metric": "not a name"}),
            json!({"metric": "tokens_total"}),
            json!({"metric": "tokens", "kind": "gauge"}),
            json!({"metric": "x", "help": "a\u{0}b"}),
            json!({"metric": "x", "kind": "histogram", "bounds": [2.0, 1.0]}),
            json!({"metric": "x", "labels": {"module": "hello"}}),
            json!({"metric": "x", "labels": {"a": "nul \u{0}"}}),
            json!({"metric": "x", "labels": {"a": "v".repeat(300)}}),
        ] {
            count(&kernel, &token, what).await;
        }
        shows(&kernel, DROPPED, &[MODULE], 108.0).await;
        let reason = "a metric has 256 series at most";
        logged(&kernel, &["a module's metric is dropped", "faults", reason]).await;
        assert_eq!(kernel.log().matches(reason).count(), 1);
        // What is well goes on.
        count(&kernel, &token, json!({"times": 1, "n": 5})).await;
        shows(&kernel, TOTAL, &[MODULE, ("number", "0")], 7.0).await;
    }
}

#[tokio::test]
async fn hostile_names_and_labels_break_no_line() {
    for isolation in ISOLATIONS {
        let dir = tempfile::tempdir().unwrap();
        let path = compile(&dir.path().join("libraw.so"));
        let settings = format!("isolation = {isolation:?}");
        let kernel = Kernel::builder()
            .module_at("raw", path, &settings)
            .start()
            .await;
        let token = kernel.session(json!({})).await;
        let answer = kernel.get("/api/raw/metrics").bearer(&token).send().await;
        assert_eq!(answer.expect_status(200).text(), "wrong answers: 0");
        let hostile = "\"} 1\nmidplane_sessions 99\n# EOF\n\\";
        let labels = [("module", "raw"), ("l", hostile)];
        let all = shows(&kernel, "midplane_module_raw_hostile_total", &labels, 5.0).await;
        let gauge = all.value("midplane_module_raw_gauge", &[("module", "raw")]);
        assert_eq!(gauge, Some(-2.5));
        assert_eq!(all.value("midplane_sessions", &[]), Some(1.0));
        assert!(
            all.text.contains(r#"hostile A \"quoted\"\nhelp \\"#),
            "{}",
            all.text
        );
    }
}

#[tokio::test]
async fn calls_between_modules_are_counted() {
    for isolation in ISOLATIONS {
        let isolation = format!("isolation = {isolation:?}");
        let kernel = Kernel::builder()
            .module("caller", &isolation)
            .module("callee", &isolation)
            .start()
            .await;
        let token = kernel.session(json!({"modules": ["caller"]})).await;
        let all = Exposition::of(&kernel).await;
        assert_eq!(all.count("midplane_module_calls_total"), 0);
        for (path, status) in [("in/who", 200), ("in/who", 200), ("nowhere", 404)] {
            let path = format!("/api/caller/call/{path}");
            let answer = kernel.get(&path).bearer(&token).send().await;
            answer.expect_status(status);
        }
        let all = Exposition::of(&kernel).await;
        let pair = [("caller", "caller"), ("callee", "callee")];
        let calls = |outcome| {
            let labels = [pair[0], pair[1], ("outcome", outcome)];
            all.value("midplane_module_calls_total", &labels)
        };
        assert_eq!(calls("2xx"), Some(2.0));
        assert_eq!(calls("4xx"), Some(1.0));
        let answered = all.value("midplane_module_call_duration_seconds_count", &pair);
        assert_eq!(answered, Some(3.0));
        kernel
            .host("DELETE", "/modules/callee?force=true")
            .send()
            .await
            .expect_status(200);
        kernel
            .get("/api/caller/call/in/who")
            .bearer(&token)
            .send()
            .await;
        let all = Exposition::of(&kernel).await;
        let labels = [pair[0], pair[1], ("outcome", "not_loaded")];
        assert_eq!(all.value("midplane_module_calls_total", &labels), Some(1.0));
    }
}
