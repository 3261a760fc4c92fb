//! A provider that misbehaves: each fault on both APIs, and exactly what comes of it.

use super::*;
use crate::tests::provider::{answer, event};

/// Of one fault: what was said before it, the failure, and the requests that were sent.
type Expect = (&'static str, ProviderError, usize);

fn status(status: &str) -> Reply {
    Reply::status(status, "", r#"{"error":{"message":"no"}}"#)
}

async fn check(name: &str, replies: impl Fn(&str) -> Vec<Reply>, more: Value, expect: Expect) {
    for api in APIS {
        let (said, end, requests) = outcome(replies(api), api, more.clone()).await;
        let (expect_said, expect_error, expect_requests) = &expect;
        assert_eq!(
            (said.as_str(), &end, requests),
            (*expect_said, &Err(expect_error.clone()), *expect_requests),
            "{name}, {api}"
        );
    }
}

#[tokio::test]
async fn refusals() {
    let retry = || json!({"retries": 1});
    let two = |reply: Reply| move |_: &str| vec![reply.clone(), reply.clone()];
    for (line, expect) in [
        // asked for again, with another key
        ("401 Unauthorized", ("", ProviderError::KeyRefused, 2)),
        ("403 Forbidden", ("", ProviderError::Forbidden, 1)),
        ("404 Not Found", ("", ProviderError::NotFound, 1)),
        ("400 Bad Request", ("", ProviderError::Rejected(400), 1)),
        (
            "422 Unprocessable Content",
            ("", ProviderError::Rejected(422), 1),
        ),
        ("302 Found", ("", ProviderError::NotAStream, 1)),
        ("204 No Content", ("", ProviderError::NotAStream, 1)),
    ] {
        check(line, two(status(line)), retry(), expect).await;
    }
    let keyless = json!({"provider": "openai", "requires_key": false, "retries": 1});
    let expect = ("", ProviderError::KeyWanted, 1);
    check(
        "401 without a key",
        two(status("401 Unauthorized")),
        keyless,
        expect,
    )
    .await;
    let used_up = r#"{"error":{"code":"insufficient_quota"}}"#;
    let used_up = Reply::status("429 Too Many Requests", "retry-after: 0\r\n", used_up);
    let expect = ("", ProviderError::QuotaExhausted, 1);
    check("no quota", two(used_up), retry(), expect).await;
}

#[tokio::test]
async fn not_now_is_asked_again_as_the_provider_says() {
    let busy = |headers: &'static str| {
        move |_: &str| vec![Reply::status("429 Too Many Requests", headers, "{}"); 3]
    };
    let limited = |wait: Option<u64>| ProviderError::RateLimited(wait.map(Duration::from_secs));
    let twice = json!({"retries": 1});
    for (headers, expect) in [
        ("retry-after: 0\r\n", ("", limited(Some(0)), 2)),
        (
            "retry-after-ms: 1\r\n",
            (
                "",
                ProviderError::RateLimited(Some(Duration::from_millis(1))),
                2,
            ),
        ),
        (
            "retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            ("", limited(Some(0)), 2),
        ),
        // longer than is waited for: the user is told
        ("retry-after: 31\r\n", ("", limited(Some(31)), 1)),
        (
            "x-should-retry: false\r\nretry-after: 0\r\n",
            ("", limited(Some(0)), 1),
        ),
        (
            "x-should-retry: true\r\nretry-after: 0\r\n",
            ("", limited(Some(0)), 2),
        ),
    ] {
        check(headers, busy(headers), twice.clone(), expect).await;
    }
    // without a word, after a pause: once, since it takes half a second
    let (_, end, requests) = outcome(busy("")(""), "responses", twice).await;
    assert_eq!((end, requests), (Err(limited(None)), 2));
}

#[tokio::test]
async fn what_may_pass_is_asked_again_before_the_first_byte() {
    let now = "retry-after: 0\r\n";
    for line in [
        "408 Request Timeout",
        "409 Conflict",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "503 Service Unavailable",
        "529 Overloaded",
    ] {
        for api in APIS {
            let replies = vec![
                Reply::status(line, now, "<html>"),
                Reply::status(line, now, "{}"),
                Reply::says(api, &["ok"]),
            ];
            let (said, end, requests) = outcome(replies, api, json!({"retries": 2})).await;
            assert_eq!(
                (said.as_str(), end, requests),
                ("ok", Ok(Ending::Complete), 3),
                "{line}, {api}"
            );
        }
    }
    let five_hundred = |_: &str| vec![Reply::status("500 Internal Server Error", "", "{}")];
    let expect = ("", ProviderError::Unavailable(500), 1);
    check("500", five_hundred, json!({}), expect).await;
}

#[tokio::test]
async fn a_connection_that_dies_is_made_again_before_the_first_byte() {
    let dies = |_: &str| vec![Reply::raw("")];
    check(
        "at once",
        dies,
        json!({}),
        ("", ProviderError::BrokenOff, 1),
    )
    .await;
    let garbage = |_: &str| vec![Reply::raw("NONSENSE\r\n\r\n")];
    check(
        "no HTTP",
        garbage,
        json!({}),
        ("", ProviderError::BrokenOff, 1),
    )
    .await;
    for api in APIS {
        let replies = vec![Reply::raw("HTTP/1.1 200"), Reply::says(api, &["ok"])];
        let (said, end, requests) = outcome(replies, api, json!({"retries": 1})).await;
        assert_eq!(
            (said.as_str(), end, requests),
            ("ok", Ok(Ending::Complete), 2)
        );
    }
}

/// A stream that began is never asked for again: its words would be said twice.
#[tokio::test]
async fn what_breaks_in_the_middle_ends_the_answer_behind_what_was_said() {
    let more = || json!({"retries": 2});
    let broken = || ("Hel", ProviderError::BrokenOff, 1);
    let two = |api: &str| (event(api, "Hel"), event(api, "lo"));
    let cut = |api: &str| {
        let (first, second) = two(api);
        vec![Reply::cut_chunks([
            first.as_bytes(),
            &second.as_bytes()[..20],
        ])]
    };
    check("cut in mid-event", cut, more(), broken()).await;
    let short = |api: &str| {
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n";
        vec![Reply::raw(format!("{head}{}data: ", event(api, "Hel")))]
    };
    check("shorter than it said", short, more(), broken()).await;
    let ended = |api: &str| {
        let (first, second) = two(api);
        vec![Reply::chunks([first.as_bytes(), &second.as_bytes()[..20]])]
    };
    check("ended in mid-event", ended, more(), broken()).await;
    let stopped = |api: &str| vec![Reply::events(&event(api, "Hel"))];
    check("ended without an end", stopped, more(), broken()).await;
    let garbage = |garbage: &'static [u8]| {
        move |api: &str| vec![Reply::chunks([event(api, "Hel").as_bytes(), garbage])]
    };
    for bytes in [
        &b"data: nonsense\n\n"[..],
        b"data: \xff\xfe\n\n",
        b"data: [1\n\n",
        b"data: 7\n\n",
    ] {
        let expect = ("Hel", ProviderError::Malformed, 1);
        check("a garbage event", garbage(bytes), more(), expect).await;
    }
    let told = |api: &str| {
        let error = match api {
            "responses" => {
                json!({"type": "error", "code": "rate_limit_exceeded", "message": "slow"})
            }
            _ => json!({"error": {"code": "rate_limit_exceeded", "message": "slow"}}),
        };
        vec![Reply::events(&format!(
            "{}data: {error}\n\n",
            event(api, "Hel")
        ))]
    };
    let expect = ("Hel", ProviderError::RateLimited(None), 1);
    check("an error event", told, more(), expect).await;
}

#[tokio::test]
async fn a_body_that_is_no_event_stream_is_told_as_such() {
    let json = |_: &str| {
        vec![Reply::status(
            "200 OK",
            "content-type: application/json\r\n",
            "{}",
        )]
    };
    check("JSON", json, json!({}), ("", ProviderError::NotAStream, 1)).await;
    let nothing = |_: &str| vec![Reply::status("200 OK", "", "data: x\n\n")];
    check(
        "no type",
        nothing,
        json!({}),
        ("", ProviderError::NotAStream, 1),
    )
    .await;
    let empty = |_: &str| vec![Reply::events("")];
    check(
        "nothing",
        empty,
        json!({}),
        ("", ProviderError::BrokenOff, 1),
    )
    .await;
}

#[tokio::test]
async fn an_answer_may_be_split_at_every_byte() {
    for api in APIS {
        let whole = answer(api, &["Hé", "llo"]);
        let bytes = whole.as_bytes();
        let complete = ("Héllo".to_owned(), Ok(Ending::Complete), 1);
        for at in 0..=bytes.len() {
            let split = Reply::chunks([&bytes[..at], &bytes[at..]]);
            let outcome = outcome(vec![split], api, json!({})).await;
            assert_eq!(outcome, complete, "{api}, split at {at} of {whole:?}");
        }
        let each = Reply::chunks(bytes.chunks(1));
        assert_eq!(outcome(vec![each], api, json!({})).await, complete, "{api}");
        let crlf = whole.replace('\n', "\r\n");
        let each = Reply::chunks(crlf.as_bytes().chunks(1));
        assert_eq!(outcome(vec![each], api, json!({})).await, complete, "{api}");
    }
}

#[tokio::test]
async fn an_event_may_have_a_megabyte_and_not_any_size() {
    let megabyte = "x".repeat(1024 * 1024);
    let too_much = "x".repeat(5 * 1024 * 1024);
    for api in APIS {
        let (said, end, _) = outcome(vec![Reply::says(api, &[&megabyte])], api, json!({})).await;
        assert_eq!(end, Ok(Ending::Complete), "{api}");
        assert!(said == megabyte, "{api}: {} bytes", said.len());
        let (said, end, _) = outcome(vec![Reply::says(api, &[&too_much])], api, json!({})).await;
        assert_eq!(
            (said.as_str(), end),
            ("", Err(ProviderError::Malformed)),
            "{api}"
        );
    }
}
