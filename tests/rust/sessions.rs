//! `/sessions`: issuing, listing, renewing, revoking, and what bounds them.

use serde_json::{Value, json};

use crate::harness::{Kernel, connect, eventually, hellos};

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member]
        .as_str()
        .unwrap_or_else(|| panic!("no {member} in {value}"))
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[tokio::test]
async fn a_session_has_its_documented_members_and_defaults() {
    let kernel = Kernel::start(&["hello", "slow"]).await;
    let answer = kernel
        .host("POST", "/sessions")
        .json(&json!({}))
        .send()
        .await;
    answer.expect_status(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    let session = answer.json();
    let (id, created_at) = (
        text(&session, "id"),
        session["created_at"].as_u64().unwrap(),
    );
    assert!(id.starts_with("ses_") && id.len() == 4 + 22, "{id}");
    assert!(created_at <= now() && created_at + 60 > now());
    assert_eq!(
        session,
        json!({
            "id": id,
            "object": "session",
            "client_secret": text(&session, "client_secret"),
            "token_type": "Bearer",
            "expires_in": 600,
            "expires_at": created_at + 600,
            "created_at": created_at,
            "status": "active",
            "user": "local",
            "modules": ["hello", "slow"],
            "scope": "",
            "secret_key_id": null,
            "environment": "pro",
            "rate_limit": null,
            "metadata": {},
        })
    );
    // Asked for again it is the same, but for the credential.
    let mut view = session.clone();
    for credential in ["client_secret", "token_type", "expires_in"] {
        view.as_object_mut().unwrap().remove(credential);
    }
    let again = kernel.host("GET", &format!("/sessions/{id}")).send().await;
    assert_eq!(again.expect_status(200).json(), view);
}

#[tokio::test]
async fn every_member_is_kept_and_reaches_the_module() {
    let kernel = Kernel::builder()
        .config("[secrets]\nopenai-api-key = \"env:MIDPLANE_TEST_SECRET\"")
        .env("MIDPLANE_TEST_SECRET", "sk-0123456789")
        .module("slow", "")
        .module("hello", "")
        .start()
        .await;
    let given = json!({
        "secret_key_id": "openai-api-key", "environment": "dev", "user": "Ada L\u{f6}velace",
        "modules": ["slow"], "scope": "chat admin", "expires_in": 60,
        "rate_limit": {"requests_per_minute": 120}, "metadata": {"thread": "t1", "deep": {"a": [1, null]}},
    });
    let session = kernel.issue(given.clone()).await;
    for (member, value) in given.as_object().unwrap() {
        assert_eq!(&session[member], value, "{member}");
    }
    assert_eq!(
        session["expires_at"].as_u64().unwrap(),
        session["created_at"].as_u64().unwrap() + 60
    );
    let token = text(&session, "client_secret");
    let seen = kernel.get("/api/slow/whoami").bearer(token).send().await;
    assert_eq!(
        seen.json(),
        json!({
            "id": session["id"], "user": given["user"], "scope": "chat admin", "environment": "dev",
            "metadata": given["metadata"], "has_secret": true,
        })
    );
    let secret = kernel
        .get("/api/slow/secret-len")
        .bearer(token)
        .send()
        .await;
    assert_eq!(secret.text(), "13");
}

#[tokio::test]
async fn members_out_of_bounds_are_refused_by_name() {
    let kernel = Kernel::start(&["hello"]).await;
    let long = "a".repeat(257);
    let many: Vec<_> = (0..33).map(|_| "hello").collect();
    for (body, names) in [
        (json!({"user": ""}), "`user`"),
        (json!({"user": long}), "`user`"),
        (json!({"user": "a\nb"}), "`user`"),
        (json!({"user": "a\u{7f}"}), "`user`"),
        (json!({"environment": ""}), "`environment`"),
        (json!({"environment": long}), "`environment`"),
        (json!({"environment": "a\u{0}"}), "`environment`"),
        (json!({"scope": long}), "`scope`"),
        (json!({"scope": "a\tb"}), "`scope`"),
        (json!({"secret_key_id": ""}), "`secret_key_id`"),
        (json!({"secret_key_id": long}), "`secret_key_id`"),
        (json!({"modules": []}), "`modules`"),
        (json!({"modules": many}), "`modules`"),
        (json!({"expires_in": 0}), "`expires_in`"),
        (json!({"expires_in": 3601}), "`expires_in`"),
        (json!({"expires_in": u64::MAX}), "`expires_in`"),
        (json!({"rate_limit": {}}), "`requests_per_minute`"),
        (
            json!({"rate_limit": {"requests_per_minute": 0}}),
            "`rate_limit.requests_per_minute`",
        ),
        (
            json!({"rate_limit": {"requests_per_minute": 600_001}}),
            "`rate_limit.requests_per_minute`",
        ),
        (
            json!({"metadata": {"a": "x".repeat(8 * 1024)}}),
            "`metadata`",
        ),
    ] {
        let answer = kernel.host("POST", "/sessions").json(&body).send().await;
        answer.expect_problem(400, "invalid_request");
        assert!(answer.text().contains(names), "{body} {answer}");
    }
    for modules in [
        json!(["none"]),
        json!(["hello", "none"]),
        json!([""]),
        json!(["Hello"]),
    ] {
        let request = kernel.host("POST", "/sessions");
        let answer = request.json(&json!({"modules": modules})).send().await;
        answer.expect_problem(422, "module_not_loaded");
    }
    // At the bounds it is taken.
    for body in [
        json!({"user": "a".repeat(256)}),
        json!({"expires_in": 1}),
        json!({"expires_in": 3600}),
        json!({"scope": ""}),
        json!({"rate_limit": {"requests_per_minute": 600_000}}),
    ] {
        kernel.issue(body).await;
    }
    let list = kernel.host("GET", "/sessions").send().await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_module_named_twice_is_one() {
    let kernel = Kernel::start(&["hello", "slow"]).await;
    let session = kernel
        .issue(json!({"modules": ["slow", "hello", "slow"]}))
        .await;
    assert_eq!(session["modules"], json!(["slow", "hello"]));
}

#[tokio::test]
async fn without_modules_there_is_nothing_to_make_a_session_for() {
    let kernel = Kernel::start(&[]).await;
    let answer = kernel.host("POST", "/sessions").send().await;
    answer.expect_problem(422, "module_not_loaded");
}

#[tokio::test]
async fn the_list_pages_from_the_newest_and_has_no_token() {
    let kernel = Kernel::start(&["hello"]).await;
    let mut newest_first = Vec::new();
    for number in 0..5 {
        let session = kernel.issue(json!({"user": format!("user{number}")})).await;
        newest_first.insert(0, text(&session, "id").to_owned());
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = kernel
            .host("GET", &format!("/sessions?limit=2{after}"))
            .send()
            .await;
        page.expect_status(200);
        assert!(
            !page.text().contains("client_secret") && !page.text().contains("eyJ"),
            "{page}"
        );
        let page = page.json();
        assert_eq!(page["object"], "list");
        seen.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|session| text(session, "id").to_owned()),
        );
        assert_eq!(page["has_more"], json!(seen.len() < 5));
        if seen.len() >= 5 {
            break;
        }
        after = format!("&after={}", seen.last().unwrap());
    }
    assert_eq!(seen, newest_first);
    let all = kernel.host("GET", "/sessions").send().await.json();
    assert_eq!(all["data"].as_array().unwrap().len(), 5);
    assert_eq!(all["has_more"], false);
    let last = newest_first.last().unwrap();
    let empty = kernel
        .host("GET", &format!("/sessions?after={last}"))
        .send()
        .await
        .json();
    assert_eq!(
        (&empty["data"], &empty["has_more"]),
        (&json!([]), &json!(false))
    );
    for query in [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=",
        "limit=-1",
        "after=ses_none",
        "after=",
        "before=x",
        "limit=1&limit=2",
    ] {
        let answer = kernel
            .host("GET", &format!("/sessions?{query}"))
            .send()
            .await;
        answer.expect_problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn revoking_ends_a_session_at_once() {
    let kernel = Kernel::start(&["slow"]).await;
    let session = kernel.issue(json!({})).await;
    let (token, path) = (
        text(&session, "client_secret"),
        format!("/sessions/{}", text(&session, "id")),
    );
    // One that is kept remembers the token it has verified.
    let (mut kept, _connection) = connect(&kernel.socket).await;
    let whoami = || kernel.get("/api/slow/whoami").bearer(token);
    whoami().send_on(&mut kept).await.expect_status(200);
    let mut events = kernel.get("/api/slow/events").bearer(token).stream().await;
    events.read_until("first").await;
    let mut flood = kernel.get("/api/slow/flood").bearer(token).stream().await;
    flood.read_until("x").await;
    let held = tokio::spawn(kernel.get("/api/slow/hold").bearer(token).send());
    eventually("three requests under way", || async {
        let module = kernel.host("GET", "/modules/slow").send().await.json();
        (module["in_flight_requests"] == 3).then_some(())
    })
    .await;
    for _ in 0..2 {
        let revoked = kernel.host("DELETE", &path).send().await;
        assert!(revoked.expect_status(204).body.is_empty());
    }
    whoami()
        .send_on(&mut kept)
        .await
        .expect_problem(401, "invalid_token");
    whoami()
        .send_on(&mut kept)
        .await
        .expect_problem(401, "invalid_token");
    whoami().send().await.expect_problem(401, "invalid_token");
    // What was under way ends, and nobody can take it for whole.
    assert_eq!(
        events.rest().await,
        (
            "event: midplane.end\ndata: {\"reason\":\"session_revoked\"}\n\n".to_owned(),
            true
        )
    );
    assert!(!flood.rest().await.1);
    held.await.unwrap().expect_problem(401, "invalid_token");
    let view = kernel.host("GET", &path).send().await.json();
    assert_eq!(view["status"], "revoked");
}

#[tokio::test]
async fn an_expired_session_is_dead_and_can_still_be_looked_at() {
    let kernel = Kernel::builder()
        .config("[sessions]\nstream_grace = \"0s\"")
        .module("slow", "")
        .start()
        .await;
    let session = kernel.issue(json!({"expires_in": 1})).await;
    let (token, path) = (
        text(&session, "client_secret"),
        format!("/sessions/{}", text(&session, "id")),
    );
    let mut events = kernel.get("/api/slow/events").bearer(token).stream().await;
    events.read_until("first").await;
    // Without grace a stream ends with its token.
    assert_eq!(
        events.rest().await,
        (
            "event: midplane.end\ndata: {\"reason\":\"session_expired\"}\n\n".to_owned(),
            true
        )
    );
    eventually("expired", || async {
        let view = kernel.host("GET", &path).send().await.json();
        (view["status"] == "expired").then_some(())
    })
    .await;
    assert!(now() >= session["expires_at"].as_u64().unwrap());
    kernel
        .get("/api/slow/whoami")
        .bearer(token)
        .send()
        .await
        .expect_problem(401, "invalid_token");
    kernel.host("DELETE", &path).send().await.expect_status(204);
    // It cannot be brought back.
    let renewed = kernel.host("POST", &format!("{path}/renew")).send().await;
    renewed.expect_problem(409, "session_ended");
}

#[tokio::test]
async fn a_stream_outlives_its_token_by_the_grace_but_no_revocation() {
    let kernel = Kernel::start(&["slow"]).await;
    let session = kernel.issue(json!({"expires_in": 1})).await;
    let path = format!("/sessions/{}", text(&session, "id"));
    let token = text(&session, "client_secret");
    let mut events = kernel.get("/api/slow/events").bearer(token).stream().await;
    events.read_until("first").await;
    eventually("expired", || async {
        let view = kernel.host("GET", &path).send().await.json();
        (view["status"] == "expired").then_some(())
    })
    .await;
    let module = kernel.host("GET", "/modules/slow").send().await.json();
    assert_eq!(module["in_flight_requests"], 1, "it goes on");
    kernel.host("DELETE", &path).send().await.expect_status(204);
    assert!(events.rest().await.0.contains("midplane.end"));
}

#[tokio::test]
async fn renewing_gives_a_new_secret_up_to_the_longest_life() {
    let kernel = Kernel::builder()
        .config("[sessions]\nttl = \"60s\"\nmax_ttl = \"90s\"")
        .module("slow", "")
        .start()
        .await;
    let session = kernel.issue(json!({"user": "ada", "scope": "chat"})).await;
    let path = format!("/sessions/{}/renew", text(&session, "id"));
    let renew = |body: Value| kernel.host("POST", &path).json(&body).send();
    let answer = renew(json!({"expires_in": 80})).await;
    answer.expect_status(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let renewed = answer.json();
    for member in ["id", "user", "scope", "modules", "created_at"] {
        assert_eq!(renewed[member], session[member], "{member}");
    }
    assert_eq!(renewed["expires_in"], 80);
    for token in [
        text(&session, "client_secret"),
        text(&renewed, "client_secret"),
    ] {
        kernel
            .get("/api/slow/whoami")
            .bearer(token)
            .send()
            .await
            .expect_status(200);
    }
    // Each token says when it ends itself.
    for issued in [&session, &renewed] {
        let request = kernel
            .get("/sessions/current")
            .bearer(text(issued, "client_secret"));
        assert_eq!(
            request.send().await.json()["expires_at"],
            issued["expires_at"]
        );
    }
    let created_at = session["created_at"].as_u64().unwrap();
    let last = renew(json!({"expires_in": 90})).await.json();
    assert_eq!(
        last["expires_at"],
        created_at + 90,
        "no longer than max_ttl from its creation"
    );
    let default = renew(json!({})).await.json();
    assert!(default["expires_in"].as_u64().unwrap() <= 60, "{default}");
    let id = text(&session, "id");
    let now = kernel.host("GET", &format!("/sessions/{id}")).send().await;
    assert_eq!(
        now.json()["expires_at"],
        last["expires_at"],
        "a shorter one takes nothing back"
    );
    for expires_in in [0, 91] {
        let refused = renew(json!({"expires_in": expires_in})).await;
        refused.expect_problem(400, "invalid_request");
    }
    kernel
        .host("DELETE", "/sessions?user=ada")
        .send()
        .await
        .expect_status(200);
    renew(json!({})).await.expect_problem(409, "session_ended");
}

#[tokio::test]
async fn an_expired_session_can_be_renewed_until_its_longest_life_ends() {
    let kernel = Kernel::builder()
        .config("[sessions]\nttl = \"1s\"\nmax_ttl = \"3s\"")
        .module("slow", "")
        .start()
        .await;
    let session = kernel.issue(json!({})).await;
    let path = format!("/sessions/{}", text(&session, "id"));
    let status = |wanted: &'static str| {
        let kernel = &kernel;
        let path = &path;
        eventually(wanted, move || async move {
            let view = kernel.host("GET", path).send().await.json();
            (view["status"] == wanted).then_some(())
        })
    };
    status("expired").await;
    let renewed = kernel.host("POST", &format!("{path}/renew")).send().await;
    if renewed.status() == 200 {
        // Unless the machine stood still for the two seconds that were left.
        let token = renewed.json()["client_secret"].as_str().unwrap().to_owned();
        let answer = kernel.get("/api/slow/whoami").bearer(&token).send().await;
        assert!([200, 401].contains(&answer.status()), "{answer}");
    }
    let created_at = session["created_at"].as_u64().unwrap();
    eventually("the end of its longest life", || async {
        (now() >= created_at + 3).then_some(())
    })
    .await;
    let ended = kernel.host("POST", &format!("{path}/renew")).send().await;
    ended.expect_problem(409, "session_ended");
}

#[tokio::test]
async fn sessions_are_revoked_by_user_and_by_secret() {
    let kernel = Kernel::builder()
        .config("[secrets]\none = \"env:MIDPLANE_TEST_SECRET\"\ntwo = \"env:MIDPLANE_TEST_SECRET\"")
        .env("MIDPLANE_TEST_SECRET", "sk-0123456789")
        .module("slow", "")
        .start()
        .await;
    let mut sessions = Vec::new();
    for (user, secret) in [
        ("ada", "one"),
        ("ada", "two"),
        ("bob", "one"),
        ("bob b", "two"),
    ] {
        sessions.push(
            kernel
                .issue(json!({"user": user, "secret_key_id": secret}))
                .await,
        );
    }
    let revoke = |query: &str| kernel.host("DELETE", &format!("/sessions?{query}")).send();
    for query in ["", "users=ada", "user=ada&user=bob", "user=%ff", "id=1"] {
        revoke(query).await.expect_problem(400, "invalid_request");
    }
    for (query, revoked, alive) in [
        ("user=nobody", 0, [true, true, true, true]),
        ("user=ada&secret_key_id=one", 1, [false, true, true, true]),
        ("user=bob%20b", 1, [false, true, true, false]),
        ("secret_key_id=two", 1, [false, false, true, false]),
        ("user=ada", 0, [false, false, true, false]),
        ("secret_key_id=one", 1, [false, false, false, false]),
    ] {
        let answer = revoke(query).await;
        assert_eq!(
            answer.expect_status(200).json(),
            json!({"revoked": revoked}),
            "{query}"
        );
        for (session, alive) in sessions.iter().zip(alive) {
            let request = kernel
                .get("/api/slow/whoami")
                .bearer(text(session, "client_secret"));
            request
                .send()
                .await
                .expect_status(if alive { 200 } else { 401 });
        }
    }
}

#[tokio::test]
async fn a_session_sees_itself_and_signs_out() {
    let kernel = Kernel::start(&["hello"]).await;
    let session = kernel
        .issue(json!({"user": "ada", "scope": "chat", "metadata": {"private": 1}}))
        .await;
    let other = kernel.issue(json!({"user": "ada"})).await;
    let token = text(&session, "client_secret");
    let current = |method: &str| {
        kernel
            .request(method, "/sessions/current")
            .bearer(token)
            .send()
    };
    assert_eq!(
        current("GET").await.expect_status(200).json(),
        json!({
            "id": session["id"], "object": "session", "user": "ada", "modules": ["hello"], "scope": "chat",
            "expires_at": session["expires_at"],
        })
    );
    assert!(current("DELETE").await.expect_status(204).body.is_empty());
    for method in ["GET", "DELETE"] {
        current(method).await.expect_problem(401, "invalid_token");
    }
    let view = kernel
        .host("GET", &format!("/sessions/{}", text(&session, "id")))
        .send()
        .await;
    assert_eq!(view.json()["status"], "revoked");
    let request = kernel
        .get("/sessions/current")
        .bearer(text(&other, "client_secret"));
    request.send().await.expect_status(200);
}

#[tokio::test]
async fn there_are_so_many_sessions_and_no_more() {
    let kernel = Kernel::builder()
        .config("[sessions]\nmax = 3")
        .module("hello", "")
        .start()
        .await;
    for user in ["a", "b", "c"] {
        kernel.issue(json!({"user": user})).await;
    }
    let refused = kernel.host("POST", "/sessions").send().await;
    refused.expect_problem(503, "session_limit");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    // One that has ended makes room.
    kernel
        .host("DELETE", "/sessions?user=b")
        .send()
        .await
        .expect_status(200);
    kernel.issue(json!({"user": "d"})).await;
    let refused = kernel.host("POST", "/sessions").send().await;
    refused.expect_problem(503, "session_limit");
}

#[tokio::test]
async fn a_session_over_its_rate_waits() {
    for hello in hellos() {
        expect_to_wait(hello.start().await).await;
    }
}

async fn expect_to_wait(kernel: Kernel) {
    let limited = kernel
        .session(json!({"rate_limit": {"requests_per_minute": 2}}))
        .await;
    let free = kernel.session(json!({})).await;
    let hello = |token: &str| kernel.get("/api/hello/hello").bearer(token).send();
    for _ in 0..2 {
        hello(&limited).await.expect_status(200);
    }
    let refused = hello(&limited).await;
    refused.expect_problem(429, "rate_limited");
    let retry_after: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=30).contains(&retry_after), "{refused}");
    hello(&free).await.expect_status(200);
    // Its own session is no module's request.
    let current = kernel.get("/sessions/current").bearer(&limited);
    current.send().await.expect_status(200);
}
