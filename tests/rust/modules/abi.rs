//! A module in C that misuses the ABI: a call that makes no sense is answered, and nothing comes of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{eventually, logged};
use crate::harness::{Answer, BINARY, CLOSE, Frames, Kernel, TEXT};

/// Compiles `tests/modules/raw/raw.c` to `to`.
pub(super) fn compile(to: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../modules/raw/raw.c");
    let output = Command::new("cc")
        .args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-unused",
            "-O1",
            "-fPIC",
            "-shared",
            "-pthread",
            "-o",
        ])
        .arg(to)
        .arg(source)
        .output()
        .expect("a C compiler");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    to.to_owned()
}

async fn raw_module() -> (Kernel, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = compile(&dir.path().join("libraw.so"));
    let kernel = Kernel::builder().module_at("raw", path, "").start().await;
    let token = kernel.session(json!({})).await;
    (kernel, token)
}

async fn get(kernel: &Kernel, token: &str, path: &str) -> Answer {
    kernel
        .get(&format!("/api/raw/{path}"))
        .bearer(token)
        .send()
        .await
}

#[tokio::test]
async fn handles_that_name_nothing_are_gone_from_any_thread() {
    let (kernel, token) = raw_module().await;
    // The handle of a request that is over is one of them.
    get(&kernel, &token, "remember").await.expect_status(200);
    let answer = get(&kernel, &token, "garbage").await;
    assert_eq!(answer.expect_status(200).text(), "wrong answers: 0");
    let answer = get(&kernel, &token, "garbage-thread").await;
    assert_eq!(answer.expect_status(200).text(), "wrong answers: 0");
}

#[tokio::test]
async fn calls_out_of_turn_or_with_invalid_arguments_are_invalid() {
    let (kernel, token) = raw_module().await;
    for path in [
        "twice",
        "write-first",
        "end-first",
        "bad-heads",
        "write-over",
        "write-after-end",
    ] {
        let answer = get(&kernel, &token, path).await;
        assert!(
            answer
                .expect_status(200)
                .text()
                .trim_end_matches('.')
                .is_empty(),
            "{path}: {answer}"
        );
        let last = get(&kernel, &token, "wrong").await;
        assert_eq!(last.text(), "wrong answers: 0", "{path}");
    }
}

#[tokio::test]
async fn a_task_that_ends_without_an_answer_is_a_failure() {
    let (kernel, token) = raw_module().await;
    for (path, reason) in [
        ("no-answer", "its task ended without an answer"),
        ("unknown-status", "it answered the status 77"),
        ("begin-pending", "PENDING where only OK may be"),
        ("begin-fails", "begin says no"),
        ("poll-fails", "poll says no"),
    ] {
        get(&kernel, &token, path)
            .await
            .expect_problem(500, "module_failed");
        logged(&kernel, &["a module failed", "raw#1", reason]).await;
    }
    // A head, and a task that ends before its body.
    let mut stream = kernel.get("/api/raw/no-end").bearer(&token).stream().await;
    stream.read_until("half").await;
    assert_eq!(stream.rest().await, (String::new(), false));
    logged(&kernel, &["its task ended before the body did", "raw#1"]).await;
}

#[tokio::test]
async fn another_thread_may_answer_and_wake() {
    let (kernel, token) = raw_module().await;
    for path in ["thread", "thread-stream"] {
        let answer = get(&kernel, &token, path).await;
        assert_eq!(answer.expect_status(200).text(), "from a thread");
    }
}

#[tokio::test]
async fn a_websocket_is_for_any_language() {
    let (kernel, token) = raw_module().await;
    let mut frames = Frames::open(&kernel, "/api/raw/ws-echo", &token).await;
    for (first, message) in [
        (TEXT, b"hello".to_vec()),
        (BINARY, vec![]),
        (BINARY, vec![7; 1 << 20]),
    ] {
        frames.send(first, &message).await;
        assert_eq!(frames.recv().await, Some((first, message)));
    }
    frames.send(CLOSE, &1000_u16.to_be_bytes()).await;
    assert_eq!(frames.closed().await.0, 1000);
    // Opened, used and closed by a thread of the module's, without a word to `wake`.
    let mut frames = Frames::open(&kernel, "/api/raw/ws-thread", &token).await;
    assert_eq!(frames.recv().await, Some((TEXT, b"from a thread".to_vec())));
    assert_eq!(frames.closed().await, (1000, "done".to_owned()));
    // A task that is done at once.
    let mut frames = Frames::open(&kernel, "/api/raw/ws-brief", &token).await;
    assert_eq!(frames.recv().await, Some((TEXT, b"bye".to_vec())));
    assert_eq!(frames.closed().await.0, 1000);
    let last = get(&kernel, &token, "wrong").await;
    assert_eq!(last.text(), "wrong answers: 0");
}

#[tokio::test]
async fn a_websockets_functions_out_of_turn_are_invalid() {
    let (kernel, token) = raw_module().await;
    let answer = get(&kernel, &token, "ws-misuse").await;
    assert_eq!(answer.expect_status(200).text(), "wrong answers: 0");
    let mut frames = Frames::open(&kernel, "/api/raw/ws-misuse", &token).await;
    for _ in 0..64 {
        assert_eq!(frames.recv().await, Some((BINARY, vec![])));
    }
    frames.send(TEXT, b"too small").await;
    assert_eq!(frames.closed().await, (4000, "word".to_owned()));
    let last = get(&kernel, &token, "wrong").await;
    assert_eq!(last.text(), "wrong answers: 0");
    // Failed before the handshake was answered.
    let failed = kernel.get("/api/raw/ws-fails").bearer(&token);
    let failed = failed
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    failed.send().await.expect_problem(500, "module_failed");
    logged(&kernel, &["a module failed", "a socket says no"]).await;
}

#[tokio::test]
async fn a_task_may_take_its_time_to_be_cancelled() {
    let (kernel, token) = raw_module().await;
    let request = kernel.get("/api/raw/cancel").bearer(&token);
    let waiting = tokio::spawn(request.stream());
    let reaches = async |count: &str| {
        eventually(&kernel, count, async || {
            (get(&kernel, &token, "counts").await.text() == count).then_some(())
        })
        .await;
    };
    reaches("begun 1 cancelled 0 finished 0 dropped 0").await;
    waiting.abort();
    reaches("begun 1 cancelled 1 finished 1 dropped 1").await;
    let module = kernel.host("GET", "/modules/raw").send().await.json();
    assert_eq!(module["requests"]["cancelled"], 1, "{module}");
}

#[tokio::test]
async fn calls_after_fini_find_nothing() {
    let (kernel, token) = raw_module().await;
    get(&kernel, &token, "remember").await.expect_status(200);
    get(&kernel, &token, "haunt").await.expect_status(200);
    let receipt = kernel.host("DELETE", "/modules/raw").send().await;
    receipt.expect_status(200);
    // Its thread goes on for a while and writes this to the process's standard error, not through the kernel.
    kernel.wait_for_log("haunted: wrong answers: 0");
    kernel.get("/health").send().await.expect_status(200);
    assert!(!kernel.log().contains("a line from beyond"));
}
