//! What is refused before a route does anything: bodies, paths, methods, heads; and the request ids of all answers.

use serde_json::json;

use crate::harness::{Kernel, Raw, hellos};

/// The body, and a word that the detail owes.
const WRONG_BODIES: &[(&str, &str, &str, &str)] = &[
    ("POST", "/sessions", r#"{"userr":"ada"}"#, "`userr`"),
    (
        "POST",
        "/sessions",
        r#"{"user":"ada","user":"bob"}"#,
        "`user`",
    ),
    (
        "POST",
        "/sessions",
        r#"{"rate_limit":{"requests_per_hour":1}}"#,
        "`requests_per_hour`",
    ),
    ("POST", "/sessions", r#"{"user":7}"#, "string"),
    (
        "POST",
        "/sessions",
        r#"{"expires_in":"600"}"#,
        "expected u64",
    ),
    ("POST", "/sessions", r#"{"expires_in":-1}"#, "expected u64"),
    ("POST", "/sessions", r#"{"expires_in":1.5}"#, "expected u64"),
    ("POST", "/sessions", r#"{"metadata":[]}"#, "expected a map"),
    ("POST", "/sessions", r#"{"modules":"hello"}"#, "sequence"),
    ("POST", "/sessions", r#"{"modules":[7]}"#, "string"),
    ("POST", "/sessions", "{", "EOF"),
    ("POST", "/sessions", "{} {}", "trailing"),
    ("POST", "/sessions", "user=ada", "expected value"),
    ("POST", "/sessions", "\"ada\"", "expected struct"),
    ("POST", "/sessions", "null", "expected struct"),
    (
        "POST",
        "/sessions",
        "{'user':'ada'}",
        "key must be a string",
    ),
    (
        "POST",
        "/sessions",
        "{\"user\":\"\u{0}\"}",
        "control character",
    ),
    (
        "POST",
        "/sessions/{id}/renew",
        r#"{"expires":1}"#,
        "`expires`",
    ),
    ("PUT", "/modules/hello", "{}", "`path`"),
    (
        "PUT",
        "/modules/hello",
        r#"{"path":"/x","paths":1}"#,
        "`paths`",
    ),
    (
        "POST",
        "/modules/hello/reload",
        r#"{"path":"/x"}"#,
        "`path`",
    ),
    ("POST", "/keys/rotate", r#"{"revoke":true}"#, "`revoke`"),
    (
        "POST",
        "/keys/rotate",
        r#"{"revoke_previous":1}"#,
        "boolean",
    ),
    ("PUT", "/log-level", "{}", "`filter`"),
    (
        "PUT",
        "/log-level",
        r#"{"filter":"info","level":1}"#,
        "`level`",
    ),
];

#[tokio::test]
async fn bodies_that_a_route_does_not_take_are_refused_by_name() {
    let kernel = Kernel::start(&["hello"]).await;
    let issued = kernel.issue(json!({})).await;
    let id = issued["id"].as_str().unwrap();
    for (method, path, body, names) in WRONG_BODIES {
        let answer = kernel
            .host(method, &path.replace("{id}", id))
            .header("content-type", "application/json")
            .body(*body)
            .send()
            .await;
        answer.expect_problem(400, "invalid_request");
        let problem = answer.json();
        assert!(
            problem["detail"].as_str().unwrap().contains(names),
            "{body} {answer}"
        );
    }
    let not_utf8 = kernel
        .host("POST", "/sessions")
        .header("content-type", "application/json")
        .body(&b"{\"user\":\"\xff\"}"[..]);
    not_utf8.send().await.expect_problem(400, "invalid_request");
    let deep = format!("{{\"metadata\":{}{}}}", "{\"a\":".repeat(10_000), "1");
    let deep = kernel
        .host("POST", "/sessions")
        .header("content-type", "application/json")
        .body(deep);
    deep.send().await.expect_problem(400, "invalid_request");
}

#[tokio::test]
async fn a_body_is_json_and_says_so() {
    let kernel = Kernel::start(&["hello"]).await;
    for (content_type, status) in [
        (Some("application/json"), 201),
        (Some("Application/JSON"), 201),
        (Some("application/json; charset=utf-8"), 201),
        (Some("application/json ;charset=utf-8"), 201),
        (None, 415),
        (Some(""), 415),
        (Some("text/plain"), 415),
        (Some("text/json"), 415),
        (Some("application/jsonp"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("multipart/form-data; boundary=a"), 415),
    ] {
        let request = kernel.host("POST", "/sessions").body("{}");
        let request = match content_type {
            Some(value) => request.header("content-type", value),
            None => request,
        };
        let answer = request.send().await;
        if status == 415 {
            answer.expect_problem(415, "unsupported_media_type");
        } else {
            answer.expect_status(status);
        }
    }
    // No body at all is as good as an empty object, where nothing is needed.
    let empty = kernel.host("POST", "/sessions").send().await;
    empty.expect_status(201);
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused() {
    let kernel = Kernel::start(&["slow"]).await;
    let token = kernel.session(json!({})).await;
    let post = |path: &str, credential: &str, rest: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nauthorization: Bearer {credential}\r\n{rest}\r\n"
        )
    };
    // Announced: refused before a byte of it has come.
    for (path, credential, len) in [
        ("/sessions", &kernel.host_key, 1024 * 1024 + 1),
        ("/sessions", &kernel.host_key, usize::MAX / 2),
        ("/api/slow/count", &token, 1024 * 1024 + 1),
        ("/api/slow/large", &token, 2 * 1024 * 1024 + 1),
    ] {
        let head = post(path, credential, &format!("content-length: {len}\r\n"));
        let answer = Raw::send(&kernel.socket, head).await.answer().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 413, "{path} {answer:?}");
        assert!(answer.body.contains("body_too_large"), "{answer:?}");
    }
    // The same when the body comes along.
    let head = post("/api/slow/count", &token, "content-length: 2000000\r\n");
    let answer = Raw::send(&kernel.socket, head + &"x".repeat(4096))
        .await
        .answer()
        .await;
    assert_eq!(answer.unwrap().status(), 413);
    // Not announced: refused when it is there.
    for (path, credential) in [("/sessions", &kernel.host_key), ("/api/slow/count", &token)] {
        let head = post(path, credential, "transfer-encoding: chunked\r\n");
        let mut raw = Raw::send(&kernel.socket, head).await;
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
        for _ in 0..17 {
            if !raw.write(&chunk).await {
                break;
            }
        }
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.status(), 413, "{path} {answer:?}");
    }
    // As long as may be is taken.
    for (path, len) in [
        ("/api/slow/count", 1024 * 1024),
        ("/api/slow/large", 2 * 1024 * 1024),
    ] {
        let request = kernel.post(path).bearer(&token).body(vec![b'x'; len]);
        assert_eq!(request.send().await.text(), len.to_string());
    }
    let padded = format!("{{}}{}", " ".repeat(1024 * 1024 - 2));
    kernel
        .host("POST", "/sessions")
        .header("content-type", "application/json")
        .body(padded)
        .send()
        .await
        .expect_status(201);
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let kernel = Kernel::builder()
        .config("[limits]\nbody_stall_timeout = \"200ms\"")
        .module("slow", "")
        .start()
        .await;
    let token = kernel.session(json!({})).await;
    for (path, credential) in [("/sessions", &kernel.host_key), ("/api/slow/count", &token)] {
        for body in [
            "content-length: 10\r\n\r\n{\"",
            "transfer-encoding: chunked\r\n\r\n2\r\n{\"\r\n",
        ] {
            let request = format!(
                "POST {path} HTTP/1.1\r\ncontent-type: application/json\r\nauthorization: Bearer {credential}\r\n{body}"
            );
            let mut raw = Raw::send(&kernel.socket, request).await;
            let answer = raw.answer().await.unwrap();
            assert_eq!(answer.status(), 408, "{path} {answer:?}");
            assert!(answer.body.contains("request_timeout"), "{answer:?}");
            assert_eq!(raw.rest().await, "", "the connection is of no more use");
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_early_changes_nothing() {
    let kernel = Kernel::start(&["hello"]).await;
    let request = format!(
        "POST /sessions HTTP/1.1\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ncontent-length: 100\r\n\r\n{{}}",
        kernel.host_key
    );
    let mut raw = Raw::send(&kernel.socket, request).await;
    tokio::io::AsyncWriteExt::shutdown(&mut raw.stream)
        .await
        .unwrap();
    let answer = raw.rest().await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    let sessions = kernel.host("GET", "/sessions").send().await;
    assert_eq!(sessions.json()["data"], json!([]));
}

#[tokio::test]
async fn known_paths_refuse_other_methods_and_name_theirs() {
    let kernel = Kernel::start(&["hello"]).await;
    for (path, allow, methods) in [
        (
            "/health",
            "GET, HEAD",
            &["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"][..],
        ),
        ("/openapi.json", "GET, HEAD", &["POST", "DELETE"]),
        ("/metrics", "GET, HEAD", &["POST", "PUT"]),
        ("/sessions", "GET, HEAD, POST, DELETE", &["PUT", "PATCH"]),
        ("/sessions/current", "GET, HEAD, DELETE", &["POST", "PUT"]),
        ("/sessions/ses_x", "GET, HEAD, DELETE", &["POST", "PUT"]),
        (
            "/sessions/ses_x/renew",
            "POST",
            &["GET", "HEAD", "PUT", "DELETE"],
        ),
        ("/modules", "GET, HEAD", &["POST", "DELETE"]),
        (
            "/modules/hello",
            "GET, HEAD, PUT, DELETE",
            &["POST", "PATCH"],
        ),
        ("/modules/hello/reload", "POST", &["GET", "PUT"]),
        ("/modules/hello/openapi.json", "GET, HEAD", &["POST"]),
        ("/keys/rotate", "POST", &["GET", "DELETE"]),
        ("/log-level", "GET, HEAD, PUT", &["POST", "DELETE"]),
        ("/events", "GET, HEAD", &["POST"]),
        ("/health", "GET, HEAD", &["BREW", "get"]),
    ] {
        for method in methods {
            let answer = kernel.host(method, path).send().await;
            if *method == "HEAD" {
                answer.expect_status(405);
            } else {
                answer.expect_problem(405, "method_not_allowed");
            }
            assert_eq!(answer.header("allow"), allow, "{answer}");
        }
    }
}

#[tokio::test]
async fn unknown_paths_are_told_so() {
    let kernel = Kernel::start(&["hello"]).await;
    for path in [
        "/",
        "/health/",
        "//health",
        "/Health",
        "/health/x",
        "/health%2f",
        "/session",
        "/sessions/",
        "/sessions//renew",
        "/sessions/ses_x/renew/",
        "/sessions/ses_x/other",
        "/modules/",
        "/modules/hello/other",
        "/keys",
        "/keys/rotate/",
        "/api",
        "/api/",
        "/api//hello",
        "/../health",
        "/x/../health",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            kernel
                .host(method, path)
                .send()
                .await
                .expect_problem(404, "not_found");
        }
    }
    let asterisk = "OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answer = Raw::send(&kernel.socket, asterisk).await.answer().await;
    assert_eq!(answer.unwrap().status(), 404);
    for (method, path, code) in [
        ("GET", "/sessions/ses_x", "session_not_found"),
        ("DELETE", "/sessions/ses_x", "session_not_found"),
        ("POST", "/sessions/ses_x/renew", "session_not_found"),
        ("GET", "/modules/none", "module_not_found"),
        ("DELETE", "/modules/none", "module_not_found"),
        ("POST", "/modules/none/reload", "module_not_found"),
        ("GET", "/modules/none/openapi.json", "module_not_found"),
        ("GET", "/modules/hello/openapi.json", "not_found"),
    ] {
        kernel
            .host(method, path)
            .send()
            .await
            .expect_problem(404, code);
    }
}

#[tokio::test]
async fn what_is_no_request_gets_a_bare_answer() {
    let kernel = Kernel::start(&[]).await;
    let fields = |count: usize| "x: y\r\n".repeat(count);
    for (request, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET /health\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("GET /he alth HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nx : y\r\n\r\n".to_owned(), 400),
        (format!("GET /health HTTP/1.1\r\n{}\r\n", fields(101)), 431),
        (
            format!(
                "GET /health HTTP/1.1\r\nx: {}\r\n\r\n",
                "y".repeat(17 * 1024)
            ),
            431,
        ),
        (format!("GET /health HTTP/1.1\r\n{}\r\n", fields(100)), 200),
        (
            format!(
                "GET /health HTTP/1.1\r\nx: {}\r\n\r\n",
                "y".repeat(15 * 1024)
            ),
            200,
        ),
    ] {
        let shown: String = request.chars().take(60).collect();
        let mut raw = Raw::connect(&kernel.socket).await;
        raw.write(&request).await;
        let answer = raw
            .answer()
            .await
            .unwrap_or_else(|| panic!("no answer to {shown:?}"));
        assert_eq!(answer.status(), status, "{shown:?}");
        if status >= 400 {
            assert_eq!(answer.body, "", "{shown:?}");
            assert_eq!(raw.rest().await, "", "{shown:?}");
        }
    }
    // HTTP/2's preface (RFC 9113 section 3.4): nothing that its sender would understand can be said.
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(Raw::send(&kernel.socket, preface).await.rest().await, "");
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_next_request() {
    let kernel = Kernel::start(&[]).await;
    let mut raw = Raw::connect(&kernel.socket).await;
    raw.write("GET /health HTTP/1.1\r\n\r\nGET /nothing HT")
        .await;
    assert_eq!(raw.answer().await.unwrap().status(), 200);
    raw.write("TP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n")
        .await;
    assert_eq!(raw.answer().await.unwrap().status(), 404);
    assert_eq!(raw.answer().await.unwrap().status(), 200);
}

#[tokio::test]
async fn heads_that_do_not_come_end_the_connection() {
    let kernel = Kernel::builder()
        .config("[limits]\nheader_timeout = \"200ms\"\nkeep_alive_timeout = \"60s\"")
        .start()
        .await;
    for begun in [
        "G",
        "GET /health HTTP/1.1\r\n",
        "GET /health HTTP/1.1\r\nhost: local",
    ] {
        let raw = Raw::send(&kernel.socket, begun).await;
        assert_eq!(raw.rest().await, "", "{begun:?}");
    }
    // The same on a connection that has had a request.
    let mut kept = Raw::send(&kernel.socket, "GET /health HTTP/1.1\r\n\r\n").await;
    assert_eq!(kept.answer().await.unwrap().status(), 200);
    kept.write("GET /hea").await;
    assert_eq!(kept.rest().await, "");
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let kernel = Kernel::builder()
        .config("[limits]\nkeep_alive_timeout = \"200ms\"")
        .module("slow", "")
        .start()
        .await;
    assert_eq!(Raw::connect(&kernel.socket).await.rest().await, "");
    let mut kept = Raw::send(&kernel.socket, "GET /health HTTP/1.1\r\n\r\n").await;
    assert_eq!(kept.answer().await.unwrap().status(), 200);
    assert_eq!(kept.rest().await, "");
    // One with an answer under way is not idle: others come and go before it ends.
    let token = kernel.session(json!({"user": "ada"})).await;
    let mut stream = kernel.get("/api/slow/events").bearer(&token).stream().await;
    stream.read_until("first").await;
    for _ in 0..3 {
        assert_eq!(Raw::connect(&kernel.socket).await.rest().await, "");
    }
    kernel
        .host("DELETE", "/sessions?user=ada")
        .send()
        .await
        .expect_status(200);
    assert!(stream.rest().await.0.contains("session_revoked"));
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    for hello in hellos() {
        expect_request_ids(hello.start().await).await;
    }
}

async fn expect_request_ids(kernel: Kernel) {
    let token = kernel.session(json!({})).await;
    let longest = "a".repeat(64);
    let too_long = "a".repeat(65);
    for (path, status) in [
        ("/health", 200),
        ("/nothing", 404),
        ("/api/hello/hello", 200),
        ("/api/hello/x", 404),
    ] {
        for (given, kept) in [
            ("abc", true),
            ("A-b_c.d:9", true),
            ("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", true),
            (&longest, true),
            (&too_long, false),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            ("a\"b", false),
            ("<script>", false),
            ("a,b", false),
            ("\u{e4}", false),
        ] {
            let request = kernel
                .get(path)
                .bearer(&token)
                .header("x-request-id", given);
            let answer = request.send().await;
            answer.expect_status(status);
            let id = answer.header("x-request-id");
            assert_eq!(id == given, kept, "{given:?} {answer}");
            assert!(kept || id.starts_with("req_"), "{answer}");
            assert_eq!(
                answer.parts.headers.get_all("x-request-id").iter().count(),
                1
            );
        }
        let (one, two) = (
            kernel.get(path).bearer(&token).send().await,
            kernel.get(path).bearer(&token).send().await,
        );
        assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
    }
}

#[tokio::test]
async fn a_module_answers_for_itself_and_is_named() {
    for hello in hellos() {
        expect_own_answers(hello.start().await).await;
    }
}

async fn expect_own_answers(kernel: Kernel) {
    let token = kernel.session(json!({})).await;
    for (method, path, status) in [
        ("GET", "/api/hello/hello", 200),
        ("GET", "/api/hello/hello?q=1&q=2", 200),
        ("GET", "/api/hello/nothing", 404),
        ("GET", "/api/hello", 404),
        ("GET", "/api/hello/hello/", 404),
        ("DELETE", "/api/hello/hello", 405),
    ] {
        let answer = kernel.request(method, path).bearer(&token).send().await;
        answer.expect_status(status);
        assert_eq!(answer.header("x-midplane-module"), "hello#1", "{answer}");
        // The module's own, not a problem of the kernel's.
        assert_eq!(
            answer.text(),
            if status == 200 { "hello local" } else { "" }
        );
    }
}
