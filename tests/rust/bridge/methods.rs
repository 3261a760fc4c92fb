//! Each method that is an HTTP route answers as that route does: results, and refusals with the whole problem.

use serde_json::{Map, Value, json};

use super::{expect_error, slow};
use crate::harness::{Answer, Bridge, Kernel, artifact};

/// What differs from one request to the next, in answers of any kind.
fn timeless(mut value: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let differs = [
                        "instance",
                        "id",
                        "client_secret",
                        "created_at",
                        "expires_at",
                        "swap_us",
                        "drain_ms",
                        "loaded_at",
                        "generation",
                        "poll_seconds",
                        "process",
                    ];
                    if differs.contains(&name.as_str()) {
                        *value = json!(value.is_null());
                    }
                    walk(value);
                }
            }
            Value::Array(values) => values.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut value);
    value
}

/// What the route says, as the bridge says it.
fn expected(answer: &Answer) -> Result<Value, Value> {
    if answer.status() < 300 {
        return Ok(if answer.body.is_empty() {
            Value::Null
        } else {
            timeless(answer.json())
        });
    }
    let problem = answer.json();
    let code = match answer.status() {
        400 | 413 => -32602,
        500 => -32603,
        _ => -32000,
    };
    Err(json!({"code": code, "message": problem["detail"], "data": timeless(problem)}))
}

fn said(outcome: Result<Value, Value>) -> Result<Value, Value> {
    match outcome {
        Ok(result) => Ok(timeless(result)),
        Err(mut error) => {
            error["data"] = timeless(error["data"].take());
            Err(error)
        }
    }
}

/// A kernel with three modules, and one that can be loaded beside them.
async fn start() -> (Kernel, Bridge) {
    let kernel = slow()
        .module("hello", "")
        .config("[secrets]\nkey = \"env:MIDPLANE_TEST_SECRET\"")
        .env("MIDPLANE_TEST_SECRET", "sk-0123456789")
        .start()
        .await;
    let host = Bridge::attach(&kernel, "host", json!({})).await;
    (kernel, host)
}

/// Asks both ways, the second time in a kernel of its own, since the first changes what there is.
#[tokio::test]
async fn every_method_answers_as_its_route() {
    let (by_http, _) = start().await;
    let (by_bridge, mut host) = start().await;
    let hello = |kernel: &Kernel| {
        let file = artifact("hello");
        kernel
            .dir
            .path()
            .join("modules")
            .join(file.file_name().unwrap())
    };
    let ids = [
        by_http.issue(json!({})).await["id"].clone(),
        by_bridge.issue(json!({})).await["id"].clone(),
    ];
    let long = "m".repeat(8200);
    // Method, path member, route, other params; `$` is the path of hello's file, `@` the id of a session.
    let table: Vec<(&str, &str, &str, &str, Value)> = vec![
        ("module/list", "", "GET", "/modules", json!({})),
        ("session/create", "", "POST", "/sessions", json!({})),
        (
            "session/create",
            "",
            "POST",
            "/sessions",
            json!({
                "secret_key_id": "key", "environment": "dev", "user": "Ada L\u{f6}velace", "modules": ["slow"],
                "scope": "chat", "expires_in": 60, "rate_limit": {"requests_per_minute": 120},
                "metadata": {"a": [1, null, {"b": "\u{1f600}"}]},
            }),
        ),
        (
            "session/create",
            "",
            "POST",
            "/sessions",
            json!({"secret_key_id": "absent"}),
        ),
        (
            "session/create",
            "",
            "POST",
            "/sessions",
            json!({"modules": ["nothing"]}),
        ),
        (
            "session/create",
            "",
            "POST",
            "/sessions",
            json!({"user": 7}),
        ),
        (
            "session/create",
            "",
            "POST",
            "/sessions",
            json!({"colour": "red"}),
        ),
        (
            "session/create",
            "",
            "POST",
            "/sessions",
            json!({"expires_in": 3601}),
        ),
        (
            "session/create",
            "",
            "POST",
            "/sessions",
            json!({"metadata": {"m": long}}),
        ),
        (
            "session/renew",
            "@",
            "POST",
            "/sessions/{}/renew",
            json!({}),
        ),
        (
            "session/renew",
            "@",
            "POST",
            "/sessions/{}/renew",
            json!({"expires_in": 5}),
        ),
        (
            "session/renew",
            "@",
            "POST",
            "/sessions/{}/renew",
            json!({"expires_in": 0}),
        ),
        (
            "session/renew",
            "@",
            "POST",
            "/sessions/{}/renew",
            json!({"user": "x"}),
        ),
        (
            "session/renew",
            "ses_none",
            "POST",
            "/sessions/{}/renew",
            json!({}),
        ),
        ("session/revoke", "@", "DELETE", "/sessions/{}", json!({})),
        ("session/revoke", "@", "DELETE", "/sessions/{}", json!({})),
        (
            "session/revoke",
            "ses_none",
            "DELETE",
            "/sessions/{}",
            json!({}),
        ),
        (
            "session/renew",
            "@",
            "POST",
            "/sessions/{}/renew",
            json!({}),
        ),
        (
            "module/reload",
            "hello",
            "POST",
            "/modules/{}/reload?wait=drained",
            json!({"wait": "drained"}),
        ),
        (
            "module/reload",
            "hello",
            "POST",
            "/modules/{}/reload?wait=what",
            json!({"wait": "what"}),
        ),
        (
            "module/reload",
            "nothing",
            "POST",
            "/modules/{}/reload",
            json!({}),
        ),
        (
            "module/reload",
            "hello",
            "POST",
            "/modules/{}/reload",
            json!({"config": {"no": "such"}}),
        ),
        (
            "module/unload",
            "hello",
            "DELETE",
            "/modules/{}?drain_ms=50",
            json!({"drain_ms": 50}),
        ),
        ("module/unload", "hello", "DELETE", "/modules/{}", json!({})),
        (
            "module/load",
            "hello",
            "PUT",
            "/modules/{}",
            json!({"path": "/nonexistent.so"}),
        ),
        ("module/load", "hello", "PUT", "/modules/{}", json!({})),
        (
            "module/load",
            "hello",
            "PUT",
            "/modules/{}",
            json!({"path": "$"}),
        ),
        (
            "module/load",
            "hello",
            "PUT",
            "/modules/{}",
            json!({"path": "$", "grants": []}),
        ),
        (
            "module/load",
            "other",
            "PUT",
            "/modules/{}",
            json!({"path": "$"}),
        ),
        ("module/list", "", "GET", "/modules", json!({})),
    ];
    for (method, member, verb, route, params) in table {
        let of = |kernel: &Kernel, id: &Value| -> (String, Map<String, Value>) {
            let member = if member == "@" {
                id.as_str().unwrap()
            } else {
                member
            };
            let mut params = params.as_object().unwrap().clone();
            if params.get("path") == Some(&json!("$")) {
                params["path"] = json!(hello(kernel));
            }
            (member.to_owned(), params)
        };
        let (member, mut body) = of(&by_http, &ids[0]);
        body.remove("wait");
        body.remove("drain_ms");
        let mut request = by_http.host(verb, &route.replace("{}", &member));
        if verb != "GET" && verb != "DELETE" {
            request = request.json(&Value::Object(body));
        }
        let answer = request.send().await;
        let (member, mut params) = of(&by_bridge, &ids[1]);
        if !member.is_empty() {
            let name = if method.starts_with("session") {
                "id"
            } else {
                "name"
            };
            params.insert(name.to_owned(), json!(member));
        }
        let outcome = host.call(method, Value::Object(params.clone())).await;
        let own = |value: Result<Value, Value>, kernel: &Kernel, id: &Value| {
            let text = format!("{value:?}");
            text.replace(kernel.dir.path().to_str().unwrap(), "DIR")
                .replace(id.as_str().unwrap(), "ID")
        };
        assert_eq!(
            own(said(outcome), &by_bridge, &ids[1]),
            own(expected(&answer), &by_http, &ids[0]),
            "{method} {params:?}"
        );
    }
}

#[tokio::test]
async fn members_that_stand_in_the_path_are_names_and_nothing_else() {
    let (kernel, mut host) = start().await;
    for (method, member) in [
        ("session/renew", "id"),
        ("session/revoke", "id"),
        ("module/load", "name"),
        ("module/reload", "name"),
        ("module/unload", "name"),
    ] {
        for (value, code) in [
            (Value::Null, -32602),
            (json!(""), -32602),
            (json!(7), -32602),
            (json!(["hello"]), -32602),
        ] {
            let outcome = host.call(method, json!({member: value})).await;
            expect_error(&outcome, code, &format!("`{member}`"));
        }
        for name in [
            "..",
            ".",
            "../modules/hello",
            "hello/../slow",
            "hello?wait=drained",
            "hello#x",
            "hello%2f",
            "hello\u{0}",
            "h\u{e9}llo",
            "hello/reload",
            "ses_1/renew",
        ] {
            let outcome = host
                .call(method, json!({member: name, "path": "/nonexistent.so"}))
                .await;
            assert!(outcome.is_err(), "{method} {name}: {outcome:?}");
        }
    }
    let listed = kernel.host("GET", "/modules").send().await.json();
    let states: Vec<_> = listed["modules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|module| (&module["name"], &module["generation"], &module["state"]))
        .collect();
    assert_eq!(states.len(), 2, "{listed}");
    assert!(
        states
            .iter()
            .all(|(_, generation, state)| **generation == 1 && **state == "serving"),
        "{listed}"
    );
}

#[tokio::test]
async fn a_token_that_was_made_over_the_bridge_is_one() {
    let (kernel, mut host) = start().await;
    let issued = host
        .call("session/create", json!({"secret_key_id": "key"}))
        .await
        .unwrap();
    let len = |token: &Value| {
        let token = token["client_secret"].as_str().unwrap().to_owned();
        kernel.get("/api/slow/secret-len").bearer(&token).send()
    };
    assert_eq!(len(&issued).await.text(), "13");
    let renewed = host
        .call("session/renew", json!({"id": issued["id"]}))
        .await
        .unwrap();
    assert_eq!(len(&renewed).await.text(), "13");
    let revoked = host
        .call("session/revoke", json!({"id": issued["id"]}))
        .await;
    assert_eq!(revoked, Ok(Value::Null));
    len(&renewed).await.expect_problem(401, "invalid_token");
}
