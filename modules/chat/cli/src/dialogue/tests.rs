use std::io;
use std::os::unix::net::UnixStream;

use serde_json::json;

use super::*;
use crate::interrupt::tests::pair;
use crate::mock::{Answer, Kernel, next_turn, turn};
use crate::terminal::Look;

const LONG_S: u64 = 600;

fn plain<O: Write>(out: O) -> Terminal<O, Vec<u8>> {
    Terminal::new(out, Vec::new(), Look::default())
}

/// Presses Ctrl-C when a word is shown.
struct StopAt {
    word: &'static str,
    ctrl_c: UnixStream,
    shown: Vec<u8>,
}

impl Write for StopAt {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if String::from_utf8_lossy(bytes).contains(self.word) {
            self.ctrl_c.write_all(b"x")?;
        }
        self.shown.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "current_thread")]
async fn ctrl_c_stops_the_turn_and_not_the_conversation() {
    let mut unfinished = turn("thr_1", "msg_1", "one two three");
    unfinished.truncate(6);
    let mut kernel = Kernel::start(
        LONG_S,
        vec![
            Answer::Open(unfinished),
            Answer::Events(next_turn("thr_1", "msg_2", "four")),
        ],
    );
    let mut conversation = kernel.conversation(None);
    let (mut interrupts, ctrl_c) = pair();
    let mut terminal = plain(StopAt {
        word: "two",
        ctrl_c,
        shown: Vec::new(),
    });
    let ended = one_turn("count", &mut conversation, &mut terminal, &mut interrupts).await;
    assert_eq!(ended.unwrap(), Ended::Stopped);
    // The response was dropped: the kernel sees it, while the program goes on.
    kernel.client_left().await;

    let ended = one_turn("go on", &mut conversation, &mut terminal, &mut interrupts).await;
    assert_eq!(ended.unwrap(), Ended::Complete);
    let (out, err) = terminal.into_outputs();
    assert_eq!(String::from_utf8(out.shown).unwrap(), "one two \nfour\n");
    assert_eq!(String::from_utf8(err).unwrap(), "stopped\n");
    let requests = kernel.chat_requests();
    assert_eq!(requests[1]["type"], "threads.add_user_message");
    assert_eq!(requests[1]["params"]["thread_id"], "thr_1");
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
    let mut terminal = plain(Vec::new());
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
    let mut terminal = plain(Vec::new());
    for line in ["/help", "/new", "/retry", "/explode", ""] {
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
        "/open N   go on",
        "another thread",
        "no message",
        "/explode: no such command",
    ] {
        assert!(err.contains(said), "{said}: {err}");
    }
}
