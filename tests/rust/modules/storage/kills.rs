//! Kernels, and the store's process, are killed at any instant while clients write: what was acknowledged is there, nothing is
//! there by half, and the file is sound. In every mix of isolations, alone and beside a kernel that goes on.
//!
//! `MIDPLANE_KILLS=200 cargo test -p midplane-tests storage::kills` kills more often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Chance, Notes, assert_sound, data_dir, isolations, store, times};
use crate::harness::{connect, eventually, private_dir};

const KILLS: usize = 12;
/// Clients of one kernel, each with a connection.
const WRITERS: usize = 6;
/// Acknowledgements before a kill, at most: kernels are killed early and late in their lives.
const ACKNOWLEDGED_MAX: u64 = 60;
/// And after the last of them, at most: longer than a commit takes.
const PAUSE_US_MAX: u64 = 3_000;

/// What one client was told.
#[derive(Default)]
struct Told {
    /// Keys that were written once, each with its own name as value.
    written: Vec<String>,
    /// The highest count.
    count: u64,
    /// How often counting was asked for.
    asked: u64,
    /// Answers other than 200.
    refused: Vec<String>,
}

#[derive(Default)]
struct Expected {
    written: Vec<String>,
    count: u64,
    asked: u64,
}

impl Expected {
    fn add(&mut self, told: Told) {
        self.written.extend(told.written);
        self.count = self.count.max(told.count);
        self.asked += told.asked;
    }

    /// Reads the file as it was left.
    fn assert_kept(&self, dir: &TempDir, what: &str) {
        assert_sound(&data_dir(dir));
        let kept = exported(dir);
        for key in &self.written {
            assert_eq!(
                kept.get(key.as_str()).map(String::as_str),
                Some(key.as_str()),
                "{what}: {key} was acknowledged"
            );
        }
        let count = |key: &str| kept.get(key).map_or(0, |count| count.parse().unwrap());
        let counted: u64 = count("count");
        assert!(
            (self.count..=self.asked).contains(&counted),
            "{what}: {} was acknowledged, {} were asked for, {counted} is kept",
            self.count,
            self.asked
        );
        assert_eq!(counted, count("mirror-count"), "{what}: half a commit");
    }
}

fn exported(dir: &TempDir) -> BTreeMap<String, String> {
    let exported = store(&data_dir(dir), &["export", "--module", "notes"]);
    let lines = String::from_utf8(exported.stdout).unwrap();
    let text = |line: &Value, member: &str| {
        let bytes = BASE64_STANDARD.decode(line[member].as_str().unwrap());
        String::from_utf8(bytes.unwrap()).unwrap()
    };
    lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (text(&line, "key"), text(&line, "value")))
        .collect()
}

/// The clients of one kernel. They write until it is gone, or until they are told to end.
struct Writers {
    tasks: JoinSet<Told>,
    /// How many answers all of them have had.
    answered: Arc<watch::Sender<u64>>,
    over: watch::Sender<bool>,
}

impl Writers {
    fn start(notes: &Arc<Notes>, name: &str) -> Writers {
        let (answered, over) = (Arc::new(watch::Sender::new(0)), watch::Sender::new(false));
        let mut tasks = JoinSet::new();
        for writer in 0..WRITERS {
            let (notes, answered) = (Arc::clone(notes), Arc::clone(&answered));
            tasks.spawn(write(
                notes,
                format!("{name}-{writer}"),
                answered,
                over.subscribe(),
            ));
        }
        Writers {
            tasks,
            answered,
            over,
        }
    }

    async fn wait_for_answers(&self, count: u64) {
        let mut answered = self.answered.subscribe();
        let end = *answered.borrow() + count;
        let answered = answered.wait_for(|answered| *answered >= end);
        let answered = tokio::time::timeout(crate::harness::DEADLINE, answered).await;
        answered.expect("clients are answered").unwrap();
    }

    /// What they were told in the end.
    async fn end(self) -> Vec<Told> {
        self.over.send_replace(true);
        self.tasks.join_all().await
    }
}

async fn write(
    notes: Arc<Notes>,
    name: String,
    answered: Arc<watch::Sender<u64>>,
    over: watch::Receiver<bool>,
) -> Told {
    let (mut sender, _connection) = connect(&notes.kernel.socket).await;
    let mut told = Told::default();
    for n in 0.. {
        if *over.borrow() {
            break;
        }
        let key = format!("{name}-{n}");
        let (method, path, body) = if n % 3 == 0 {
            told.asked += 1;
            ("POST", "/api/notes/add/count".to_owned(), String::new())
        } else {
            ("PUT", format!("/api/notes/notes/{key}"), key.clone())
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", notes.token));
        let sent = async {
            sender.ready().await?;
            let response = sender
                .send_request(request.body(body.into()).unwrap())
                .await?;
            let (parts, body) = response.into_parts();
            let body = http_body_util::BodyExt::collect(body).await?.to_bytes();
            Ok::<_, hyper::Error>((parts.status, String::from_utf8(body.to_vec()).unwrap()))
        };
        // It is gone.
        let Ok((status, text)) = sent.await else {
            break;
        };
        match (status.as_u16(), method) {
            (200, "PUT") => told.written.push(key),
            (200, _) => told.count = told.count.max(text.parse().unwrap()),
            _ => told.refused.push(format!("{status} {text}")),
        }
        answered.send_modify(|answered| *answered += 1);
    }
    told
}

#[tokio::test]
async fn acknowledged_writes_outlive_kills_at_any_instant() {
    let dir = private_dir();
    let mut chance = Chance(11);
    let mut expected = Expected::default();
    let mut window: Option<(Arc<Notes>, Writers)> = None;
    for number in 0..times("MIDPLANE_KILLS", KILLS) {
        let isolations = isolations()[number % 4];
        let name = format!("kill {number}, {isolations:?}");
        let notes = Arc::new(Notes::start(&dir, isolations, "").await);
        let writers = Writers::start(&notes, &format!("k{number}"));
        if number % 3 == 1 && window.is_none() {
            let beside = Arc::new(Notes::start(&dir, isolations, "").await);
            let writers = Writers::start(&beside, &format!("w{number}"));
            window = Some((beside, writers));
        }
        writers
            .wait_for_answers(1 + chance.below(ACKNOWLEDGED_MAX))
            .await;
        pause(chance.below(PAUSE_US_MAX));
        if isolations.1 == "process" && chance.below(2) == 0 {
            kill_store(&notes).await;
            writers.wait_for_answers(chance.below(10)).await;
            pause(chance.below(PAUSE_US_MAX));
        }
        notes.kernel.signal(Signal::SIGKILL);
        notes.kernel.wait().await;
        for told in writers.end().await {
            // What is refused at all is refused because the store's process has just ended.
            for refusal in &told.refused {
                assert!(refusal.starts_with("503 "), "{name}: {refusal}");
                assert!(isolations.1 == "process", "{name}: {refusal}");
            }
            expected.add(told);
        }
        if number % 3 == 2
            && let Some((beside, writers)) = window.take()
        {
            // The other window has not noticed.
            writers.wait_for_answers(10).await;
            for told in writers.end().await {
                assert_eq!(told.refused, [""; 0], "{name}");
                expected.add(told);
            }
            beside.kernel.signal(Signal::SIGTERM);
            assert!(beside.kernel.wait().await.success());
        }
        if window.is_none() {
            expected.assert_kept(&dir, &name);
        }
    }
    drop(window);
    assert!(
        expected.written.len() > 50 && expected.count > 20,
        "hardly anything was written: {} and {}",
        expected.written.len(),
        expected.count
    );
    let notes = Notes::start(&dir, isolations()[0], "").await;
    let count = notes.well("GET", "/notes/count", "").await;
    assert!(count.parse::<u64>().unwrap() >= expected.count);
}

/// Ends the store's process, and waits until another one serves.
async fn kill_store(notes: &Notes) {
    let before = store_process(notes).await.expect("it has a process");
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    eventually("another process of the store", async || {
        store_process(notes).await.filter(|pid| *pid != before)
    })
    .await;
}

async fn store_process(notes: &Notes) -> Option<i32> {
    let answer = notes.kernel.host("GET", "/modules/store").send().await;
    let pid = answer.json()["process"]["pid"].as_i64()?;
    i32::try_from(pid).ok()
}

/// A fraction of the time that a commit takes, which no timer would hit.
pub(super) fn pause(us: u64) {
    let until = Instant::now() + Duration::from_micros(us);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}
