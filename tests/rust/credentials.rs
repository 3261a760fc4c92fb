//! Who may do what: credentials, hosts and origins.

use serde_json::json;

use crate::harness::{Answer, Kernel, Raw};

/// Every control route, by method.
const CONTROL: &[(&str, &str)] = &[
    ("GET", "/metrics"),
    ("GET", "/sessions"),
    ("POST", "/sessions"),
    ("DELETE", "/sessions?user=ada"),
    ("GET", "/sessions/{session}"),
    ("DELETE", "/sessions/{session}"),
    ("POST", "/sessions/{session}/renew"),
    ("GET", "/modules"),
    ("GET", "/modules/hello"),
    ("PUT", "/modules/hello"),
    ("DELETE", "/modules/hello"),
    ("POST", "/modules/hello/reload"),
    ("GET", "/modules/hello/openapi.json"),
    ("POST", "/keys/rotate"),
    ("GET", "/log-level"),
    ("PUT", "/log-level"),
    ("GET", "/events"),
];

/// Every route that is a session's.
const SESSIONS_OWN: &[(&str, &str)] = &[
    ("GET", "/sessions/current"),
    ("DELETE", "/sessions/current"),
    ("GET", "/api/hello/hello"),
    ("POST", "/api/hello/hello"),
    ("GET", "/api/nothing/at/all"),
];

const REQUIRED: &str = r#"Bearer realm="midplane""#;
const INVALID: &str = r#"Bearer realm="midplane", error="invalid_token""#;
const INSUFFICIENT: &str = r#"Bearer realm="midplane", error="insufficient_scope""#;

#[track_caller]
fn expect_refused(answer: &Answer, status: u16, code: &str, challenge: &str) {
    answer.expect_problem(status, code);
    assert_eq!(answer.header("www-authenticate"), challenge, "{answer}");
    assert_eq!(answer.header("cache-control"), "no-store", "{answer}");
}

#[tokio::test]
async fn control_routes_are_the_hosts_alone() {
    let kernel = Kernel::start(&["hello"]).await;
    let other = Kernel::start(&["hello"]).await;
    let issued = kernel.issue(json!({"user": "ada"})).await;
    let token = issued["client_secret"].as_str().unwrap();
    let id = issued["id"].as_str().unwrap();
    let foreign = other.session(json!({"user": "ada"})).await;
    let forged_key = format!("mph_{}", "A".repeat(43));
    let short_key = &kernel.host_key[..kernel.host_key.len() - 1];
    let long_key = format!("{}A", kernel.host_key);
    let invalid = [
        "nonsense",
        "mph_",
        &forged_key,
        short_key,
        &long_key,
        &other.host_key,
        &foreign,
        &token[..token.len() - 1],
    ];
    let paths = CONTROL.iter().map(|(_, path)| *path);
    let with_other_methods = CONTROL
        .iter()
        .copied()
        .chain(paths.flat_map(|path| [("PATCH", path), ("HEAD", path), ("OPTIONS", path)]));
    for (method, path) in with_other_methods {
        let path = path.replace("{session}", id);
        let request = || kernel.request(method, &path).json(&json!({}));
        if method == "HEAD" {
            // No body to look at.
            request().send().await.expect_status(401);
            request().bearer(token).send().await.expect_status(403);
            continue;
        }
        expect_refused(
            &request().send().await,
            401,
            "credential_required",
            REQUIRED,
        );
        for credential in invalid {
            expect_refused(
                &request().bearer(credential).send().await,
                401,
                "invalid_token",
                INVALID,
            );
        }
        expect_refused(
            &request().bearer(token).send().await,
            403,
            "insufficient_scope",
            INSUFFICIENT,
        );
    }
    // Nothing of all that did anything.
    let session = kernel.host("GET", &format!("/sessions/{id}")).send().await;
    assert_eq!(session.json()["status"], "active");
    let hello = kernel.get("/api/hello/hello").bearer(token).send().await;
    assert_eq!(hello.header("x-midplane-module"), "hello#1");
}

#[tokio::test]
async fn session_routes_are_for_client_secrets_alone() {
    let kernel = Kernel::start(&["hello"]).await;
    let other = Kernel::start(&["hello"]).await;
    let foreign = other.session(json!({})).await;
    for (method, path) in SESSIONS_OWN {
        let request = || kernel.request(method, path);
        expect_refused(
            &request().send().await,
            401,
            "credential_required",
            REQUIRED,
        );
        for credential in ["nonsense", &foreign, &other.host_key] {
            expect_refused(
                &request().bearer(credential).send().await,
                401,
                "invalid_token",
                INVALID,
            );
        }
        expect_refused(
            &request().bearer(&kernel.host_key).send().await,
            403,
            "insufficient_scope",
            INSUFFICIENT,
        );
    }
}

#[tokio::test]
async fn a_session_reaches_its_modules_only() {
    let kernel = Kernel::start(&["hello", "slow"]).await;
    let token = kernel.session(json!({"modules": ["slow"]})).await;
    kernel
        .get("/api/slow/whoami")
        .bearer(&token)
        .send()
        .await
        .expect_status(200);
    for path in [
        "/api/hello/hello",
        "/api/none/hello",
        "/api/slo/whoami",
        "/api/slow2",
    ] {
        expect_refused(
            &kernel.get(path).bearer(&token).send().await,
            403,
            "insufficient_scope",
            INSUFFICIENT,
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_credential_is_not_told() {
    let kernel = Kernel::start(&["hello"]).await;
    let revoked = kernel.issue(json!({"user": "gone"})).await;
    kernel
        .host("DELETE", "/sessions?user=gone")
        .send()
        .await
        .expect_status(200);
    let forged_key = format!("mph_{}", "A".repeat(43));
    let mut bodies = Vec::new();
    for credential in [
        "x",
        "a.b.c",
        revoked["client_secret"].as_str().unwrap(),
        &forged_key,
    ] {
        let answer = kernel
            .get("/api/hello/hello")
            .bearer(credential)
            .header("x-request-id", "same")
            .send()
            .await;
        answer.expect_problem(401, "invalid_token");
        bodies.push(answer.text().to_owned());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test]
async fn a_credential_stands_in_one_bearer_header() {
    let kernel = Kernel::start(&["hello"]).await;
    let token = kernel.session(json!({})).await;
    let bearer = |token: &str| format!("Bearer {token}");
    for (headers, status, code) in [
        (vec![format!("bearer {token}")], 200, ""),
        (vec![format!("BEARER {token}")], 200, ""),
        (vec![token.clone()], 401, "invalid_token"),
        (vec![format!("Basic {token}")], 401, "invalid_token"),
        (vec![format!("Bearer  {token}")], 401, "invalid_token"),
        (vec![format!("Bearer {token},")], 401, "invalid_token"),
        (
            vec![format!("Bearer {token} {token}")],
            401,
            "invalid_token",
        ),
        (vec!["Bearer".to_owned()], 401, "invalid_token"),
        (vec![String::new()], 401, "invalid_token"),
        (
            vec![bearer(&token), bearer(&token)],
            400,
            "several_credentials",
        ),
        (
            vec![bearer(&token), bearer(&kernel.host_key)],
            400,
            "several_credentials",
        ),
    ] {
        let request = headers
            .iter()
            .fold(kernel.get("/api/hello/hello"), |request, value| {
                request.header("authorization", value)
            });
        let answer = request.send().await;
        match code {
            "" => answer.expect_status(status),
            code => answer.expect_problem(status, code),
        };
    }
    // Nowhere else is it looked for.
    for (path, name, value) in [
        (format!("/api/hello/hello?access_token={token}"), "x-a", "b"),
        (
            "/api/hello/hello".to_owned(),
            "cookie",
            &*format!("token={token}"),
        ),
        ("/api/hello/hello".to_owned(), "x-api-key", &*token),
        (
            "/api/hello/hello".to_owned(),
            "proxy-authorization",
            &*bearer(&token),
        ),
    ] {
        kernel
            .get(&path)
            .header(name, value)
            .send()
            .await
            .expect_problem(401, "credential_required");
    }
}

#[tokio::test]
async fn a_bad_credential_is_refused_even_where_none_is_needed() {
    let kernel = Kernel::start(&[]).await;
    for path in ["/health", "/openapi.json"] {
        kernel.get(path).send().await.expect_status(200);
        kernel
            .get(path)
            .bearer("nonsense")
            .send()
            .await
            .expect_problem(401, "invalid_token");
    }
}

#[tokio::test]
async fn public_routes_are_public_only_where_the_operator_says_so() {
    let closed = Kernel::start(&["slow"]).await;
    closed
        .get("/api/slow/public/hello")
        .send()
        .await
        .expect_problem(401, "credential_required");
    let open = Kernel::builder()
        .module("slow", "public = true")
        .start()
        .await;
    let answer = open.get("/api/slow/public/hello").send().await;
    assert_eq!(answer.expect_status(200).text(), "hello");
    // The host's own calls of them need no session either.
    open.host("GET", "/api/slow/public/hello")
        .send()
        .await
        .expect_status(200);
    for (path, status, code) in [
        ("/api/slow/whoami", 401, "credential_required"),
        ("/api/slow/publi", 401, "credential_required"),
        ("/api/slow/public", 401, "credential_required"),
        ("/api/slow//public/hello", 401, "credential_required"),
        ("/api/slow/PUBLIC/hello", 401, "credential_required"),
        ("/api/slow/public/../whoami", 400, "invalid_path"),
        ("/api/slow/public/%2e%2e/whoami", 400, "invalid_path"),
        ("/api/slow/public/.%2E/whoami", 400, "invalid_path"),
    ] {
        open.get(path).send().await.expect_problem(status, code);
    }
}

#[tokio::test]
async fn hosts_and_origins_of_web_pages_are_refused() {
    let kernel = Kernel::start(&[]).await;
    for (headers, status, code) in [
        ("", 200, ""),
        ("host: \r\n", 200, ""),
        ("host: localhost\r\n", 200, ""),
        ("host: localhost:3000\r\n", 200, ""),
        ("host: 127.0.0.1\r\n", 200, ""),
        ("host: [::1]:80\r\n", 200, ""),
        ("host: 2f746d702f6b\r\n", 200, ""),
        ("host: example.com\r\n", 421, "host_not_allowed"),
        ("host: evil.localhost\r\n", 421, "host_not_allowed"),
        ("host: localhost.\r\n", 421, "host_not_allowed"),
        ("host: localhost, example.com\r\n", 421, "host_not_allowed"),
        (
            "host: localhost\r\nhost: example.com\r\n",
            421,
            "host_not_allowed",
        ),
        ("host: loc\u{f6}l\r\n", 421, "host_not_allowed"),
        ("origin: https://example.com\r\n", 403, "origin_not_allowed"),
        ("origin: null\r\n", 403, "origin_not_allowed"),
        ("origin: \r\n", 403, "origin_not_allowed"),
        ("origin: vscode-webview://x\r\n", 403, "origin_not_allowed"),
        (
            "host: localhost\r\norigin: http://localhost\r\n",
            403,
            "origin_not_allowed",
        ),
    ] {
        let request = format!("GET /health HTTP/1.1\r\n{headers}\r\n");
        let answer = Raw::send(&kernel.socket, request).await.answer().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), status, "{headers:?} {answer:?}");
        assert!(answer.body.contains(code), "{headers:?} {answer:?}");
        assert_eq!(
            answer.header("cache-control"),
            (status == 403).then_some("no-store"),
            "{headers:?}"
        );
    }
    // An absolute target names a host, too.
    let absolute = "GET http://example.com/health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answer = Raw::send(&kernel.socket, absolute).await.answer().await;
    assert_eq!(answer.unwrap().status(), 421);
}

#[tokio::test]
async fn hosts_and_origins_can_be_opened() {
    let kernel = Kernel::builder()
        .config(
            "[kernel]\nallowed_hosts = [\"app.example.com\"]\nallowed_origins = [\"https://app.example.com\"]",
        )
        .start()
        .await;
    for (headers, status) in [
        ("host: app.example.com\r\n", 200),
        ("host: example.com\r\n", 421),
        ("host: app.example.com.evil.com\r\n", 421),
        ("origin: https://app.example.com\r\n", 200),
        ("origin: http://app.example.com\r\n", 403),
        ("origin: https://app.example.com.evil.com\r\n", 403),
    ] {
        let request = format!("GET /health HTTP/1.1\r\n{headers}\r\n");
        let answer = Raw::send(&kernel.socket, request).await.answer().await;
        assert_eq!(answer.unwrap().status(), status, "{headers:?}");
    }
}
