//! How calls end when they do not end well, and that neither module is the worse for it.

use super::{Calls, each, expect_code, in_time, isolations};

#[tokio::test]
async fn the_client_leaving_cancels_the_call() {
    for calls in each("", "").await {
        for (round, from) in [(1, "session"), (2, "nobody"), (3, "task")] {
            let path = format!("/call/in/never?from={from}");
            let client = tokio::spawn(calls.get(&path).send());
            calls.counted("waiting", 2 * round - 1).await;
            // The caller's handler is dropped in the middle of the call, and with it the call; where a task of the caller's
            // has it, it ends with the request that it is made for.
            client.abort();
            calls.counted("cancelled", 2 * round - 1).await;
            let mut events = calls.get("/call/in/events").stream().await;
            events.read_until("first").await;
            drop(events);
            calls.counted("cancelled", 2 * round).await;
        }
        // A task that calls for nobody goes on without the handler, for as long as its generation.
        let client = tokio::spawn(calls.get("/call/in/never?from=background").send());
        calls.counted("waiting", 7).await;
        client.abort();
        calls.under_way("caller", 0).await;
        calls.under_way("callee", 1).await;
        let reloaded = calls
            .kernel
            .host("POST", "/modules/caller/reload?wait=drained");
        in_time("the reload", reloaded.send())
            .await
            .expect_status(200);
        calls.counted("cancelled", 7).await;
        calls.under_way("callee", 0).await;
        calls.expect_well().await;
    }
}

#[tokio::test]
async fn the_sessions_end_cancels_the_call() {
    for calls in each("", "").await {
        let client = tokio::spawn(calls.get("/call/in/never").send());
        calls.counted("waiting", 1).await;
        let revoked = calls
            .kernel
            .host("DELETE", "/sessions?user=ada")
            .send()
            .await;
        revoked.expect_status(200);
        in_time("the answer", client)
            .await
            .unwrap()
            .expect_problem(401, "invalid_token");
        calls.counted("cancelled", 1).await;
    }
}

#[tokio::test]
async fn a_panic_of_the_callee_is_an_answer() {
    for calls in each("", "").await {
        for from in ["session", "background"] {
            let answer = calls.call(&format!("panic?from={from}")).await;
            expect_code(&answer, 500, "module_failed");
        }
        let mut stream = calls.get("/call/in/cut").stream().await;
        assert_eq!(stream.parts.status, 200);
        stream.read_until("one").await;
        calls.release().await;
        let (_, whole) = stream.rest().await;
        assert!(!whole, "what was cut is not taken for whole");
        calls.expect_well().await;
    }
}

#[tokio::test]
async fn a_crash_of_the_callee_is_an_answer() {
    for (caller, callee) in isolations().filter(|(_, callee)| *callee == "process") {
        let calls = Calls::start((caller, callee), "", "", "").await;
        let mut events = calls.get("/call/in/events").stream().await;
        events.read_until("first").await;
        let answer = calls.call("abort").await;
        expect_code(&answer, 502, "module_crashed");
        assert!(
            !events.rest().await.1,
            "what was cut is not taken for whole"
        );
        // It is started again, and calls wait for it.
        let who = calls.call("who").await.expect_status(200).json();
        assert_eq!(who["generation"], 2);
        assert_eq!(calls.module("caller").await["generation"], 1);
    }
}

#[tokio::test]
async fn a_crash_of_the_caller_ends_its_calls() {
    for (caller, callee) in isolations().filter(|(caller, _)| *caller == "process") {
        let calls = Calls::start((caller, callee), "", "", "").await;
        let session = tokio::spawn(calls.get("/call/in/never").send());
        let background = tokio::spawn(calls.get("/call/in/never?from=background").send());
        calls.counted("waiting", 2).await;
        let pid = calls.module("caller").await["process"]["pid"].as_i64();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid.unwrap()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        for client in [session, background] {
            let answer = in_time("the answer", client).await.unwrap();
            expect_code(&answer, 502, "module_crashed");
        }
        calls.counted("cancelled", 2).await;
        calls.expect_well().await;
    }
}
