//! How a bridge begins: who may open one, `ready`, `initialize`; and how it ends.

use serde_json::{Value, json};

use super::{expect_error, expect_serving, slow};
use crate::harness::{Bridge, Kernel};

#[tokio::test]
async fn ready_comes_first_and_says_how_to_reach_the_kernel() {
    let (kernel, mut host) = slow().start_hosted().await;
    host.initialize(json!({"name": "one", "version": "1"}), json!({}))
        .await;
    assert_eq!(host.label, "one#1");
    expect_serving(&kernel, &mut host).await;
    let mut dialled = Bridge::dial(&kernel).await;
    let ready = dialled.ready().await;
    assert_eq!(
        ready,
        json!({
            "protocol": 1,
            "version": env!("CARGO_PKG_VERSION"),
            "instance": ready["instance"],
            "pid": kernel.pid().as_raw(),
            "socket": kernel.socket,
            "host_key": kernel.host_key,
        })
    );
    let instance = ready["instance"].as_str().unwrap();
    assert!(instance.starts_with("midplane:"), "{instance}");
    dialled
        .initialize(json!({"name": "two", "version": "1"}), json!({}))
        .await;
    assert_eq!(dialled.label, "two#2");
}

#[tokio::test]
async fn before_initialize_nothing_is_done() {
    let kernel = slow().start().await;
    let mut host = Bridge::dial(&kernel).await;
    host.ready().await;
    for (method, params) in [
        ("module/list", json!({})),
        ("session/create", json!({})),
        ("module/unload", json!({"name": "slow"})),
        ("secret/changed", json!({"secret_key_id": "k"})),
        ("shutdown", json!({})),
        ("nothing", json!({})),
    ] {
        let outcome = host.call(method, params).await;
        expect_error(&outcome, -32600, "initialize first");
    }
    // Nor are answers taken to questions that were never asked.
    host.send(json!({"id": 1, "result": {"secret": "sk-1"}}))
        .await;
    host.notify("secret/changed", json!({"secret_key_id": "k"}))
        .await;
    host.initialize(json!({"name": "late", "version": "1"}), json!({}))
        .await;
    expect_serving(&kernel, &mut host).await;
    let modules = kernel.host("GET", "/modules/slow").send().await;
    assert_eq!(modules.expect_status(200).json()["state"], "serving");
}

#[tokio::test]
async fn initialize_is_sent_once() {
    let kernel = slow().start().await;
    let mut host = Bridge::attach(&kernel, "once", json!({})).await;
    let again = json!({"client": {"name": "twice", "version": "1"}, "protocol": 1});
    let outcome = host.call("initialize", again).await;
    expect_error(&outcome, -32600, "already");
    expect_serving(&kernel, &mut host).await;
}

#[tokio::test]
async fn another_protocol_is_refused_with_both_numbers_and_the_bridge_closes() {
    let kernel = slow().start().await;
    for (number, update) in [(2, "kernel"), (0, "host"), (u32::MAX, "kernel")] {
        let mut host = Bridge::dial(&kernel).await;
        host.ready().await;
        // Of a protocol that is not known, its members are not known either.
        let params = json!({"client": {"label": "x"}, "protocol": number, "extra": [1]});
        let outcome = host.call("initialize", params).await;
        expect_error(&outcome, -32010, &format!("update the {update}"));
        let error = outcome.unwrap_err();
        let data = json!({"code": "protocol_mismatch", "kernel": 1, "host": number});
        assert_eq!(error["data"], data);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("protocol 1"), "{message}");
        assert!(message.contains(&format!("protocol {number}")), "{message}");
        assert!(host.rest().await.is_empty());
    }
    kernel.wait_for_log("the host speaks protocol 2");
}

#[tokio::test]
async fn members_that_are_wrong_are_named_and_may_be_put_right() {
    let kernel = slow().start().await;
    let mut host = Bridge::dial(&kernel).await;
    host.ready().await;
    let client = json!({"name": "n", "version": "1"});
    let long = "x".repeat(129);
    for (params, names) in [
        (json!({}), "protocol"),
        (json!({"protocol": "1"}), "u32"),
        (json!({"protocol": -1}), "-1"),
        (json!({"protocol": 1}), "client"),
        (json!({"protocol": 1, "client": "n"}), "Client"),
        (json!({"protocol": 1, "client": {"version": "1"}}), "`name`"),
        (json!({"protocol": 1, "client": {"name": "n"}}), "`version`"),
        (
            json!({"protocol": 1, "client": {"name": "", "version": "1"}}),
            "`client.name`",
        ),
        (
            json!({"protocol": 1, "client": {"name": long, "version": "1"}}),
            "`client.name`",
        ),
        (
            json!({"protocol": 1, "client": {"name": "a\nb", "version": "1"}}),
            "`client.name`",
        ),
        (
            json!({"protocol": 1, "client": {"name": "n", "version": "1", "instance": ""}}),
            "`client.instance`",
        ),
        (
            json!({"protocol": 1, "client": {"name": "n", "version": "1", "colour": 1}}),
            "colour",
        ),
        (json!({"protocol": 1, "client": client, "more": 1}), "more"),
        (
            json!({"protocol": 1, "client": client, "capabilities": {"log": "loud"}}),
            "loud",
        ),
        (
            json!({"protocol": 1, "client": client, "capabilities": {"secrets": 1}}),
            "boolean",
        ),
        (
            json!({"protocol": 1, "client": client, "capabilities": {"telepathy": true}}),
            "telepathy",
        ),
    ] {
        let outcome = host.call("initialize", params).await;
        expect_error(&outcome, -32602, names);
    }
    host.initialize(client, json!({})).await;
    expect_serving(&kernel, &mut host).await;
}

#[tokio::test]
async fn only_the_host_key_opens_a_bridge() {
    let kernel = slow().start().await;
    let token = kernel.session(json!({})).await;
    let upgrade = || {
        kernel
            .get("/bridge")
            .header("connection", "upgrade")
            .header("upgrade", "jsonrpc")
    };
    upgrade()
        .send()
        .await
        .expect_problem(401, "credential_required");
    let forged = upgrade().bearer("mph_0123456789012345678901234567890123456789012");
    forged.send().await.expect_problem(401, "invalid_token");
    let client = upgrade().bearer(&token);
    client
        .send()
        .await
        .expect_problem(403, "insufficient_scope");
    for (connection, protocol) in [
        (None, None),
        (Some("upgrade"), None),
        (None, Some("jsonrpc")),
        (Some("keep-alive"), Some("jsonrpc")),
        (Some("upgrade"), Some("websocket")),
    ] {
        let mut request = kernel.host("GET", "/bridge");
        if let Some(connection) = connection {
            request = request.header("connection", connection);
        }
        if let Some(protocol) = protocol {
            request = request.header("upgrade", protocol);
        }
        let answer = request.send().await;
        answer.expect_problem(426, "upgrade_required");
        assert_eq!(answer.header("upgrade"), "jsonrpc");
    }
    let posted = kernel.host("POST", "/bridge").send().await;
    posted.expect_problem(405, "method_not_allowed");
    assert_eq!(posted.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn what_follows_the_handshake_at_once_is_read() {
    let kernel = slow().start().await;
    // Names of other lists and cases, as RFC 9110 has them; and the first frame in the same write.
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"client": {"name": "hasty", "version": "1"}, "protocol": 1},
    })
    .to_string();
    let bytes = format!(
        "GET /bridge HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, UPGRADE\r\nUpgrade: h2c, JsonRpc\r\nAuthorization: Bearer {}\r\n\r\nContent-Length: {}\r\n\r\n{body}",
        kernel.host_key,
        body.len()
    );
    let mut host = Bridge::dialled_with(&kernel.socket, bytes.as_bytes()).await;
    host.ready().await;
    let initialized = host.outcome(json!(1)).await.unwrap();
    assert_eq!(initialized["host"], "hasty#1");
}

#[tokio::test]
async fn thirty_two_hosts_may_be_attached() {
    let kernel = slow().start().await;
    let mut hosts = Vec::new();
    for number in 0..32 {
        hosts.push(Bridge::attach(&kernel, &format!("h{number}"), json!({})).await);
    }
    let mut one_more = Bridge::dial(&kernel).await;
    one_more.ready().await;
    let params = json!({"client": {"name": "more", "version": "1"}, "protocol": 1});
    let outcome = one_more.call("initialize", params.clone()).await;
    expect_error(&outcome, -32000, "32");
    assert_eq!(outcome.unwrap_err()["data"]["code"], "host_limit");
    // When one has left there is a place again, also for one that was refused.
    let mut left = hosts.remove(7);
    left.close_writing().await;
    left.rest().await;
    one_more.call("initialize", params).await.unwrap();
    expect_serving(&kernel, &mut one_more).await;
}

#[tokio::test]
async fn who_comes_and_goes_is_told() {
    let kernel = slow().start().await;
    let mut stream = kernel.host("GET", "/events").stream().await;
    stream.read_until(": listening\n\n").await;
    let mut watching = Bridge::attach(&kernel, "watching", json!({"events": true})).await;
    let deaf = Bridge::attach(&kernel, "deaf", json!({})).await;
    drop(deaf);
    let gone = watching.notified("event", |event| event["type"] == "host.gone");
    let gone = gone.await;
    let told = stream.read_until("host.gone").await;
    let events: Vec<Value> = told
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|json| serde_json::from_str(json).unwrap())
        .collect();
    let told: Vec<_> = events
        .iter()
        .map(|event| (event["type"].as_str().unwrap(), event["host"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("host.attached", Some("watching#1")),
            ("host.attached", Some("deaf#2")),
            ("host.gone", Some("deaf#2")),
        ]
    );
    // One and the same object on both ways.
    assert_eq!(gone, events[2]);
}

#[tokio::test]
async fn shutdown_is_answered_and_then_the_kernel_drains() {
    let (kernel, mut host) = slow().start_hosted().await;
    let capabilities = json!({"events": true});
    host.initialize(json!({"name": "h", "version": "1"}), capabilities)
        .await;
    let mut other = Bridge::attach(&kernel, "other", json!({})).await;
    assert_eq!(other.call("shutdown", json!({})).await, Ok(Value::Null));
    host.notified("event", |event| event["type"] == "kernel.draining")
        .await;
    assert!(kernel.wait().await.success());
    assert!(other.rest().await.is_empty());
    host.rest().await;
    assert!(!kernel.socket.exists());
}

#[tokio::test]
async fn the_end_of_an_inherited_bridge_is_the_end_of_the_kernel_and_no_other_is() {
    let (kernel, mut host) = slow().start_hosted().await;
    host.initialize(json!({"name": "h", "version": "1"}), json!({}))
        .await;
    let mut other = Bridge::attach(&kernel, "other", json!({})).await;
    drop(Bridge::attach(&kernel, "passing", json!({})).await);
    kernel.wait_for_log("a bridge ended");
    expect_serving(&kernel, &mut host).await;
    // Half an end is one: there is nothing more to be heard of it.
    host.close_writing().await;
    assert!(kernel.wait().await.success());
    assert!(other.rest().await.is_empty());
    assert!(!kernel.socket.exists());
}

#[tokio::test]
async fn what_is_no_bridge_is_refused_before_anything_is_made() {
    for (script, words) in [
        ("exec \"$@\"", "--bridge-fd 3"),
        ("exec 3</dev/null; exec \"$@\"", "--bridge-fd 3"),
    ] {
        let (code, said) = Kernel::builder()
            .arg("--bridge-fd")
            .arg("3")
            .shell(script)
            .refuse();
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(words), "{said}");
    }
}
