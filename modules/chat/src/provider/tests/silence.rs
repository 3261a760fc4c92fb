//! A provider that says nothing, at each place where it may: the wait ends, the connection with it, and nothing is asked again.

use tokio::net::TcpListener;

use super::*;
use crate::tests::provider::event;

const LIMIT: Duration = Duration::from_millis(100);

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

async fn check(name: &str, reply: impl Fn(&str) -> Reply, limits: Value, expect_said: &str) {
    for api in APIS {
        let mut provider = FakeProvider::start(vec![reply(api)]).await;
        let mut members = config(&provider, api, limits.clone());
        members["retries"] = json!(2);
        let (said, end) = read(ask(members)).await;
        let silent = Err(ProviderError::Silent(LIMIT));
        assert_eq!((said.as_str(), end), (expect_said, silent), "{name}, {api}");
        tokio::time::timeout(DEADLINE, provider.closed())
            .await
            .expect("the connection is closed");
        assert_eq!(provider.requests().len(), 1, "{name}, {api}");
    }
}

#[tokio::test]
async fn silence_is_ended_wherever_it_falls() {
    let first = || json!({"first_byte_timeout": "100ms"});
    let stall = || json!({"stall_timeout": "100ms"});
    let both = || json!({"timeout": "100ms"});
    let nothing = |_: &str| Reply::silent_behind("");
    check("before the head", nothing, first(), "").await;
    check("before the head", nothing, both(), "").await;
    let half = |_: &str| Reply::silent_behind("HTTP/1.1 200 OK\r\ncontent-");
    check("in the head", half, first(), "").await;
    let head = |_: &str| Reply::silent_behind(HEAD);
    check("behind the head", head, stall(), "").await;
    check("behind the head", head, both(), "").await;
    let word = |api: &str| Reply::open(api, "Hel");
    check("between events", word, stall(), "Hel").await;
    let half = |api: &str| {
        let event = event(api, "Hel");
        let whole = format!("{HEAD}{:x}\r\n{event}data: {{\r\n", event.len() + 7);
        Reply::silent_behind(whole)
    };
    check("in an event", half, both(), "Hel").await;
}

/// The three limits are told apart: what is long in one place is not too long in another.
#[tokio::test]
async fn a_limit_of_one_place_is_none_of_another() {
    let limits = json!({"first_byte_timeout": "100ms", "stall_timeout": "1h"});
    let provider = FakeProvider::start(vec![Reply::open("responses", "Hel")]).await;
    let mut deltas = ask(config(&provider, "responses", limits));
    assert_eq!(deltas.next().await, Some(Ok(Delta::Text("Hel".to_owned()))));
    let more = tokio::time::timeout(LIMIT * 3, deltas.next()).await;
    assert!(more.is_err(), "{more:?}");
}

/// A listener that nobody accepts from answers TCP, and then nothing; TLS waits for it.
#[tokio::test]
async fn a_connection_has_a_limit_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let members = json!({"base_url": format!("https://{address}/v1"), "model": "tiny", "retries": 1,
                         "connect_timeout": "100ms"});
    let (said, end) = read(ask(members)).await;
    let expect = Err(ProviderError::Unreachable(address.to_string()));
    assert_eq!((said.as_str(), end), ("", expect));
}
