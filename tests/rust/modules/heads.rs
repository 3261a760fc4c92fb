//! Heads: what a module sees of the request's, and what of its answer's reaches the client.

use serde_json::{Value, json};

use super::wire::raw;
use super::{expect_well, faults, logged};
use crate::harness::{Answer, Kernel};

async fn answer(kernel: &Kernel, token: &str, wanted: &Value) -> Answer {
    let request = kernel.get("/api/faults/answer").bearer(token);
    request.header("x-answer", &wanted.to_string()).send().await
}

#[tokio::test]
async fn the_credential_never_reaches_the_module() {
    let (kernel, token) = faults("public = true").await;
    let answer = kernel
        .get("/api/faults/headers")
        .header("Authorization", &format!("bearer {token}"))
        .header("x-custom", "kept")
        .header("cookie", "kept=too")
        .send()
        .await;
    let seen = answer.expect_status(200).json();
    assert_eq!(
        (&seen["x-custom"], &seen["cookie"]),
        (&json!("kept"), &json!("kept=too"))
    );
    assert!(
        seen.get("authorization").is_none() && !answer.text().contains(&token),
        "{answer}"
    );
}

#[tokio::test]
async fn fields_of_the_connection_and_of_the_kernel_are_left_out() {
    let (kernel, token) = faults("").await;
    let wanted = json!({"body": "hello", "headers": [
        ["connection", "close"], ["keep-alive", "timeout=1"], ["transfer-encoding", "gzip"], ["te", "trailers"],
        ["trailer", "x"], ["upgrade", "h2c"], ["proxy-authenticate", "Basic"], ["proxy-connection", "close"],
        ["x-request-id", "forged"], ["x-midplane-module", "other#9"],
        ["x-own", "one"], ["x-own", "two"], ["set-cookie", "a=b"]
    ]});
    let request = kernel
        .get("/api/faults/answer")
        .bearer(&token)
        .header("x-request-id", "mine");
    let answer = request.header("x-answer", &wanted.to_string()).send().await;
    assert_eq!(answer.expect_status(200).text(), "hello");
    for absent in [
        "connection",
        "keep-alive",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "proxy-authenticate",
        "proxy-connection",
    ] {
        assert!(
            answer.parts.headers.get(absent).is_none(),
            "{absent}: {answer}"
        );
    }
    for (name, values) in [
        ("x-request-id", &["mine"][..]),
        ("x-midplane-module", &["faults#1"]),
        ("x-own", &["one", "two"]),
        ("set-cookie", &["a=b"]),
    ] {
        let found: Vec<_> = answer.parts.headers.get_all(name).iter().collect();
        assert_eq!(found, values, "{answer}");
    }
}

#[tokio::test]
async fn a_head_that_is_none_is_a_failure_of_the_module() {
    let (kernel, token) = faults("").await;
    for wanted in [
        json!({"status": 100}),
        json!({"status": 101, "headers": [["upgrade", "x"]]}),
        json!({"status": 103, "streamed": true, "body": "some more"}),
        json!({"many": 101}),
        json!({"many": 101, "streamed": true, "body": "some more"}),
    ] {
        answer(&kernel, &token, &wanted)
            .await
            .expect_problem(500, "module_failed");
        logged(&kernel, &["a module failed", "faults#1", "head"]).await;
        expect_well(&kernel, &token).await;
    }
    for status in [200, 299, 404, 418, 500, 599, 999] {
        let answer = answer(&kernel, &token, &json!({"status": status, "body": "x"})).await;
        assert_eq!(answer.expect_status(status).text(), "x");
    }
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_keep_the_connection() {
    let (kernel, token) = faults("").await;
    let request = |method: &str, wanted: Value| {
        format!(
            "{method} /api/faults/answer HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             x-answer: {wanted}\r\n\r\n"
        )
    };
    // The second answer would be misread if the first had left bytes behind.
    for (method, wanted) in [
        ("HEAD", json!({"body": "hello"})),
        ("HEAD", json!({"body": "hello there", "streamed": true})),
        ("GET", json!({"status": 204, "body": "hello"})),
        (
            "GET",
            json!({"status": 204, "body": "hello there", "streamed": true}),
        ),
        ("GET", json!({"status": 304, "body": "hello"})),
        (
            "GET",
            json!({"status": 304, "body": "hello there", "streamed": true}),
        ),
    ] {
        let told = format!("{method} {wanted}");
        let mut bytes = request(method, wanted);
        bytes.push_str(&request("GET", json!({"status": 203, "body": "second"})));
        let heard = raw(&kernel, bytes.as_bytes(), "second").await;
        let (first, second) = heard
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{told}: {heard}"));
        assert!(
            second.starts_with("HTTP/1.1 203 ") && second.ends_with("second"),
            "{told}: {heard}"
        );
        if method == "HEAD" {
            // What GET would say, or nothing (RFC 9110 section 8.6).
            assert!(!first.contains("content-length: 0"), "{told}: {first}");
        }
        if first.starts_with("HTTP/1.1 204") {
            assert!(
                !first.contains("content-length") && !first.contains("transfer-encoding"),
                "{told}: {first}"
            );
        }
    }
}

#[tokio::test]
async fn a_length_that_the_module_claims_is_true_or_the_answer_is_cut() {
    let (kernel, token) = faults("").await;
    let with = |length: &str, streamed: bool| json!({"body": "twelve bytes", "streamed": streamed, "headers": [["content-length", length]]});
    for wanted in [
        with("12", false),
        with("12", true),
        with("3", false),
        with("30", false),
    ] {
        let answer = answer(&kernel, &token, &wanted).await;
        assert_eq!(answer.expect_status(200).text(), "twelve bytes");
        assert_eq!(answer.header("content-length"), "12");
    }
    let request = kernel.get("/api/faults/answer").bearer(&token);
    let stream = request
        .header("x-answer", &with("30", true).to_string())
        .stream()
        .await;
    let (text, whole) = stream.rest().await;
    assert!(
        !whole && "twelve bytes".starts_with(&text),
        "{text:?}, whole: {whole}"
    );
    // More than was promised never reaches the next answer's place.
    let bytes = format!(
        "GET /api/faults/answer HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nx-answer: {}\r\n\r\n\
         GET /api/faults/answer HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         x-answer: {{\"body\":\"second\"}}\r\n\r\n",
        with("3", true)
    );
    let heard = raw(&kernel, bytes.as_bytes(), "second").await;
    let (_, after) = heard.split_once("\r\n\r\n").unwrap();
    assert!(
        after == "twe" || after.starts_with("tweHTTP/1.1 200 "),
        "{heard}"
    );
    expect_well(&kernel, &token).await;
}
