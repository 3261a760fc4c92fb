//! Modules in processes of their own: what comes of each way to end one, and that nobody else notices.

mod crashes;
mod ends;
mod hostile;
mod reload;
mod restarts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::eventually;
use crate::harness::{Answer, Builder, Kernel, Request, Stream, connect, stat};

const APART: &str = "isolation = \"process\"";
/// Why a hand-over is given up.
const OVERDUE: &str = "longer than the 250 ms that requests may wait";
/// Why none is begun, soon after one that was given up.
const STILL_SAVING: &str = "has not returned since an earlier reload";
const HERE: &str = "isolation = \"in-process\"";

/// A kernel with `crash` in a process of its own, and `hello` in the kernel's, which is called all the time.
struct Apart {
    kernel: Arc<Kernel>,
    token: String,
    events: Stream,
    /// Of the events, what was read and not yet looked at.
    unread: String,
    bystander: Bystander,
}

/// A client that needs nothing of the module in its own process: no request of its may fail.
struct Bystander {
    over: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    client: JoinHandle<()>,
}

impl Apart {
    /// `settings` are lines of `[modules.crash]`.
    async fn start(config: &str, settings: &str) -> Apart {
        let builder = Kernel::builder().config(config);
        Apart::from(builder.module("crash", &format!("{APART}\n{settings}"))).await
    }

    async fn from(builder: Builder) -> Apart {
        let kernel = Arc::new(builder.module("hello", HERE).start().await);
        let token = kernel.session(json!({"user": "ada"})).await;
        let mut events = kernel.host("GET", "/events").stream().await;
        events.read_until(": listening\n\n").await;
        Apart {
            bystander: Bystander::start(&kernel, &token),
            kernel,
            token,
            events,
            unread: String::new(),
        }
    }

    fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    fn request(&self, method: &str, path: &str) -> Request {
        let path = format!("/api/crash/{path}");
        self.kernel.request(method, &path).bearer(&self.token)
    }

    /// What a good answer says.
    async fn text(&self, path: &str) -> String {
        let answer = self.get(path).send().await;
        answer.expect_status(200).text().to_owned()
    }

    /// Opens a stream, and reads its first piece.
    async fn open(&self, path: &str, first: &str) -> Stream {
        let mut stream = self.get(path).stream().await;
        stream.read_until(first).await;
        stream
    }

    /// What `GET /modules/crash` says.
    async fn module(&self) -> Value {
        let answer = self.kernel.host("GET", "/modules/crash").send().await;
        answer.expect_status(200).json()
    }

    /// Waits until so many requests are under way in it.
    async fn under_way(&self, requests: u64) {
        eventually(&self.kernel, "requests under way", async || {
            (self.module().await["in_flight_requests"] == requests).then_some(())
        })
        .await;
    }

    /// The process of the generation that serves.
    async fn process(&self) -> Process {
        eventually(&self.kernel, "a process", async || {
            let pid = self.module().await["process"]["pid"].as_u64()?;
            Process::find(u32::try_from(pid).unwrap())
        })
        .await
    }

    async fn reload_once(&self, query: &str, body: &Value) -> Answer {
        let path = format!("/modules/crash/reload{query}");
        self.kernel.host("POST", &path).json(body).send().await
    }

    /// The receipt, when the old one is gone. A busy machine may not hand state over in the time that requests may wait:
    /// then the old one goes on, and it is tried again.
    async fn reload(&self, body: &Value) -> Value {
        eventually(&self.kernel, "a reload", async || {
            self.try_reload("?wait=drained", body).await
        })
        .await
    }

    /// As [`Apart::reload`], when the new one serves.
    async fn swap(&self) -> Value {
        eventually(&self.kernel, "a swap", async || {
            self.try_reload("", &json!({})).await
        })
        .await
    }

    async fn try_reload(&self, query: &str, body: &Value) -> Option<Value> {
        let answer = self.reload_once(query, body).await;
        let told = |reason| answer.status() == 422 && answer.text().contains(reason);
        if told(OVERDUE) || told(STILL_SAVING) {
            return None;
        }
        Some(answer.expect_status(200).json())
    }

    /// The next event of this type.
    async fn event(&mut self, of_type: &str) -> Value {
        loop {
            let Some((event, rest)) = self.unread.split_once("\n\n") else {
                self.unread += &self.events.read_until("\n\n").await;
                continue;
            };
            let data = event.strip_prefix("data: ").unwrap().to_owned();
            self.unread = rest.to_owned();
            let event: Value = serde_json::from_str(&data).unwrap();
            if event["type"] == of_type {
                assert_eq!(data.matches("\"at\":").count(), 1, "{data}");
                return event;
            }
        }
    }

    /// Nobody else has noticed anything.
    async fn expect_unnoticed(self) {
        self.bystander.stop().await;
        assert!(Process::find(self.kernel.pid().as_raw().unsigned_abs()).is_some());
    }
}

impl Bystander {
    fn start(kernel: &Arc<Kernel>, token: &str) -> Bystander {
        let (over, rounds) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let client = tokio::spawn({
            let (kernel, token) = (Arc::clone(kernel), token.to_owned());
            let (over, rounds) = (Arc::clone(&over), Arc::clone(&rounds));
            async move {
                let (mut sender, _connection) = connect(&kernel.socket).await;
                while !over.load(Ordering::SeqCst) {
                    for (path, bearer) in [
                        ("/api/hello/hello", &token),
                        ("/health", &kernel.host_key),
                        ("/sessions/current", &token),
                        ("/modules", &kernel.host_key),
                    ] {
                        let request = kernel.get(path).bearer(bearer);
                        let kept = request.send_on(&mut sender).await;
                        kept.expect_status(200);
                    }
                    // One that has to be accepted, too.
                    let new = kernel.get("/api/hello/hello").bearer(&token).send().await;
                    assert_eq!(new.expect_status(200).text(), "hello ada");
                    rounds.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Bystander {
            over,
            rounds,
            client,
        }
    }

    /// Once it has gone round again.
    async fn stop(self) {
        let (rounds, client) = (&self.rounds, &self.client);
        let before = rounds.load(Ordering::SeqCst);
        crate::harness::eventually("another round", async || {
            let round = rounds.load(Ordering::SeqCst) > before;
            (round || client.is_finished()).then_some(())
        })
        .await;
        self.over.store(true, Ordering::SeqCst);
        self.client.await.unwrap();
    }
}

/// A process, not mistaken for a later one of the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: u32,
    /// proc_pid_stat(5), the 22nd field.
    start: u64,
}

impl Process {
    /// One that lives.
    fn find(pid: u32) -> Option<Process> {
        let fields = stat(pid)?;
        // The third field: a zombie has ended.
        (fields[0] != "Z").then(|| Process {
            pid,
            start: fields[19].parse().unwrap(),
        })
    }

    /// Those that the kernel has started and that live.
    fn children(kernel: &Kernel) -> Vec<Process> {
        kernel
            .children()
            .into_iter()
            .filter_map(Process::find)
            .collect()
    }

    fn lives(&self) -> bool {
        Process::find(self.pid).as_ref() == Some(self)
    }

    fn kill(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
}
