//! Calls that do not come to the other module.

use serde_json::json;

use super::{Calls, each, expect_code, isolations};

#[tokio::test]
async fn a_module_calls_only_whom_it_may() {
    for calls in each("grants = [\"call:caller\"]", "").await {
        for from in ["session", "nobody", "task", "background"] {
            let answer = calls.call(&format!("who?from={from}")).await;
            expect_code(&answer, 502, "call_failed");
            assert!(answer.text().contains("may not call callee"), "{answer}");
        }
        calls
            .kernel
            .wait_for_log("a module called another without the grant");
        let answer = calls.call("who?module=nobody").await;
        assert!(answer.text().contains("may not call nobody"), "{answer}");
        assert_eq!(
            calls.module("caller").await["grants"],
            json!(["call:caller"])
        );
    }
}

#[tokio::test]
async fn a_put_narrows_whom_a_module_may_call() {
    let here = ("in-process", "in-process");
    let calls = Calls::start(here, "", "grants = [\"call:callee\"]", "").await;
    let path = calls.module("caller").await["path"].clone();
    let put = async |grants: serde_json::Value| {
        let body = json!({"path": path, "grants": grants});
        calls
            .kernel
            .host("PUT", "/modules/caller")
            .json(&body)
            .send()
            .await
    };
    calls.expect_well().await;
    put(json!([])).await.expect_status(200);
    expect_code(&calls.call("who").await, 502, "call_failed");
    put(json!(["call:callee", "call:caller"]))
        .await
        .expect_problem(403, "grant_forbidden");
    put(json!(["call:Callee"]))
        .await
        .expect_problem(400, "invalid_request");
    put(json!(["call:callee"])).await.expect_status(200);
    calls.expect_well().await;
}

#[tokio::test]
async fn modules_reach_internal_routes_only_and_clients_all_others() {
    for calls in each("", "").await {
        for path in ["outside", "open", "exactly/not", "in"] {
            let answer = calls.get(&format!("/call/{path}")).send().await;
            expect_code(&answer, 404, "not_found");
            assert!(answer.text().contains("not open to modules"), "{answer}");
        }
        let exactly = calls.get("/call/exactly").send().await;
        assert_eq!(exactly.expect_status(200).text(), "caller");
        for path in [
            "/in/who",
            "/in/nothing",
            "/exactly",
            "/%69n/who",
            "//in/who",
            "/in%2Fwho",
            "/%65xactly",
        ] {
            let answer = calls.directly("GET", path).await;
            expect_code(&answer, 404, "not_found");
            // Nor without a session, where the same pattern is public.
            let path = format!("/api/callee{path}");
            let nobody = calls.kernel.get(&path).send().await;
            nobody.expect_problem(401, "credential_required");
            let host = calls.kernel.host("GET", &path).send().await;
            assert!(host.status() >= 400, "{host}");
        }
        calls.directly("GET", "/outside").await.expect_status(200);
        let open = calls.kernel.get("/api/callee/open").send().await;
        open.expect_status(200);
        // A client cannot say that it is a module.
        let who = calls
            .directly("GET", "/who")
            .await
            .expect_status(200)
            .json();
        assert_eq!(who["caller"], json!(null));
    }
}

#[tokio::test]
async fn a_cycle_ends() {
    for calls in each("", "").await {
        let answer = calls.get("/again").send().await;
        let text = answer.expect_status(200).text().to_owned();
        assert!(text.contains("call each other"), "{text}");
        calls
            .kernel
            .wait_for_log("a call between modules was refused");
        calls.under_way("caller", 0).await;
        calls.under_way("callee", 0).await;
        // The eighth call still came through.
        assert!(
            calls.kernel.log().contains("depth=9"),
            "{}",
            calls.kernel.log()
        );
        calls.expect_well().await;
    }
}

#[tokio::test]
async fn a_module_that_is_not_loaded_is_told_so() {
    for (caller, callee) in isolations() {
        let calls = Calls::start((caller, callee), "", "", "").await;
        let unloaded = calls.kernel.host("DELETE", "/modules/callee?force=true");
        unloaded.send().await.expect_status(200);
        for from in ["session", "background"] {
            let answer = calls.call(&format!("who?from={from}")).await;
            expect_code(&answer, 503, "call_failed");
            assert!(
                answer
                    .text()
                    .contains("callee, which this one calls, is not loaded")
            );
        }
        // A module that needs the other one to begin with is not loaded without it.
        let config = json!({"config": {"call_at_start": true}});
        let reload = calls
            .kernel
            .host("POST", "/modules/caller/reload")
            .json(&config);
        let refused = reload.send().await;
        refused.expect_problem(422, "module_refused");
        assert!(refused.text().contains("is not loaded"), "{refused}");
        expect_code(&calls.call("who").await, 503, "call_failed");
    }
}

#[tokio::test]
async fn what_is_no_request_is_not_sent() {
    for calls in each("", "").await {
        for query in ["module=No%20Name", "module=", "module=a/b"] {
            let answer = calls.call(&format!("who?{query}")).await;
            expect_code(&answer, 502, "call_failed");
            assert!(answer.text().contains("is no request"), "{answer}");
        }
    }
}
