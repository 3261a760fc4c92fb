//! JSON-RPC and its frames: what is taken, what is refused, and what costs the bridge.

use serde_json::{Value, json};

use super::{expect_error, expect_serving, slow};
use crate::harness::{Bridge, Kernel, framed};

async fn attached() -> (Kernel, Bridge) {
    let kernel = slow().start().await;
    let host = Bridge::attach(&kernel, "host", json!({})).await;
    (kernel, host)
}

#[tokio::test]
async fn what_is_no_request_is_answered_and_costs_nothing_more() {
    let (kernel, mut host) = attached().await;
    for (text, id, code) in [
        ("", Value::Null, -32700),
        ("{", Value::Null, -32700),
        ("nonsense", Value::Null, -32700),
        ("\u{0}", Value::Null, -32700),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"module/list"} x"#,
            Value::Null,
            -32700,
        ),
        ("7", Value::Null, -32600),
        (r#""text""#, Value::Null, -32600),
        ("{}", Value::Null, -32600),
        ("[]", Value::Null, -32600),
        (
            r#" [{"jsonrpc":"2.0","id":1,"method":"module/list"}]"#,
            Value::Null,
            -32600,
        ),
        (r#"{"id":"a","method":"module/list"}"#, json!("a"), -32600),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"module/list"}"#,
            json!(1),
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"module/list"}"#,
            Value::Null,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1.5,"method":"module/list"}"#,
            Value::Null,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":{},"method":"module/list"}"#,
            Value::Null,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":7}"#,
            Value::Null,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":8,"method":"module/list","params":[]}"#,
            json!(8),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":9,"method":"module/list","params":"x"}"#,
            json!(9),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":10,"method":"nothing/here"}"#,
            json!(10),
            -32601,
        ),
        (
            r#"{"jsonrpc":"2.0","id":11,"method":"ready","params":{}}"#,
            json!(11),
            -32601,
        ),
        (
            r#"{"jsonrpc":"2.0","id":12,"method":"secret/get","params":{}}"#,
            json!(12),
            -32601,
        ),
        (
            r#"{"jsonrpc":"2.0","id":13,"method":"module/list","params":{"x":1}}"#,
            json!(13),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":14,"method":"secret/changed","params":{"secret_key_id":7}}"#,
            json!(14),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":15,"method":"secret/changed"}"#,
            json!(15),
            -32602,
        ),
    ] {
        host.frame(text).await;
        let answer = host.next().await.expect("an answer");
        assert_eq!(answer["id"], id, "{text}: {answer}");
        assert_eq!(answer["error"]["code"], code, "{text}: {answer}");
        assert!(answer.get("result").is_none(), "{text}: {answer}");
    }
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"session/create","params":{{"metadata":{}1{}}}}}"#,
        r#"{"a":"#.repeat(100_000),
        "}".repeat(100_000)
    );
    host.frame(&deep).await;
    assert!(host.next().await.unwrap()["error"].is_object());
    for key_id in ["k".repeat(257), "a\nb".to_owned()] {
        let changed = json!({"secret_key_id": key_id});
        let outcome = host.call("secret/changed", changed).await;
        expect_error(&outcome, -32602, "`secret_key_id`");
    }
    let long_id = json!({"id": "i".repeat(257), "method": "module/list"});
    host.send(long_id).await;
    assert_eq!(host.next().await.unwrap()["error"]["code"], -32600);
    expect_serving(&kernel, &mut host).await;
}

#[tokio::test]
async fn notifications_and_answers_that_mean_nothing_are_not_answered() {
    let (kernel, mut host) = attached().await;
    for text in [
        r#"{"jsonrpc":"2.0","method":"nothing"}"#,
        r#"{"jsonrpc":"2.0","method":"module/unload","params":{"name":"slow"}}"#,
        r#"{"jsonrpc":"2.0","method":"shutdown"}"#,
        r#"{"jsonrpc":"2.0","method":"initialize","params":{}}"#,
        r#"{"jsonrpc":"2.0","method":"secret/changed","params":{"id":1}}"#,
        r#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":99}}"#,
        r#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":[]}}"#,
        r#"{"jsonrpc":"2.0","method":"$/cancelRequest"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"secret":"sk-1"}}"#,
        r#"{"jsonrpc":"2.0","id":"1","result":null}"#,
        r#"{"jsonrpc":"2.0","id":-9223372036854775808,"error":{"code":1,"message":"x"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#,
    ] {
        host.frame(text).await;
    }
    host.send(json!({"id": "last", "method": "module/list", "params": null}))
        .await;
    let first = host.next().await.unwrap();
    assert_eq!(first["id"], "last", "{first}");
    let listed = kernel.host("GET", "/modules").send().await.json();
    assert_eq!(first["result"], listed);
}

#[tokio::test]
async fn an_answer_that_is_none_is_not_taken_for_a_request_of_the_same_number() {
    let (kernel, mut host) = attached().await;
    kernel.issue(json!({})).await;
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":"x"}}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"id":1,"result":1}"#,
    ] {
        host.frame(text).await;
        let answer = host.next().await.unwrap();
        assert_eq!(answer["error"]["code"], -32600, "{answer}");
        assert_eq!(answer["id"], Value::Null, "{answer}");
    }
}

#[tokio::test]
async fn ids_are_given_back_as_they_came() {
    let (_kernel, mut host) = attached().await;
    for id in [
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(""),
        json!("a\"\u{0}\u{1f600}"),
        json!("i".repeat(256)),
    ] {
        host.send(json!({"id": id, "method": "module/list"})).await;
        assert!(host.outcome(id).await.is_ok());
    }
}

#[tokio::test]
async fn an_id_in_use_is_refused_and_the_first_request_goes_on() {
    let kernel = slow().start().await;
    let mut host = Bridge::attach_source(&kernel, "host").await;
    let create = json!({"secret_key_id": "k"});
    for id in [json!(7), json!("seven")] {
        host.send(json!({"id": id, "method": "session/create", "params": create}))
            .await;
        let question = host.question().await;
        host.send(json!({"id": id, "method": "module/list"})).await;
        let refused = host.outcome(Value::Null).await;
        expect_error(&refused, -32600, "under way");
        host.give(&question, "sk-1").await;
        let issued = host.outcome(id.clone()).await.unwrap();
        assert_eq!(issued["secret_key_id"], "k");
        // Answered, it is free.
        host.send(json!({"id": id, "method": "module/list"})).await;
        host.outcome(id).await.unwrap();
    }
}

#[tokio::test]
async fn sixty_four_requests_may_be_under_way() {
    let kernel = slow().start().await;
    let mut source = Bridge::attach_source(&kernel, "source").await;
    let mut host = Bridge::attach(&kernel, "host", json!({})).await;
    let mut under_way = Vec::new();
    for number in 0..64 {
        // A question each, so that none is answered before all are asked.
        let create = json!({"secret_key_id": format!("k{number}")});
        under_way.push(host.request("session/create", create).await);
    }
    let one_more = host.call("module/list", json!({})).await;
    expect_error(&one_more, -32000, "64");
    let problem = &one_more.unwrap_err()["data"];
    assert_eq!(problem["code"], "too_many_requests");
    assert_eq!(problem["type"], "urn:midplane:error:too-many-requests");
    // Others are not told so.
    source.call("module/list", json!({})).await.unwrap();
    for _ in 0..64 {
        let question = source.question().await;
        source.give(&question, "sk-1").await;
    }
    for id in under_way {
        host.outcome(json!(id)).await.unwrap();
    }
    expect_serving(&kernel, &mut host).await;
}

#[tokio::test]
async fn a_request_that_is_cancelled_is_answered_so_and_its_question_is_taken_back() {
    let kernel = slow().start().await;
    let mut source = Bridge::attach_source(&kernel, "source").await;
    let mut host = Bridge::attach(&kernel, "host", json!({})).await;
    let id = host
        .request("session/create", json!({"secret_key_id": "k"}))
        .await;
    let question = source.question().await;
    host.notify("$/cancelRequest", json!({"id": id})).await;
    expect_error(&host.outcome(json!(id)).await, -32800, "cancelled");
    let taken_back = source.notified("$/cancelRequest", |_| true).await;
    assert_eq!(taken_back, json!({"id": question["id"]}));
    // The answer comes all the same, and is for nobody.
    source.give(&question, "sk-late").await;
    expect_serving(&kernel, &mut source).await;
    let sessions = kernel.host("GET", "/sessions").send().await.json();
    assert_eq!(sessions["data"], json!([]));
    // Cancelled once more it is not answered once more; its id is free.
    host.notify("$/cancelRequest", json!({"id": id})).await;
    host.send(json!({"id": id, "method": "module/list"})).await;
    assert!(host.outcome(json!(id)).await.is_ok());
    host.close_writing().await;
    assert!(host.rest().await.is_empty());
}

/// However the two cross, there is one answer.
#[tokio::test]
async fn a_request_that_is_cancelled_as_it_is_answered_has_one_answer() {
    let (_kernel, mut host) = attached().await;
    for id in 0..300 {
        let id = json!(format!("crossing-{id}"));
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "module/list"}).to_string();
        let cancel = json!({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": id}})
            .to_string();
        host.frame(&request).await;
        host.frame(&cancel).await;
        // Told apart from the one before by its form.
        host.send(json!({"id": id, "method": "nothing"})).await;
        let mut outcomes = 0;
        loop {
            let answer = host.next().await.unwrap();
            let code = answer["error"]["code"].as_i64();
            if code == Some(-32601) {
                break;
            }
            assert!(
                code == Some(-32800) || answer.get("result").is_some(),
                "{answer}"
            );
            outcomes += 1;
        }
        assert_eq!(outcomes, 1, "{id}");
    }
}

#[tokio::test]
async fn frames_come_in_any_pieces() {
    let (kernel, mut host) = attached().await;
    let request =
        |id: i64| json!({"jsonrpc": "2.0", "id": id, "method": "module/list"}).to_string();
    for byte in framed(&request(-1)).bytes() {
        host.write(&[byte]).await;
    }
    host.outcome(json!(-1)).await.unwrap();
    // Several in one piece, the last of them cut.
    let three = format!(
        "{}{}{}",
        framed(&request(-2)),
        framed(&request(-3)),
        framed(&request(-4))
    );
    let (piece, rest) = three.as_bytes().split_at(three.len() - 5);
    host.write(piece).await;
    host.outcome(json!(-2)).await.unwrap();
    host.outcome(json!(-3)).await.unwrap();
    host.write(rest).await;
    host.outcome(json!(-4)).await.unwrap();
    // Header fields that some clients send.
    let text = request(-5);
    for header in [
        format!(
            "Content-Length: {}\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n",
            text.len()
        ),
        format!(
            "content-type: x; charset=UTF8\r\nCONTENT-LENGTH:{}\r\n\r\n",
            text.len()
        ),
        format!("X-Other: a:b\r\nContent-Length: \t{} \r\n\r\n", text.len()),
    ] {
        host.write(format!("{header}{text}").as_bytes()).await;
        host.outcome(json!(-5)).await.unwrap();
    }
    expect_serving(&kernel, &mut host).await;
}

#[tokio::test]
async fn the_longest_message_is_taken() {
    let (_kernel, mut host) = attached().await;
    let message = |padding: &str| {
        json!({"jsonrpc": "2.0", "id": 1, "method": "nothing", "params": {"p": padding}})
            .to_string()
    };
    let room = (1 << 20) - message("").len();
    host.frame(&message(&"p".repeat(room))).await;
    expect_error(&host.outcome(json!(1)).await, -32601, "nothing");
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_closes_that_bridge_only() {
    let kernel = slow().start().await;
    let mut other = Bridge::attach(&kernel, "other", json!({})).await;
    let flood = "X: ".repeat(2000);
    let floods = "A: b\r\n".repeat(1000);
    for bytes in [
        "{\"jsonrpc\":\"2.0\"}\r\n\r\n",
        "Content-Length: 1048577\r\n\r\n",
        "Content-Length: 18446744073709551616\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: +2\r\n\r\n{}",
        "Content-Length: 0x2\r\n\r\n{}",
        "Content-Length: 2, 2\r\n\r\n{}",
        "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        "Content-Length:\r\n\r\n",
        "Content-Type: application/json\r\n\r\n{}",
        "\r\n\r\n",
        "Content-Length 2\r\n\r\n{}",
        ": 2\r\n\r\n{}",
        "Content-Length: 2\nX: y\r\n\r\n{}",
        "Content-Length: 2\r\nContent-Type: a; charset=utf-16\r\n\r\n{}",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &flood,
        &floods,
    ] {
        let mut host = Bridge::attach(&kernel, "host", json!({})).await;
        // It may be closed before all of it is written.
        host.try_write(bytes.as_bytes()).await;
        assert!(host.rest().await.is_empty(), "{bytes:?}");
        expect_serving(&kernel, &mut other).await;
    }
    kernel.wait_for_log("what the host sent cannot be read");
}

#[tokio::test]
async fn one_that_ends_in_the_middle_of_a_message_is_gone() {
    let kernel = slow().start().await;
    let mut other = Bridge::attach(&kernel, "other", json!({"events": true})).await;
    for bytes in ["Content-", "Content-Length: 9\r\n\r\n{\"json"] {
        let mut host = Bridge::attach(&kernel, "host", json!({})).await;
        host.write(bytes.as_bytes()).await;
        host.close_writing().await;
        assert!(host.rest().await.is_empty());
        let gone = |event: &Value| event["type"] == "host.gone" && event["host"] == host.label;
        other.notified("event", gone).await;
    }
    kernel.wait_for_log("in the middle of a message");
}
