//! `/health`, `/openapi.json`, `/metrics` and `/log-level`.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Kernel, apart, hellos};

#[tokio::test]
async fn health_tells_the_host_more() {
    for hello in hellos() {
        expect_health(hello.start().await, &hello.version).await;
    }
}

async fn expect_health(kernel: Kernel, version: &str) {
    let token = kernel.session(json!({})).await;
    for request in [kernel.get("/health"), kernel.get("/health").bearer(&token)] {
        let answer = request.send().await;
        answer.expect_status(200);
        assert_eq!(answer.header("content-type"), "application/json");
        let health = answer.json();
        assert_eq!(
            health,
            json!({"status": "ok", "version": env!("CARGO_PKG_VERSION"), "protocol": 1})
        );
    }
    let health = kernel.host("GET", "/health").send().await.json();
    assert_eq!(health["status"], "ok");
    assert!(health["uptime_s"].is_u64(), "{health}");
    assert_eq!(
        health["modules"],
        json!([{"name": "hello", "version": version, "generation": 1, "state": "serving",
            "isolation": if apart() { "process" } else { "in-process" }}])
    );
    let head = kernel.request("HEAD", "/health").send().await;
    head.expect_status(200);
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn the_document_lists_every_code() {
    let kernel = Kernel::start(&[]).await;
    let answer = kernel.get("/openapi.json").send().await;
    answer.expect_status(200);
    let document = answer.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
        .as_array()
        .unwrap();
    for code in [
        "invalid_token",
        "session_limit",
        "host_timeout",
        "body_too_large",
    ] {
        assert!(codes.contains(&json!(code)), "{code} {codes:?}");
    }
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    for hello in hellos() {
        expect_metrics(hello.start().await).await;
    }
}

async fn expect_metrics(kernel: Kernel) {
    let token = kernel.session(json!({})).await;
    for path in ["/api/hello/hello", "/api/hello/hello", "/api/hello/none"] {
        kernel.get(path).bearer(&token).send().await;
    }
    let answer = kernel.host("GET", "/metrics").send().await;
    answer.expect_status(200);
    assert_eq!(
        answer.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = answer.text();
    let mut families = BTreeSet::new();
    let mut samples = Vec::new();
    for line in text
        .strip_suffix("# EOF\n")
        .expect("it ends as it must")
        .lines()
    {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (kind, family) = (words.next().unwrap(), words.next().unwrap());
            assert!(["HELP", "TYPE", "UNIT"].contains(&kind), "{line}");
            families.insert(family);
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let family = name.split('{').next().unwrap();
        assert!(
            families.contains(family)
                || families.contains(family.strip_suffix("_total").unwrap_or_default()),
            "{line} has no type"
        );
        samples.push((name, value));
    }
    for expect in [
        ("midplane_sessions", 1.0),
        ("midplane_connections", 1.0),
        (
            "midplane_module_requests_total{module=\"hello\",class=\"2xx\"}",
            2.0,
        ),
        (
            "midplane_module_requests_total{module=\"hello\",class=\"4xx\"}",
            1.0,
        ),
        ("midplane_module_in_flight_requests{module=\"hello\"}", 0.0),
        ("midplane_module_generation{module=\"hello\"}", 1.0),
    ] {
        // The connections of the requests before may take a moment to end.
        let found = samples.iter().find(|(name, _)| *name == expect.0);
        let found = found.unwrap_or_else(|| panic!("{} is missing: {text}", expect.0));
        assert!(
            found.1 == expect.1 || expect.0 == "midplane_connections" && found.1 >= 1.0,
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn the_log_level_changes_at_once() {
    let kernel = Kernel::start(&["hello"]).await;
    let level = || kernel.host("GET", "/log-level");
    assert_eq!(level().send().await.json(), json!({"filter": "info"}));
    // A refused token is told at debug only.
    let refuse = || kernel.get("/api/hello/hello").bearer("a.b.c").send();
    refuse().await.expect_status(401);
    let put = |filter: &str| {
        kernel
            .host("PUT", "/log-level")
            .json(&json!({"filter": filter}))
    };
    let answer = put("info,kernel=debug").send().await;
    answer.expect_status(200);
    assert_eq!(answer.json(), level().send().await.json());
    refuse().await.expect_status(401);
    let debug = kernel.wait_for_log("a token was refused");
    assert_eq!(
        kernel.log().matches("a token was refused").count(),
        1,
        "{debug}"
    );
    for bad in [
        "loud",
        "info,hello=",
        "=debug",
        "info,hello=debug=trace",
        "",
    ] {
        let answer = put(bad).send().await;
        answer.expect_problem(400, "invalid_request");
        assert!(
            answer.json()["detail"]
                .as_str()
                .unwrap()
                .starts_with("filter: "),
            "{answer}"
        );
        assert_eq!(level().send().await.json()["filter"], "info,kernel=debug");
    }
}
