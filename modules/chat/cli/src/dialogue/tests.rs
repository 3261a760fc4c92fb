use std::io;
use std::os::unix::net::UnixStream;

use super::*;
use crate::interrupt::tests::pair;
use crate::look::Look;
use crate::mock::{Answer, Kernel, next_turn, turn};

const LONG_S: u64 = 600;
const NOTHING: Opening = Opening {
    thread: None,
    files: Vec::new(),
};

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
    let ended = one_turn(
        "count",
        &NOTHING,
        &mut conversation,
        &mut terminal,
        &mut interrupts,
    )
    .await;
    assert_eq!(ended.unwrap(), Ended::Stopped);
    // The response was dropped: the kernel sees it, while the program goes on.
    kernel.client_left().await;

    let ended = one_turn(
        "go on",
        &NOTHING,
        &mut conversation,
        &mut terminal,
        &mut interrupts,
    )
    .await;
    assert_eq!(ended.unwrap(), Ended::Complete);
    let (out, err) = terminal.into_outputs();
    assert_eq!(String::from_utf8(out.shown).unwrap(), "one two \nfour\n");
    assert_eq!(String::from_utf8(err).unwrap(), "stopped\n");
    let requests = kernel.chat_requests();
    assert_eq!(requests[1]["type"], "threads.add_user_message");
    assert_eq!(requests[1]["params"]["thread_id"], "thr_1");
}
