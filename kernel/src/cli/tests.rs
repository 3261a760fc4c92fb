//! What the arguments mean, and what people read.

use crate::isolation::confine::Report;
use clap::{CommandFactory, Parser};
use http::header::CONTENT_TYPE;
use midplane_client::DrainingGeneration;
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
        "module list --verbose --json",
        "module list -v",
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
        "bridge",
        "bridge --secret a=prompt --secret b=env:B --events --log debug --json --socket /s --host-key-file /k",
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
        "bridge --log verbose",
        "bridge --secret",
        "bridge openai-api-key",
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

fn draining(all: &[(&str, u64, u64)]) -> Vec<DrainingGeneration> {
    let one = |(name, generation, left): &(&str, u64, u64)| json!({"name": name, "version": "1", "generation": generation, "state": "draining", "in_flight_requests": left});
    serde_json::from_value(all.iter().map(one).collect()).unwrap()
}

#[test]
fn says_what_a_receipt_means() {
    let id = |n: u32| json!({"generation": n, "version": "1.0.0", "sha256": "ab"});
    let drained = |finished: u32, cancelled: u32| json!({"finished_on_old": finished, "cancelled": cancelled});
    let swapped = |more: serde_json::Value| {
        let mut receipt = json!({"module": "m", "from": id(1), "to": id(2), "swap_us": 40,
            "drain_ms": null, "requests": drained(0, 0), "state": null, "unloaded": null, "resident_reason": null});
        let more = more.as_object().unwrap().clone();
        receipt.as_object_mut().unwrap().extend(more);
        receipt
    };
    let first = "swapped m#1 (1.0.0) for m#2 (1.0.0); new requests waited 40 µs\n";
    let state = |accepted: bool| {
        swapped(json!({"drain_ms": 0, "unloaded": true,
            "state": {"bytes": 12, "schema": 3, "accepted": accepted}}))
    };
    let gone = "m#1: finished 0 requests, cancelled 0 in 0 ms; its code has left the process\n";
    for (receipt, left, expected) in [
        (
            json!({"module": "m", "from": null, "to": id(1), "swap_us": 3}),
            &[][..],
            "loaded m#1 (1.0.0)\n".to_owned(),
        ),
        (
            swapped(json!({})),
            &[("m", 1, 2)],
            format!(
                "{first}m#1: finishes 2 requests, then ends; `midplane module list` shows it, --wait waits for it\n"
            ),
        ),
        // Others that drain are not the one that was replaced.
        (
            swapped(json!({})),
            &[("m", 7, 2), ("other", 1, 5)],
            format!("{first}m#1: has no request left, and ends (--wait waits for it)\n"),
        ),
        (
            swapped(json!({"swap_us": 12_345, "drain_ms": 7, "requests": drained(1, 2), "unloaded": true})),
            &[],
            "swapped m#1 (1.0.0) for m#2 (1.0.0); new requests waited 12 ms\n\
             m#1: finished 1 request, cancelled 2 in 7 ms; its code has left the process\n"
                .to_owned(),
        ),
        (
            state(true),
            &[],
            format!("{first}state: 12 bytes of schema 3, taken over\n{gone}"),
        ),
        (
            state(false),
            &[],
            format!(
                "{first}state: 12 bytes of schema 3, left behind: the new version takes none\n{gone}"
            ),
        ),
        (
            json!({"module": "m", "from": id(2), "to": null, "unloaded": false, "resident_reason": "a thread"}),
            &[],
            "retired m#2 (1.0.0)\nm#2: finished 0 requests, cancelled 0; its code is still in memory: a thread\n"
                .to_owned(),
        ),
        (
            json!({"module": "m", "from": null, "to": null}),
            &[],
            "m: nothing to do\n".to_owned(),
        ),
    ] {
        let told = receipt.to_string();
        let receipt = serde_json::from_value(receipt).unwrap();
        assert_eq!(
            receipt::summary(&receipt, &draining(left)),
            expected,
            "{told}"
        );
    }
}

#[test]
fn says_what_a_drain_waits_for() {
    for (all, expected) in [
        (&[][..], "loading m"),
        (&[("other", 1, 3)], "loading m"),
        (&[("m", 1, 1)], "m#1 finishes 1 request"),
        (
            &[("m", 1, 0), ("other", 2, 9), ("m", 3, 2)],
            "m#1 finishes 0 requests, m#3 finishes 2 requests",
        ),
    ] {
        assert_eq!(
            receipt::waits_for("m", &draining(all), "loading m"),
            expected
        );
    }
}

#[test]
fn rewrites_its_line_on_a_terminal_and_adds_lines_elsewhere() {
    let told = |terminal| {
        let mut line = progress::Line::new(terminal);
        let ticks = [("a", 1), ("a", 2), ("b", 3)];
        let lines: Vec<_> = ticks.map(|(what, s)| line.next(what, s)).into();
        (lines.concat(), line.end())
    };
    let rewritten =
        "\r\u{1b}[Kmidplane: a (1 s)\r\u{1b}[Kmidplane: a (2 s)\r\u{1b}[Kmidplane: b (3 s)";
    assert_eq!(told(true), (rewritten.to_owned(), "\r\u{1b}[K"));
    assert_eq!(told(false), ("midplane: a\nmidplane: b\n".to_owned(), ""));
    // Nothing was written, so that there is nothing to take away.
    assert_eq!(progress::Line::new(true).end(), "");
}

#[test]
fn lists_what_drains_below_what_serves() {
    let list = json!({
        "modules": [{"name": "m", "version": "2.0", "generation": 2, "state": "serving", "sha256": "0123456789abcdef",
            "isolation": "process", "in_flight_requests": 1, "requests": {"2xx": 4, "5xx": 1}, "resident_generations": 2}],
        "draining": [{"name": "m", "version": "1.0", "generation": 1, "state": "draining", "in_flight_requests": 3}],
    });
    assert_eq!(
        module::rows(&serde_json::from_value(list).unwrap(), false),
        "MODULE  VERSION  GENERATION  STATE     ISOLATION  REQUESTS  IN FLIGHT  RESIDENT  SHA256\n\
         m       2.0      2           serving   process    5         1          2         0123456789ab\n\
         m       1.0      1           draining                       3\n"
    );
}

#[test]
fn says_all_that_is_known_of_a_module_and_its_process() {
    let list = |process: serde_json::Value| {
        let isolation = if process.is_null() {
            "in-process"
        } else {
            "process"
        };
        serde_json::from_value(json!({
            "modules": [{"name": "m", "version": "2.0", "generation": 2, "state": "serving", "sha256": "01ab",
                "path": "/m.so", "grants": ["secrets"], "isolation": isolation, "process": process,
                "resident_generations": 1}],
            "draining": [{"name": "m", "version": "1.0", "generation": 1, "state": "draining", "in_flight_requests": 3}],
        }))
        .unwrap()
    };
    let module = "m#2\n\
        \x20 version        2.0\n\
        \x20 state          serving\n\
        \x20 path           /m.so\n\
        \x20 sha256         01ab\n\
        \x20 grants         secrets\n\
        \x20 public routes  no\n\
        \x20 requests       0\n\
        \x20 in flight      0\n\
        \x20 resident       1\n";
    let draining = "\nm#1\n  version    1.0\n  state      draining\n  in flight  3\n";
    let crash = |routes: &[&str]| json!({"generation": 1, "reason": "SIGSEGV", "signal": "SIGSEGV", "routes": routes, "at": 1_000});
    let report = json!(Report::default());
    for (process, expected) in [
        (json!(null), "  isolation      in-process\n".to_owned()),
        (
            json!({"pid": 7, "crashes": 0, "last_crash": null, "confined": null}),
            "  isolation      process\n  process        7\n  confined       no\n  crashes        0\n"
                .to_owned(),
        ),
        (
            json!({"pid": 7, "crashes": 2, "last_crash": crash(&["GET /a", "POST /b"]), "confined": report}),
            format!(
                "  isolation      process\n  process        7\n  confined       {report}\n  crashes        2\n  \
                 last crash     1m 5s ago, generation 1: SIGSEGV during GET /a, POST /b\n",
                report = Report::default(),
            ),
        ),
        (
            json!({"pid": null, "crashes": 5, "last_crash": crash(&[]), "confined": {"newer": 1}}),
            "  isolation      process\n  process        none: it has ended\n  confined       {\"newer\":1}\n  \
             crashes        5\n  last crash     1m 5s ago, generation 1: SIGSEGV with no request under way\n"
                .to_owned(),
        ),
    ] {
        let text = module::paragraphs(&list(process), 1_065);
        assert_eq!(text, format!("{module}{expected}{draining}"));
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
            r#"{"from":1,"module":"m","type":"module.swapped"}"#,
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
        (Failure::Unavailable(String::new()), 69),
        (connect.into(), 69),
        (no_kernel.into(), 69),
        (midplane_client::Error::Credential.into(), 1),
    ] {
        assert_eq!(failure.exit_code(), code, "{failure:?}");
    }
}
