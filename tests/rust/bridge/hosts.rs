//! Several hosts: who is asked for a secret, and what one that fails costs the others.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{expect_error, expect_serving, slow};
use crate::harness::{Bridge, Kernel, Raw, eventually};

/// Asks for a session that needs the key, and returns the request's id.
async fn ask(client: &mut Bridge, key: &str) -> Value {
    let create = json!({"secret_key_id": key});
    json!(client.request("session/create", create).await)
}

async fn three(kernel: &Kernel) -> (Bridge, Bridge, Bridge) {
    (
        Bridge::attach_source(kernel, "first").await,
        Bridge::attach_source(kernel, "second").await,
        Bridge::attach(kernel, "client", json!({})).await,
    )
}

#[tokio::test]
async fn the_one_that_attached_last_is_asked_first() {
    let kernel = slow().start().await;
    let (mut first, mut second, mut client) = three(&kernel).await;
    // The last has it: nobody else is asked.
    let id = ask(&mut client, "a").await;
    let question = second.question().await;
    second.give(&question, "sk-1").await;
    client.outcome(id).await.unwrap();
    // It has not: the one before it is asked.
    let id = ask(&mut client, "b").await;
    let question = second.question().await;
    second.refuse(&question, -32002, "not with me").await;
    let question = first.question().await;
    assert_eq!(question["params"]["secret_key_id"], "b");
    first.give(&question, "sk-1").await;
    client.outcome(id).await.unwrap();
    // None has.
    let id = ask(&mut client, "c").await;
    let question = second.question().await;
    second.refuse(&question, -32002, "not with me").await;
    let question = first.question().await;
    first.refuse(&question, -32002, "nor with me").await;
    let outcome = client.outcome(id).await;
    expect_error(&outcome, -32000, "with me");
    assert_eq!(outcome.unwrap_err()["data"]["code"], "secret_not_found");
    // It does not work here, and may there.
    let id = ask(&mut client, "d").await;
    let question = second.question().await;
    second
        .refuse(&question, -32603, "the keyring is locked")
        .await;
    let question = first.question().await;
    first.give(&question, "sk-1").await;
    client.outcome(id).await.unwrap();
    // A person said no: that is not asked about elsewhere.
    let id = ask(&mut client, "e").await;
    let question = second.question().await;
    second.refuse(&question, -32001, "no").await;
    let outcome = client.outcome(id).await;
    assert_eq!(outcome.unwrap_err()["data"]["code"], "secret_denied");
    // Nor is what is no key.
    let id = ask(&mut client, "f").await;
    let question = second.question().await;
    second.give(&question, "no key").await;
    let outcome = client.outcome(id).await;
    assert_eq!(outcome.unwrap_err()["data"]["code"], "secret_rejected");
    first.close_writing().await;
    assert!(first.rest().await.is_empty());
}

#[tokio::test]
async fn one_that_dies_with_a_question_open_is_no_answer() {
    let kernel = slow().start().await;
    let (mut first, mut second, mut client) = three(&kernel).await;
    let id = ask(&mut client, "a").await;
    second.question().await;
    drop(second);
    let question = first.question().await;
    first.give(&question, "sk-1").await;
    client.outcome(id).await.unwrap();
    let id = ask(&mut client, "b").await;
    first.question().await;
    // Half a message, and the end.
    first.write(b"Content-Length: 100\r\n\r\n{\"id\":").await;
    drop(first);
    let outcome = client.outcome(id).await;
    expect_error(&outcome, -32000, "gone");
    assert_eq!(outcome.unwrap_err()["data"]["code"], "host_unavailable");
    let id = ask(&mut client, "c").await;
    let outcome = client.outcome(id).await;
    expect_error(&outcome, -32000, "no host is attached");
    expect_serving(&kernel, &mut client).await;
}

/// The five seconds that a host has are waited for once, by several at the same time.
#[tokio::test]
async fn one_that_hangs_costs_its_own_questions_and_is_asked_last_from_then_on() {
    let kernel = slow().start().await;
    let start = Instant::now();
    let mut alone = Bridge::attach(&kernel, "client", json!({})).await;
    let mut hangs = Bridge::attach_source(&kernel, "hangs").await;
    let timed_out = ask(&mut alone, "a").await;
    let question = hangs.question().await;
    // From here on another host is there, which answers; who asked before is told that time is up.
    let mut answers = Bridge::attach_source(&kernel, "answers").await;
    let id = ask(&mut alone, "b").await;
    let other = answers.question().await;
    answers.give(&other, "sk-1").await;
    alone.outcome(id).await.unwrap();
    // A second one that hangs is asked first, and after it the one that answers.
    let mut hangs_too = Bridge::attach_source(&kernel, "hangs-too").await;
    let handed_on = ask(&mut alone, "c").await;
    hangs_too.question().await;
    for _ in 0..20 {
        expect_serving(&kernel, &mut alone).await;
    }
    let outcome = alone.outcome(timed_out).await;
    expect_error(&outcome, -32000, "did not answer in time");
    assert_eq!(outcome.unwrap_err()["data"]["code"], "host_timeout");
    assert!(start.elapsed() >= Duration::from_secs(5));
    let taken_back = hangs.notified("$/cancelRequest", |_| true).await;
    assert_eq!(taken_back["id"], question["id"]);
    let other = answers.question().await;
    assert_eq!(other["params"]["secret_key_id"], "c");
    answers.give(&other, "sk-1").await;
    alone.outcome(handed_on).await.unwrap();
    // The younger one has been silent: the one that answers comes first.
    let id = ask(&mut alone, "d").await;
    let other = answers.question().await;
    assert_eq!(other["params"]["secret_key_id"], "d");
    answers.refuse(&other, -32002, "not with me").await;
    // And those that were silent have another chance, the youngest first; an answer makes up for it.
    let question = hangs_too.question().await;
    assert_eq!(question["params"]["secret_key_id"], "d");
    hangs_too.give(&question, "sk-1").await;
    alone.outcome(id).await.unwrap();
    let id = ask(&mut alone, "e").await;
    let question = hangs_too.question().await;
    hangs_too.give(&question, "sk-1").await;
    alone.outcome(id).await.unwrap();
    // An answer that comes late is nobody's.
    hangs.give(&taken_back, "sk-late").await;
    expect_serving(&kernel, &mut hangs).await;
}

#[tokio::test]
async fn a_host_has_sixty_four_questions_at_most() {
    let kernel = slow().start().await;
    let mut source = Bridge::attach_source(&kernel, "source").await;
    let mut clients = [
        Bridge::attach(&kernel, "one", json!({})).await,
        Bridge::attach(&kernel, "two", json!({})).await,
    ];
    let mut ids = Vec::new();
    for number in 0..64 {
        ids.push(ask(&mut clients[0], &format!("k{number}")).await);
        source.question().await;
    }
    let id = ask(&mut clients[1], "one-more").await;
    let outcome = clients[1].outcome(id).await;
    expect_error(&outcome, -32000, "64 questions");
    assert_eq!(outcome.unwrap_err()["data"]["code"], "host_unavailable");
    drop(source);
    for id in ids {
        let outcome = clients[0].outcome(id).await;
        expect_error(&outcome, -32000, "gone");
    }
}

/// The process that has a bridge may take the places that are kept for hosts.
#[tokio::test]
async fn connections_of_an_attached_process_count_as_a_hosts() {
    // Started by a shell, so that this process is not its parent.
    let kernel = Kernel::builder()
        .config("[limits]\nconnections_per_process = 4")
        .module("slow", "")
        .shell("\"$@\" & wait")
        .start()
        .await;
    let mut host = Bridge::attach(&kernel, "host", json!({})).await;
    let mut more = Vec::new();
    for _ in 0..12 {
        more.push(Raw::connect(&kernel.socket).await);
    }
    expect_serving(&kernel, &mut host).await;
    host.close_writing().await;
    host.rest().await;
    let health = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    eventually("a refusal", || async {
        let mut one_more = Raw::send(&kernel.socket, health).await;
        let answer = one_more.answer().await.expect("an answer");
        (answer.status() == 503).then(|| {
            assert!(answer.body.contains("connection_limit"), "{answer:?}");
        })
    })
    .await;
}
