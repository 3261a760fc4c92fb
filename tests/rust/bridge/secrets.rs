//! `secret/get`: what a host may answer, and what it costs it to answer otherwise.

use serde_json::{Value, json};

use super::{expect_serving, slow};
use crate::harness::{Answer, Bridge, Kernel};

/// What no answer and no log line may contain.
const CANARY: &str = "sk-canary-0123456789";

fn create(kernel: &Kernel, key: &str) -> impl Future<Output = Answer> + use<> {
    let body = json!({"secret_key_id": key});
    kernel.host("POST", "/sessions").json(&body).send()
}

/// How long the key is, as a module of the session has it.
async fn secret_len(kernel: &Kernel, token: &Value) -> String {
    let token = token["client_secret"].as_str().unwrap();
    let answer = kernel.get("/api/slow/secret-len").bearer(token);
    answer.send().await.text().to_owned()
}

#[tokio::test]
async fn the_question_says_what_for_and_the_answer_reaches_the_module() {
    let kernel = slow().start().await;
    let mut host = Bridge::attach_source(&kernel, "host").await;
    let body = json!({"secret_key_id": "openai-api-key", "environment": "dev"});
    let creating = kernel.host("POST", "/sessions").json(&body).send();
    let answering = async {
        let question = host.question().await;
        let session_id = question["params"]["session_id"].as_str().unwrap();
        assert!(session_id.starts_with("ses_"), "{question}");
        assert_eq!(
            question["params"],
            json!({
                "secret_key_id": "openai-api-key", "environment": "dev",
                "session_id": session_id, "module": null,
            })
        );
        host.give(&question, CANARY).await;
        session_id.to_owned()
    };
    let (answer, session_id) = tokio::join!(creating, answering);
    let session = answer.expect_status(201).json();
    assert_eq!(session["id"], session_id);
    assert_eq!(
        secret_len(&kernel, &session).await,
        CANARY.len().to_string()
    );
    assert!(!kernel.log().contains(CANARY));
    assert!(!answer.text().contains(CANARY));
}

#[tokio::test]
async fn whatever_a_host_answers_is_judged() {
    let kernel = slow()
        .config("[kernel]\nlog_filter = \"trace,mio=info\"")
        .start()
        .await;
    let mut host = Bridge::attach_source(&kernel, "host").await;
    let long = "x".repeat(4097);
    let words = "w".repeat(2000);
    let error = |code: i64, message: &str| json!({"error": {"code": code, "message": message}});
    let secret = |secret: Value| json!({"result": {"secret": secret}});
    for (number, (answer, status, code, detail)) in [
        (secret(json!(CANARY)), 201, "", ""),
        // Members of a later protocol.
        (
            json!({"result": {"secret": CANARY, "expires_at": 7}}),
            201,
            "",
            "",
        ),
        (
            error(-32001, "Ada said no."),
            403,
            "secret_denied",
            "Ada said no.",
        ),
        (error(-32001, ""), 403, "secret_denied", "does not give"),
        (
            error(-32002, "Set it with `Chat: Set Key`."),
            403,
            "secret_not_found",
            "Chat: Set Key",
        ),
        (error(-32002, ""), 403, "secret_not_found", "no such secret"),
        (
            error(-32603, "keyring is locked"),
            503,
            "host_unavailable",
            "keyring is locked",
        ),
        (
            error(-32601, "Unhandled method"),
            503,
            "host_unavailable",
            "Unhandled method",
        ),
        (error(i64::MIN, "x"), 503, "host_unavailable", "x"),
        (
            error(-32001, "a\u{1b}[31m\nb"),
            403,
            "secret_denied",
            "\\u{1b}",
        ),
        (error(-32001, &words), 403, "secret_denied", "www"),
        (
            json!({"error": {"code": -32001, "message": "no, says Ada", "data": {"secret": CANARY}}}),
            403,
            "secret_denied",
            "no",
        ),
        (secret(json!("")), 403, "secret_rejected", "empty"),
        (secret(json!(long)), 403, "secret_rejected", "longer"),
        (
            secret(json!(format!("{CANARY}\n"))),
            403,
            "secret_rejected",
            "line",
        ),
        (
            secret(json!(format!("{CANARY} "))),
            403,
            "secret_rejected",
            "ASCII",
        ),
        (
            secret(json!(format!("{CANARY}\u{0}"))),
            403,
            "secret_rejected",
            "ASCII",
        ),
        (
            secret(json!(format!("{CANARY}\u{f6}"))),
            403,
            "secret_rejected",
            "ASCII",
        ),
        (
            secret(json!([CANARY])),
            403,
            "secret_rejected",
            "{\"secret\"",
        ),
        (secret(json!(7)), 403, "secret_rejected", "{\"secret\""),
        (
            json!({"result": CANARY}),
            403,
            "secret_rejected",
            "{\"secret\"",
        ),
        (
            json!({"result": null}),
            403,
            "secret_rejected",
            "{\"secret\"",
        ),
        (
            json!({"result": {"Secret": CANARY}}),
            403,
            "secret_rejected",
            "{\"secret\"",
        ),
        (
            json!({"result": {"secret": CANARY, "secret ": CANARY}}),
            201,
            "",
            "",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("k{number}");
        let answering = async {
            let question = host.question().await;
            let mut answer = answer.clone();
            answer["id"] = question["id"].clone();
            host.send(answer).await;
        };
        let (got, ()) = tokio::join!(create(&kernel, &key), answering);
        if status == 201 {
            got.expect_status(201);
        } else {
            got.expect_problem(status, code);
            let said = got.json()["detail"].as_str().unwrap().to_owned();
            assert!(said.contains(detail), "{answer}: {said}");
            assert!(said.len() < 1200, "{}", said.len());
        }
        assert!(!got.text().contains("sk-canary"), "{got}");
        assert_eq!(got.has_header("retry-after"), status == 503, "{got}");
    }
    expect_serving(&kernel, &mut host).await;
    assert!(!kernel.log().contains("sk-canary"), "{}", kernel.log());
}

#[tokio::test]
async fn an_answer_counts_once_and_only_to_its_question() {
    let kernel = slow().start().await;
    let mut liar = Bridge::attach_source(&kernel, "liar").await;
    let mut other = Bridge::attach(&kernel, "other", json!({})).await;
    let answering = async {
        let question = liar.question().await;
        let id = question["id"].as_i64().unwrap();
        // Of nobody's question, of another form of the same number, and from somebody else.
        for id in [json!(id + 1), json!(id - 1), json!(id.to_string())] {
            liar.send(json!({"id": id, "result": {"secret": "sk-wrong"}}))
                .await;
        }
        other
            .send(json!({"id": id, "result": {"secret": "sk-wrong"}}))
            .await;
        other.call("module/list", json!({})).await.unwrap();
        liar.give(&question, "sk-right-one").await;
        liar.give(&question, "sk-wrong").await;
        liar.refuse(&question, -32001, "no").await;
    };
    let (answer, ()) = tokio::join!(create(&kernel, "k"), answering);
    let session = answer.expect_status(201).json();
    assert_eq!(secret_len(&kernel, &session).await, "12");
    expect_serving(&kernel, &mut liar).await;
}

#[tokio::test]
async fn one_question_serves_all_who_ask_at_once() {
    let kernel = slow().start().await;
    let mut host = Bridge::attach_source(&kernel, "host").await;
    let mut asking = Bridge::attach(&kernel, "asking", json!({})).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let create = json!({"secret_key_id": "k"});
        ids.push(asking.request("session/create", create).await);
    }
    let other = json!({"secret_key_id": "k", "environment": "dev"});
    ids.push(asking.request("session/create", other).await);
    let first = host.question().await;
    let second = host.question().await;
    assert_eq!(first["params"]["environment"], "pro");
    assert_eq!(second["params"]["environment"], "dev");
    // All of them wait by now: each is begun in the order in which it came.
    host.give(&second, "sk-dev").await;
    asking.outcome(json!(ids.pop().unwrap())).await.unwrap();
    host.give(&first, "sk-pro").await;
    for id in ids {
        asking.outcome(json!(id)).await.unwrap();
    }
    host.close_writing().await;
    let rest = host.rest().await;
    assert!(rest.is_empty(), "asked again: {rest:?}");
}

#[tokio::test]
async fn a_host_is_one_source_among_others() {
    let kernel = slow()
        .config("[secrets]\nby-env = \"env:MIDPLANE_TEST_SECRET\"\nby-host = \"bridge\"")
        .env("MIDPLANE_TEST_SECRET", "sk-from-env")
        .arg("--secret")
        .arg("by-flag=bridge")
        .start()
        .await;
    create(&kernel, "by-flag")
        .await
        .expect_problem(503, "host_unavailable");
    let mut mute = Bridge::attach(&kernel, "mute", json!({"secrets": false})).await;
    create(&kernel, "by-host")
        .await
        .expect_problem(503, "host_unavailable");
    let mut host = Bridge::attach_source(&kernel, "host").await;
    create(&kernel, "by-env").await.expect_status(201);
    for key in ["by-flag", "by-host", "by-nothing"] {
        let answering = async {
            let question = host.question().await;
            assert_eq!(question["params"]["secret_key_id"], key);
            host.give(&question, "sk-1").await;
        };
        let (answer, ()) = tokio::join!(create(&kernel, key), answering);
        answer.expect_status(201);
    }
    // One that says nothing of secrets is not asked, nor is any host for what has another source.
    for host in [&mut mute, &mut host] {
        host.close_writing().await;
        assert!(host.rest().await.is_empty());
    }
}
