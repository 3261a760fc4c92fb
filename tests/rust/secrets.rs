//! Where a session's secret comes from, what may go wrong, and that it is never seen.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::harness::{Kernel, eventually};

/// What no answer, log line or argument may contain.
const CANARY: &str = "sk-canary-0123456789";

#[tokio::test]
async fn each_source_and_each_way_it_can_fail() {
    let long = "x".repeat(4097);
    let kernel = Kernel::builder()
        .config(&format!(
            r#"[secrets]
            env = "env:MIDPLANE_TEST_SECRET"
            env-unset = "env:MIDPLANE_TEST_UNSET"
            env-empty = "env:MIDPLANE_TEST_EMPTY"
            env-space = "env:MIDPLANE_TEST_SPACE"
            env-lines = "env:MIDPLANE_TEST_LINES"
            env-utf8 = "env:MIDPLANE_TEST_UTF8"
            env-long = "env:MIDPLANE_TEST_LONG"
            env-longest = "env:MIDPLANE_TEST_LONGEST"
            cmd = {{ cmd = ["printf", "%s\n", "{CANARY}"] }}
            cmd-no-shell = {{ cmd = ["printf", "%s", "$HOME;`id`"] }}
            cmd-fails = {{ cmd = ["sh", "-c", "echo {CANARY}; exit 3"] }}
            cmd-dies = {{ cmd = ["sh", "-c", "kill -9 $$"] }}
            cmd-silent = {{ cmd = ["true"] }}
            cmd-lines = {{ cmd = ["printf", "{CANARY}\n{CANARY}\n"] }}
            cmd-floods = {{ cmd = ["yes", "{CANARY}"] }}
            cmd-hangs = {{ cmd = ["sleep", "1000"], timeout = "1s" }}
            cmd-missing = {{ cmd = ["/nonexistent/program"] }}
            host = "bridge"
            "#
        ))
        .env("MIDPLANE_TEST_SECRET", CANARY)
        .env("MIDPLANE_TEST_EMPTY", "")
        .env("MIDPLANE_TEST_SPACE", &format!("{CANARY} "))
        .env("MIDPLANE_TEST_LINES", &format!("{CANARY}\n{CANARY}"))
        .env("MIDPLANE_TEST_UTF8", &format!("{CANARY}\u{f6}"))
        .env("MIDPLANE_TEST_LONG", &long)
        .env("MIDPLANE_TEST_LONGEST", &long[1..])
        .module("slow", "config = { needs_secret = true }")
        .start()
        .await;
    for (id, status, code) in [
        ("env", 201, ""),
        ("env-longest", 201, ""),
        ("env-unset", 403, "secret_not_found"),
        ("env-empty", 403, "secret_rejected"),
        ("env-space", 403, "secret_rejected"),
        ("env-lines", 403, "secret_rejected"),
        ("env-utf8", 403, "secret_rejected"),
        ("env-long", 403, "secret_rejected"),
        ("cmd", 201, ""),
        ("cmd-no-shell", 201, ""),
        ("cmd-fails", 403, "secret_denied"),
        ("cmd-dies", 503, "host_unavailable"),
        ("cmd-silent", 403, "secret_rejected"),
        ("cmd-lines", 403, "secret_rejected"),
        ("cmd-floods", 403, "secret_rejected"),
        ("cmd-hangs", 504, "host_timeout"),
        ("cmd-missing", 503, "host_unavailable"),
        ("host", 503, "host_unavailable"),
        ("unheard-of", 503, "host_unavailable"),
    ] {
        let request = kernel.host("POST", "/sessions");
        let answer = request.json(&json!({"secret_key_id": id})).send().await;
        if status == 201 {
            answer.expect_status(201);
        } else {
            answer.expect_problem(status, code);
        }
        assert_eq!(
            answer.has_header("retry-after"),
            code == "host_unavailable",
            "{id} {answer}"
        );
        assert!(!answer.text().contains(CANARY), "{id} {answer}");
    }
    let missing = kernel.host("POST", "/sessions").send().await;
    missing.expect_problem(400, "invalid_request");
    assert!(missing.text().contains("`secret_key_id`"), "{missing}");
    assert!(!kernel.log().contains(CANARY));
    // Of those refused nothing is left.
    let list = kernel.host("GET", "/sessions").send().await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_module_has_a_say_in_who_gets_a_session() {
    let kernel = Kernel::builder()
        .config("[secrets]\nkey = \"env:MIDPLANE_TEST_SECRET\"")
        .env("MIDPLANE_TEST_SECRET", CANARY)
        .module("slow", "config = { refuse_user = \"mallory\" }")
        .module("hello", "")
        .start()
        .await;
    let create = |user: &str, modules: &[&str]| {
        let body = json!({"user": user, "modules": modules, "secret_key_id": "key"});
        kernel.host("POST", "/sessions").json(&body).send()
    };
    let refused = create("mallory", &["hello", "slow"]).await;
    refused.expect_problem(403, "secret_rejected");
    assert!(
        refused.text().contains("this user is not welcome"),
        "{refused}"
    );
    assert!(!refused.text().contains(CANARY));
    create("mallory", &["hello"]).await.expect_status(201);
    create("ada", &["hello", "slow"]).await.expect_status(201);
}

#[tokio::test]
async fn a_secret_reaches_the_module_it_is_granted_to_and_nobody_else() {
    let config = "[secrets]\nkey = \"env:MIDPLANE_TEST_SECRET\"";
    for (settings, expect) in [
        ("", "20"),
        ("grants = [\"secrets\"]", "20"),
        ("grants = []", ""),
    ] {
        let kernel = Kernel::builder()
            .config(config)
            .env("MIDPLANE_TEST_SECRET", CANARY)
            .module("slow", settings)
            .start()
            .await;
        let token = kernel.session(json!({"secret_key_id": "key"})).await;
        let answer = kernel
            .get("/api/slow/secret-len")
            .bearer(&token)
            .send()
            .await;
        answer.expect_status(200);
        if expect.is_empty() {
            assert!(answer.text().parse::<usize>().is_err(), "{answer}");
        } else {
            assert_eq!(answer.text(), expect);
        }
    }
}

#[tokio::test]
async fn a_secret_is_seen_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, CANARY).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let kernel = Kernel::builder()
        .config(&format!(
            "[kernel]\nlog_filter = \"trace\"\n[secrets]\nkey = {{ cmd = [\"cat\", {file:?}] }}"
        ))
        .module("slow", "")
        .start()
        .await;
    let session = kernel
        .issue(json!({"secret_key_id": "key", "user": "ada"}))
        .await;
    let token = session["client_secret"].as_str().unwrap();
    let id = session["id"].as_str().unwrap();
    let used = kernel
        .get("/api/slow/secret-len")
        .bearer(token)
        .send()
        .await;
    assert_eq!(used.text(), CANARY.len().to_string());
    let mut seen = Vec::new();
    for path in [
        "/health",
        "/metrics",
        "/sessions",
        &format!("/sessions/{id}"),
        "/modules",
        "/modules/slow",
        "/log-level",
        "/openapi.json",
    ] {
        seen.push(kernel.host("GET", path).send().await.text().to_owned());
    }
    for path in ["/sessions/current", "/api/slow/whoami", "/api/slow/nothing"] {
        seen.push(
            kernel
                .get(path)
                .bearer(token)
                .send()
                .await
                .text()
                .to_owned(),
        );
    }
    // A forged one of the same form, so that a log of what was refused would show it.
    let forged = format!("{token}A");
    kernel
        .get("/api/slow/whoami")
        .bearer(&forged)
        .send()
        .await
        .expect_status(401);
    kernel
        .host("DELETE", "/sessions?user=ada")
        .send()
        .await
        .expect_status(200);
    let proc = format!("/proc/{}", kernel.pid());
    seen.push(
        String::from_utf8_lossy(&std::fs::read(format!("{proc}/cmdline")).unwrap()).into_owned(),
    );
    // Readable for root alone, as the process is not dumpable.
    if let Ok(environ) = std::fs::read(format!("{proc}/environ")) {
        seen.push(String::from_utf8_lossy(&environ).into_owned());
    }
    let data = kernel.dir.path().join("data");
    for entry in walk(&data) {
        seen.push(String::from_utf8_lossy(&std::fs::read(entry).unwrap()).into_owned());
    }
    // The last line of what was done is there, so the log is whole.
    eventually("the log", || async {
        kernel.log().contains("session revoked").then_some(())
    })
    .await;
    let log = kernel.log();
    for credential in [
        CANARY,
        token,
        token.rsplit('.').next().unwrap(),
        &forged,
        &kernel.host_key,
    ] {
        for text in seen.iter().chain([&log]) {
            assert!(!text.contains(credential), "{credential} in {text}");
        }
    }
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// What a command that gives a secret inherits: its three standard descriptors, and no variable that was the kernel's.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_command_inherits_nothing_of_the_kernels() {
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let script = format!(
        "ls /proc/$$/fd > {0}; env >> {0}; echo sk-1",
        seen.display()
    );
    let kernel = Kernel::builder()
        .config(&format!(
            "[secrets]\nkey = {{ cmd = [\"sh\", \"-c\", {script:?}] }}\nother = \"env:MIDPLANE_TEST_OTHER_KEY\""
        ))
        .env("MIDPLANE_TEST_OTHER_KEY", CANARY)
        .env("NOTIFY_SOCKET", "/nonexistent/notify")
        // A descriptor that whoever starts the kernel has left open.
        .shell("exec 9</dev/null; exec \"$@\"")
        .module("slow", "")
        .start()
        .await;
    kernel.issue(json!({"secret_key_id": "key"})).await;
    let seen = std::fs::read_to_string(&seen).unwrap();
    let descriptors: Vec<&str> = seen
        .lines()
        .take_while(|line| line.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    // Some shells keep one of their own from 10 on.
    let inherited: Vec<_> = descriptors.into_iter().filter(|fd| fd.len() == 1).collect();
    assert_eq!(inherited, ["0", "1", "2"], "{seen}");
    for absent in [CANARY, "NOTIFY_SOCKET", "MIDPLANE_"] {
        assert!(!seen.contains(absent), "{absent} is in {seen}");
    }
}
