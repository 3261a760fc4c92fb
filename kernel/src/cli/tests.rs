//! What the arguments mean, and what people read.

use clap::{CommandFactory, Parser};
use http::header::CONTENT_TYPE;
use serde_json::json;

use super::*;

fn parse(line: &str) -> Result<Command, clap::Error> {
    let words = std::iter::once("midplane").chain(line.split_whitespace());
    Arguments::try_parse_from(words).map(|arguments| arguments.command)
}

#[test]
fn defines_no_argument_twice() {
    Arguments::command().debug_assert();
}

#[test]
fn takes_what_it_documents_and_nothing_else() {
    for line in [
        "serve --check --module hello=/m.so",
        "status --json --socket /s",
        "session create -q --module a --module b --rpm 5 --expires-in 60 --metadata {}",
        "session list --limit 5 --after ses_1",
        "session revoke ses_1",
        "session revoke --user me --secret-key-id k",
        "session renew ses_1 --expires-in 5 -q",
        "module list",
        "module load hello ./m.so --config {\"a\":1} --grant secrets --wait",
        "module reload hello --wait --json",
        "module unload hello --drain 5s",
        "call GET /health -i -H a:b --token t",
        "call post /api/x/y --session --secret-key-id k -d -",
        "keys rotate --revoke-previous",
        "log-level",
        "log-level info,hello=debug",
        "openapi hello",
        "metrics",
        "events",
        "completions bash",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
    }
    for line in [
        "",
        "status extra",
        "session",
        "session create --metadata []",
        "session create --rpm -1",
        "session create -q --json",
        "session revoke",
        "session revoke ses_1 --user me",
        "module load hello",
        "module reload hello --config 7",
        "module unload hello --drain soon",
        "call GET",
        "call G/T /x",
        "call GET /x -H nocolon",
        "call GET /x --token t --session",
        "call GET /x --secret-key-id k",
        "keys",
        "completions cmd",
    ] {
        let error = parse(line).expect_err(line);
        assert!(error.use_stderr(), "{line}");
    }
}

#[test]
fn hands_an_unknown_command_its_words() {
    let command = parse("other --flag x");
    let Ok(Command::External(words)) = command else {
        panic!("{command:?}");
    };
    assert_eq!(words, ["other", "--flag", "x"]);
    for (name, near) in [
        ("stats", Some("status")),
        ("modul", Some("module")),
        ("sesion", Some("session")),
        ("zzz", None),
    ] {
        assert_eq!(external::nearest(name).as_deref(), near, "{name}");
    }
    for name in ["../sh", "/bin/sh", "-x", ""] {
        let failure = external::run(&[name.into()]);
        assert_eq!(failure.exit_code(), EXIT_USAGE, "{name:?}");
    }
}

#[test]
fn builds_the_request_that_call_was_asked_for() {
    let call = |line: &str| match parse(line) {
        Ok(Command::Call(arguments)) => arguments,
        other => panic!("{other:?}"),
    };
    let request = call("call post /api/hello/x?y=1 -d {}").request().unwrap();
    assert_eq!(request.method(), http::Method::POST);
    assert_eq!(request.uri(), "/api/hello/x?y=1");
    assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
    let request = call("call PUT /x -d a -H content-type:text/plain")
        .request()
        .unwrap();
    let types = request.headers().get_all(CONTENT_TYPE);
    assert!(types.iter().eq(["text/plain"]));
    let bare = call("call GET /x").request().unwrap();
    assert!(bare.headers().is_empty());
    assert!(call("call GET x").request().is_err());
    assert!(call("call GET /x -d @/nonexistent").request().is_err());
    for (path, modules) in [
        ("/api/hello/x", Some(vec!["hello".to_owned()])),
        ("/api/hello?x", Some(vec!["hello".to_owned()])),
        ("/sessions/current", None),
    ] {
        let new = call(&format!("call GET {path} --session")).new_session();
        assert_eq!(new.modules, modules, "{path}");
    }
}

#[test]
fn aligns_columns_and_lets_nothing_drive_the_terminal() {
    let rows = [
        vec!["a".to_owned(), "é1".to_owned(), "x".to_owned()],
        vec!["long\u{1b}[2J".to_owned(), "b".to_owned(), String::new()],
    ];
    assert_eq!(
        table::render(&["NAME", "N"], &rows, false),
        "NAME      N\na         é1  x\nlong\u{fffd}[2J  b\n"
    );
    assert_eq!(table::render(&["A"], &[], false), "A\n");
    assert_eq!(table::render(&["A"], &[], true), "\u{1b}[1mA\u{1b}[0m\n");
    assert_eq!(
        table::pairs(&[("k", "v".into()), ("long", "w".into())]),
        "k     v\nlong  w\n"
    );
}

#[test]
fn says_what_a_receipt_means() {
    let id = |n: u32| json!({"generation": n, "version": "1.0.0", "sha256": "ab"});
    let drained = json!({"finished_on_old": 2, "cancelled": 0});
    for (receipt, expected) in [
        (
            json!({"module": "m", "from": null, "to": id(1)}),
            "loaded m#1 (1.0.0)\n",
        ),
        (
            json!({"module": "m", "from": id(1), "to": id(2), "swap_us": 40, "unloaded": null}),
            "swapped m#1 (1.0.0) for m#2 (1.0.0) in 40 µs\nthe old one is draining (--wait waits for it)\n",
        ),
        (
            json!({"module": "m", "from": id(2), "to": null, "drain_ms": 7, "requests": drained, "unloaded": true}),
            "retired m#2 (1.0.0)\nthe old one: drained in 7 ms, 2 requests finished, 0 cancelled, unloaded\n",
        ),
        (
            json!({"module": "m", "from": id(2), "to": null, "unloaded": false, "resident_reason": "a thread"}),
            "retired m#2 (1.0.0)\nthe old one: 0 requests finished, 0 cancelled, still in memory: a thread\n",
        ),
    ] {
        let receipt = serde_json::from_value(receipt).unwrap();
        assert_eq!(module::summary(&receipt), expected);
    }
}

#[test]
fn puts_the_client_secret_last() {
    let session = json!({"id": "ses_1", "client_secret": "ey.x", "expires_in": 90, "expires_at": 9,
        "user": "me", "modules": ["a", "b"], "scope": "", "environment": "pro",
        "secret_key_id": null, "rate_limit": {"requests_per_minute": 5}});
    let text = session::issued(&serde_json::from_value(session).unwrap());
    assert!(
        text.ends_with("expires in     1m 30s\nclient secret  ey.x\n"),
        "{text}"
    );
    assert!(
        text.contains("a, b\n") && text.contains("5 requests a minute\n"),
        "{text}"
    );
}

#[test]
fn says_an_event_in_a_line() {
    for (data, expected) in [
        (
            r#"{"type":"module.swapped","from":1,"module":"m"}"#,
            "module.swapped from=1 module=m",
        ),
        (
            r#"{"type":"x","reason":"two words"}"#,
            r#"x reason="two words""#,
        ),
        ("plain", "plain"),
    ] {
        assert_eq!(events::readable(data), expected);
    }
}

#[test]
fn tells_programs_why_by_the_exit_code() {
    let connect = midplane_client::Error::Connect {
        socket: "/s".into(),
        source: std::io::ErrorKind::NotFound.into(),
    };
    let no_kernel = midplane_client::locate::LocateError::NoKernel {
        socket: "/s".into(),
    };
    for (failure, code) in [
        (Failure::Usage(String::new()), 64),
        (Failure::Refused(String::new()), 1),
        (connect.into(), 69),
        (no_kernel.into(), 69),
        (midplane_client::Error::Credential.into(), 1),
    ] {
        assert_eq!(failure.exit_code(), code, "{failure:?}");
    }
}
