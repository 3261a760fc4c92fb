//! Who calls: what the module that is called is told.

use serde_json::{Value, json};

use super::each;

#[tokio::test]
async fn a_handler_calls_for_its_session() {
    for calls in each("", "").await {
        for from in ["session", "task"] {
            let target = format!("who?from={from}&a=%20b");
            let who = calls
                .get(&format!("/call/in/{target}"))
                .header("x", "a value");
            let who = who.send().await.expect_status(200).json();
            assert_eq!(
                who["caller"],
                json!({"module": "caller", "generation": 1, "user": "ada"}),
                "{from}"
            );
            assert_eq!(who["session"], json!({"user": "ada", "scope": "notes"}));
            // By the callee's own grant: the session is not one for it.
            assert_eq!(who["secret"], "sk-of-the-session");
            assert_eq!(who["method"], "GET");
            assert_eq!(who["target"], format!("/in/{target}"));
            assert_eq!(who["x"], "a value");
            assert_eq!(who["authorization"], Value::Null, "the credential stays");
        }
    }
}

#[tokio::test]
async fn a_call_for_nobody_has_no_session() {
    for calls in each("", "").await {
        for from in ["nobody", "background"] {
            let who = calls.call(&format!("who?from={from}")).await;
            let who = who.expect_status(200).json();
            let caller = json!({"module": "caller", "generation": 1, "user": null});
            assert_eq!(who["caller"], caller, "{from}");
            assert_eq!(
                (&who["session"], &who["secret"]),
                (&Value::Null, &Value::Null)
            );
        }
        let who = calls
            .get("/background")
            .send()
            .await
            .expect_status(200)
            .json();
        assert_eq!(who["caller"]["module"], "caller");
    }
}

#[tokio::test]
async fn an_answer_says_which_generation_made_it() {
    for calls in each("", "").await {
        let answer = calls.call("who").await;
        // The caller has passed it on, and the kernel has put its own in its place.
        assert_eq!(
            answer.expect_status(200).header("x-midplane-module"),
            "caller#1"
        );
        let many = calls.get("/many?n=50").send().await;
        assert_eq!(many.expect_status(200).text(), "50");
    }
}

#[tokio::test]
async fn a_module_calls_before_it_serves() {
    for calls in each(
        "config = { call_at_start = true }",
        "grants = [\"secrets\"]",
    )
    .await
    {
        let heard = calls.get("/heard").send().await.expect_status(200).json();
        for when in ["at_start", "in_task"] {
            let caller = json!({"module": "caller", "generation": 1, "user": null});
            assert_eq!(heard[when]["caller"], caller, "{when}: {heard}");
        }
        calls.expect_well().await;
        // Also while the generation before serves.
        let reloaded = calls
            .kernel
            .host("POST", "/modules/caller/reload")
            .send()
            .await;
        reloaded.expect_status(200);
        let heard = calls.get("/heard").send().await.expect_status(200).json();
        assert_eq!(heard["at_start"]["caller"]["generation"], 2);
    }
}
