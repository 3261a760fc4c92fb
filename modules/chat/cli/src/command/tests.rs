use serde_json::json;

use super::*;
use crate::line::understand;
use crate::look::Look;
use crate::mock::{Answer, Kernel};

const LONG_S: u64 = 600;

fn plain() -> Terminal<Vec<u8>, Vec<u8>> {
    Terminal::new(Vec::new(), Vec::new(), Look::default())
}

#[tokio::test(flavor = "current_thread")]
async fn a_thread_is_opened_by_its_number_or_id() {
    let list = json!({"data": [
        {"id": "thr_2", "title": "Tea\nand\tcake", "created_at": "2026-01-02T00:00:00Z", "items": {"data": []}},
        {"id": "thr_1", "created_at": "2026-01-01T00:00:00Z", "items": {"data": []}}], "has_more": false});
    let thread = |id: &str| {
        json!({"id": id, "title": null, "created_at": "2026-01-01T00:00:00Z", "items": {"has_more": false, "data": [
            {"id": "m", "type": "user_message", "content": [{"type": "input_text", "text": "which?"}]},
            {"id": "n", "type": "assistant_message", "content": [{"type": "output_text", "text": "green"}]}]}})
    };
    let kernel = Kernel::start(
        LONG_S,
        vec![
            Answer::Json(200, list.clone()),
            Answer::Json(200, thread("thr_1")),
            Answer::Json(200, list),
            Answer::Json(200, thread("thr_9")),
        ],
    );
    let mut conversation = kernel.conversation(None);
    let mut terminal = plain();
    let mut listed = Vec::new();
    for line in ["/open 2", "/threads", "/open thr_9", "/open 0", "/open 3"] {
        follow(
            understand(line),
            &mut conversation,
            &mut terminal,
            &mut listed,
        )
        .await
        .unwrap();
    }
    let opened: Vec<_> = kernel
        .chat_requests()
        .iter()
        .filter(|request| request["type"] == "threads.get_by_id")
        .map(|request| request["params"]["thread_id"].clone())
        .collect();
    assert_eq!(opened, ["thr_1", "thr_9"]);
    assert_eq!(conversation.thread(), Some("thr_9"));
    assert_eq!(
        terminal.written(),
        (
            "green\n   1  2026-01-02  Tea and cake\n*  2  2026-01-01  thr_1\ngreen\n",
            "> which?\n> which?\nthere is no thread 0: /threads lists them\nthere is no thread 3: /threads lists them\n"
        )
    );
}

#[tokio::test(flavor = "current_thread")]
async fn commands_that_need_no_kernel_ask_none() {
    let kernel = Kernel::start(LONG_S, Vec::new());
    let mut conversation = kernel.conversation(None);
    let mut terminal = plain();
    for line in [
        "/help",
        "/new",
        "/retry",
        "/title x",
        "/model large",
        "/explode",
        "",
    ] {
        follow(
            understand(line),
            &mut conversation,
            &mut terminal,
            &mut Vec::new(),
        )
        .await
        .unwrap();
    }
    assert!(kernel.asked().is_empty());
    let (out, err) = terminal.written();
    assert_eq!(out, "");
    for said in [
        "/open N       go on",
        "another thread",
        "no message",
        "no thread yet",
        "asks large",
        "/explode: no such command",
    ] {
        assert!(err.contains(said), "{said}: {err}");
    }
}
