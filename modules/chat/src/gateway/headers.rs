//! Which header fields pass the gateway: pure tables, one for each way.
//!
//! Everything passes but what belongs to a connection (RFC 9110 section 7.6.1), to the kernel, or to whoever holds a
//! credential. Neither way is a field passed on that was not looked at here.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue,
};

/// What a client calls its request, if it says so; OpenAI writes it beside its own id.
const X_CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The provider's id of a request: `x-request-id` of an answer is the kernel's.
pub(crate) const X_UPSTREAM_REQUEST_ID: HeaderName =
    HeaderName::from_static("x-upstream-request-id");

const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Credentials of the client's, what only a browser or a proxy in front of a server would send, and what is said anew here.
const NOT_TO_PROVIDER: &[&str] = &[
    "authorization",
    "cookie",
    "cookie2",
    // Azure's, Anthropic's and Google's ways of sending a key
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "host",
    "expect",
    "origin",
    "referer",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "accept-encoding",
];

/// What is between this process and the provider, or would bind the client to the provider's address.
const NOT_TO_CLIENT: &[&str] = &[
    "set-cookie",
    "set-cookie2",
    "www-authenticate",
    "alt-svc",
    "strict-transport-security",
    "x-midplane-module",
];

/// What of a client's header fields the provider gets. The body's length goes along: whoever changes the body changes it.
///
/// The answer is asked for as it is, not compressed: nothing could be looked for in it, and a compressor would hold events
/// back.
pub(crate) fn to_provider(client: &HeaderMap) -> HeaderMap {
    let mut headers = passed(client, NOT_TO_PROVIDER);
    if let Some(id) = headers.remove(X_REQUEST_ID) {
        headers.entry(X_CLIENT_REQUEST_ID).or_insert(id);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

/// What of a provider's header fields the client gets, but for those whose value `is_secret`.
pub(crate) fn to_client(provider: &HeaderMap, is_secret: impl Fn(&[u8]) -> bool) -> HeaderMap {
    let mut headers = passed(provider, NOT_TO_CLIENT);
    let secret: Vec<HeaderName> = headers
        .iter()
        .filter(|(name, value)| is_secret(value.as_bytes()) || is_secret(name.as_ref()))
        .map(|(name, _)| name.clone())
        .collect();
    for name in secret {
        headers.remove(name);
    }
    if let Some(id) = headers.remove(X_REQUEST_ID) {
        headers.insert(X_UPSTREAM_REQUEST_ID, id);
    }
    headers
}

/// The field that says how long the body is, for whoever puts another body in its place.
pub(crate) fn without_length(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(CONTENT_LENGTH);
    headers
}

fn passed(from: &HeaderMap, dropped: &[&str]) -> HeaderMap {
    let nominated = nominated(from);
    let mut headers = HeaderMap::with_capacity(from.len());
    for (name, value) in from {
        let stays = HOP_BY_HOP.contains(&name.as_str())
            || dropped.contains(&name.as_str())
            || nominated.contains(name);
        if !stays {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// The fields that `Connection` names.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<String> {
        let mut names: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_client_s_words_to_the_provider_pass_and_its_credentials_do_not() {
        let client = headers(&[
            ("accept", "application/json"),
            ("accept-encoding", "gzip, br"),
            ("api-key", "mine"),
            ("authorization", "Bearer eyJ"),
            ("connection", "keep-alive, X-Hop"),
            ("content-length", "17"),
            ("content-type", "application/json"),
            ("cookie", "a=b"),
            ("expect", "100-continue"),
            ("host", "localhost"),
            ("idempotency-key", "stainless-1"),
            ("keep-alive", "timeout=5"),
            ("openai-beta", "assistants=v2"),
            ("openai-organization", "org-1"),
            ("origin", "null"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers"),
            ("trailer", "x-end"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-api-key", "mine"),
            ("x-hop", "1"),
            ("x-request-id", "turn-7"),
            ("x-stainless-lang", "python"),
        ]);
        assert_eq!(
            names(&to_provider(&client)),
            [
                "accept-encoding: identity",
                "accept: application/json",
                "content-length: 17",
                "content-type: application/json",
                "idempotency-key: stainless-1",
                "openai-beta: assistants=v2",
                "openai-organization: org-1",
                "x-client-request-id: turn-7",
                "x-stainless-lang: python",
            ]
        );
    }

    #[test]
    fn a_client_s_own_name_of_its_request_stays() {
        let client = headers(&[("x-client-request-id", "mine"), ("x-request-id", "other")]);
        assert_eq!(
            names(&to_provider(&client)),
            ["accept-encoding: identity", "x-client-request-id: mine"]
        );
    }

    #[test]
    fn a_provider_s_words_to_the_client_pass_and_its_connection_s_do_not() {
        let provider = headers(&[
            ("alt-svc", "h3=\":443\""),
            ("connection", "close, x-hop"),
            ("content-length", "17"),
            ("content-type", "text/event-stream; charset=utf-8"),
            ("openai-organization", "org-1"),
            ("openai-processing-ms", "42"),
            ("openai-version", "2020-10-01"),
            ("proxy-authenticate", "Basic"),
            ("retry-after", "3"),
            ("retry-after-ms", "3000"),
            ("set-cookie", "__cf_bm=1"),
            ("set-cookie", "_cfuvid=2"),
            ("transfer-encoding", "chunked"),
            ("www-authenticate", "Bearer"),
            ("x-echo", "Bearer sk-secret"),
            ("x-hop", "1"),
            ("x-ratelimit-remaining-requests", "9"),
            ("x-request-id", "req_1"),
            ("x-should-retry", "false"),
        ]);
        let is_secret = |value: &[u8]| value.ends_with(b"sk-secret");
        assert_eq!(
            names(&to_client(&provider, is_secret)),
            [
                "content-length: 17",
                "content-type: text/event-stream; charset=utf-8",
                "openai-organization: org-1",
                "openai-processing-ms: 42",
                "openai-version: 2020-10-01",
                "retry-after-ms: 3000",
                "retry-after: 3",
                "x-ratelimit-remaining-requests: 9",
                "x-should-retry: false",
                "x-upstream-request-id: req_1",
            ]
        );
    }
}
