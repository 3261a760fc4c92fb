//! Conversations in the middle of turns: kernels are killed, and chat and store reloaded, while answers stream. Every item that a
//! client was told is done is there afterwards, as it was told, and a reload leaves turns whole.
//!
//! `MIDPLANE_KILLS` and `MIDPLANE_RELOADS` say how often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Chance, assert_sound, data_dir, times};
use crate::harness::{DEADLINE, Kernel, private_dir};

const KILLS: usize = 6;
const RELOADS: usize = 6;
const CLIENTS: usize = 4;
/// Pieces of answers that clients have had before a kill, at most: some turns are over by then, and some begin.
const PIECES_MAX: u64 = 120;
const WORDS: &str = "this is said and said again word by word while all around it ends";

async fn start(dir: &Arc<TempDir>, isolation: &str) -> Kernel {
    println!("chat and store {isolation}");
    let chat = "config = { provider = \"echo\", echo_delay = \"2ms\", store = \"durable\" }";
    Kernel::builder()
        .data_dir(&data_dir(dir))
        .module("chat", &format!("isolation = {isolation:?}\n{chat}"))
        .module("store", &format!("isolation = {isolation:?}"))
        .start()
        .await
}

/// What clients were told is done: threads, of each its items, of each its text.
type Done = BTreeMap<String, BTreeMap<String, String>>;

/// Where a client's turns go, and who counts what they bring.
struct Client {
    socket: std::path::PathBuf,
    token: String,
    pieces: Arc<watch::Sender<u64>>,
}

impl Client {
    /// One turn after the other in one thread, until the kernel is gone or `over`; what was done, and what ended a turn that did
    /// not end well.
    async fn talk(self, over: Arc<AtomicBool>) -> (Done, Vec<String>) {
        let (mut done, mut broken) = (Done::new(), Vec::new());
        let mut thread = None;
        while !over.load(Ordering::SeqCst) {
            let input = json!({"content": [{"type": "input_text", "text": WORDS}], "attachments": [], "inference_options": {}});
            let request = match &thread {
                None => json!({"type": "threads.create", "params": {"input": input}}),
                Some(thread) => {
                    json!({"type": "threads.add_user_message", "params": {"thread_id": thread, "input": input}})
                }
            };
            let mut turn = Turn::default();
            let whole = self.turn(&request, &mut turn).await;
            thread = thread.or_else(|| turn.thread.clone());
            if let Some(thread) = &thread {
                done.entry(thread.clone()).or_default().extend(turn.items);
            }
            if !(whole && turn.answered) {
                broken.push(turn.last);
                if !whole {
                    break;
                }
            }
        }
        (done, broken)
    }

    /// Whether the answer came to its end.
    async fn turn(&self, request: &Value, turn: &mut Turn) -> bool {
        let Ok(stream) = UnixStream::connect(&self.socket).await else {
            return false;
        };
        let Ok((mut sender, connection)) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await
        else {
            return false;
        };
        tokio::spawn(connection);
        let request = http::Request::post("/api/chat/chatkit")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(request.to_string())))
            .unwrap();
        let Ok(response) = sender.send_request(request).await else {
            return false;
        };
        let mut body = response.into_body();
        let mut text = String::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            if let Some(bytes) = frame.data_ref() {
                text += std::str::from_utf8(bytes).unwrap();
                self.pieces.send_modify(|pieces| *pieces += 1);
            }
            while let Some((event, rest)) = text.split_once("\n\n") {
                turn.hear(event);
                text = rest.to_owned();
            }
        }
        if !text.is_empty() {
            turn.last = text;
        }
        true
    }
}

/// What one turn has told.
#[derive(Default)]
struct Turn {
    thread: Option<String>,
    items: BTreeMap<String, String>,
    answered: bool,
    last: String,
}

impl Turn {
    fn hear(&mut self, event: &str) {
        self.last = event.to_owned();
        let Some(event) = event.strip_prefix("data: ") else {
            return;
        };
        let event: Value = serde_json::from_str(event).unwrap();
        match event["type"].as_str() {
            Some("thread.created") => {
                self.thread = event["thread"]["id"].as_str().map(str::to_owned);
            }
            Some("thread.item.done") => {
                let item = &event["item"];
                let id = item["id"].as_str().unwrap().to_owned();
                self.items.insert(id, text_of(item));
                self.answered |= item["type"] == "assistant_message";
            }
            _ => {}
        }
    }
}

fn text_of(item: &Value) -> String {
    item["content"][0]["text"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

struct Clients {
    tasks: JoinSet<(Done, Vec<String>)>,
    over: Arc<AtomicBool>,
    pieces: Arc<watch::Sender<u64>>,
}

impl Clients {
    async fn start(kernel: &Kernel) -> Clients {
        let (over, pieces) = (
            Arc::<AtomicBool>::default(),
            Arc::new(watch::Sender::new(0)),
        );
        let mut tasks = JoinSet::new();
        for _ in 0..CLIENTS {
            let session = json!({"modules": ["chat"], "user": "ada"});
            let client = Client {
                socket: kernel.socket.clone(),
                token: kernel.session(session).await,
                pieces: Arc::clone(&pieces),
            };
            tasks.spawn(client.talk(Arc::clone(&over)));
        }
        Clients {
            tasks,
            over,
            pieces,
        }
    }

    async fn wait_for_pieces(&self, count: u64) {
        let mut pieces = self.pieces.subscribe();
        let pieces = pieces.wait_for(|pieces| *pieces >= count);
        tokio::time::timeout(DEADLINE, pieces)
            .await
            .expect("answers come")
            .unwrap();
    }

    async fn end(self, done: &mut Done) -> Vec<String> {
        self.over.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for (told, broken) in self.tasks.join_all().await {
            for (thread, items) in told {
                done.entry(thread).or_default().extend(items);
            }
            all.extend(broken);
        }
        all
    }
}

/// Asks a kernel for all that was told to be done.
async fn assert_kept(kernel: &Kernel, done: &Done) {
    let session = json!({"modules": ["chat"], "user": "ada"});
    let token = kernel.session(session).await;
    for (thread, items) in done {
        let mut kept = BTreeMap::new();
        let mut after = Value::Null;
        loop {
            let params = json!({"thread_id": thread, "order": "asc", "limit": 100, "after": after});
            let request = kernel.post("/api/chat/chatkit").bearer(&token);
            let page = request
                .json(&json!({"type": "items.list", "params": params}))
                .send()
                .await;
            let page = page.expect_status(200).json();
            for item in page["data"].as_array().unwrap() {
                let id = item["id"].as_str().unwrap().to_owned();
                let twice = kept.insert(id, text_of(item));
                assert_eq!(twice, None, "{item} is there twice");
            }
            if page["has_more"] != true {
                break;
            }
            after = page["after"].clone();
        }
        for (id, text) in items {
            assert_eq!(kept.get(id), Some(text), "{thread} {id}: {kept:?}");
        }
    }
}

#[tokio::test]
async fn every_item_that_was_done_outlives_kills_in_the_middle_of_turns() {
    let dir = private_dir();
    let (mut chance, mut done) = (Chance(17), Done::new());
    for kill in 0..times("MIDPLANE_KILLS", KILLS) {
        let isolation = ["in-process", "process"][kill % 2];
        let kernel = start(&dir, isolation).await;
        let clients = Clients::start(&kernel).await;
        clients.wait_for_pieces(1 + chance.below(PIECES_MAX)).await;
        super::kills::pause(chance.below(3_000));
        kernel.signal(Signal::SIGKILL);
        kernel.wait().await;
        let mut told = Done::new();
        clients.end(&mut told).await;
        assert_sound(&data_dir(&dir));
        let kernel = start(&dir, isolation).await;
        assert_kept(&kernel, &told).await;
        done.append(&mut told);
        kernel.signal(Signal::SIGTERM);
        kernel.wait().await;
    }
    let items: usize = done.values().map(BTreeMap::len).sum();
    assert!(items > 2 * CLIENTS, "only {items} items were done");
    // Those of the first are there after the last.
    let kernel = start(&dir, "in-process").await;
    assert_kept(&kernel, &done).await;
}

#[tokio::test]
async fn reloads_of_chat_and_store_leave_turns_whole() {
    for isolation in ["in-process", "process"] {
        let dir = private_dir();
        let kernel = start(&dir, isolation).await;
        let clients = Clients::start(&kernel).await;
        for round in 0..times("MIDPLANE_RELOADS", RELOADS) {
            // Some of them with turns under way that the one before has not seen.
            clients.wait_for_pieces(10 * round as u64).await;
            for module in ["store", "chat"] {
                super::reloads::reload(&kernel, module).await;
            }
        }
        let mut done = Done::new();
        let broken = clients.end(&mut done).await;
        assert_eq!(broken, [""; 0], "{isolation}");
        let turns: usize = done.values().map(|items| items.len() / 2).sum();
        assert!(turns > CLIENTS, "only {turns} turns");
        println!("{turns} turns");
        assert_kept(&kernel, &done).await;
        kernel.signal(Signal::SIGKILL);
        kernel.wait().await;
        assert_sound(&data_dir(&dir));
        assert_kept(&start(&dir, isolation).await, &done).await;
    }
}
