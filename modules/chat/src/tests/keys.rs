//! Keys that are tried before a session is issued.

use super::provider::{FakeProvider, Reply};
use super::*;

async fn checked(
    replies: Vec<Reply>,
    session: SessionBuilder,
) -> (Result<(), String>, Vec<String>) {
    let provider = FakeProvider::start(replies).await;
    let config = json!({"base_url": provider.base_url(), "model": "tiny", "validate_key": true});
    let module = start(config).await;
    let outcome = tokio::time::timeout(DEADLINE, module.check(session)).await;
    let outcome = outcome.expect("the check ends");
    (
        outcome.map_err(|error| error.to_string()),
        provider.requests(),
    )
}

fn status(status: &str) -> Reply {
    Reply::status(status, "", r#"{"error":{"message":"sk-old"}}"#)
}

#[tokio::test]
async fn a_key_that_the_provider_refuses_gets_no_session() {
    let session = || ada().secret("sk-old").refreshed(Ok("sk-new".to_owned()));
    let refused = || status("401 Unauthorized");
    let (outcome, requests) = checked(vec![refused(), refused()], session()).await;
    let words = outcome.unwrap_err();
    assert!(
        words.contains("store a valid key") && !words.contains("sk-"),
        "{words}"
    );
    assert!(
        requests[0].starts_with("GET /v1/models HTTP/1.1\r\n"),
        "{}",
        requests[0]
    );
    assert!(
        requests[0].contains("authorization: Bearer sk-old\r\n"),
        "{}",
        requests[0]
    );
    let (outcome, requests) = checked(vec![refused(), status("200 OK")], session()).await;
    assert_eq!(
        (outcome, requests.len()),
        (Ok(()), 2),
        "the key had been rotated"
    );
}

#[tokio::test]
async fn what_says_nothing_about_the_key_refuses_nobody() {
    for reply in [
        "200 OK",
        "403 Forbidden",
        "404 Not Found",
        "500 Internal Server Error",
    ] {
        let (outcome, requests) = checked(vec![status(reply)], ada().secret("sk-old")).await;
        assert_eq!((outcome, requests.len()), (Ok(()), 1), "{reply}");
    }
    let (outcome, _) = checked(vec![Reply::raw("")], ada().secret("sk-old")).await;
    assert_eq!(outcome, Ok(()));
    let (outcome, requests) = checked(vec![status("200 OK")], ada()).await;
    assert_eq!(
        (outcome, requests.len()),
        (Ok(()), 0),
        "without a secret, the echo answers"
    );
}
