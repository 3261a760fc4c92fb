//! Many clients load, reload, unload and use one module at once: whatever comes of it is documented, and nothing is left.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{DEADLINE, eventually, expect_well, faults, logged};
use crate::harness::{Kernel, Request, private_copies};

/// How long it goes on at least: some hundred loads in a debug build, a dozen on a machine that is busy.
const CHAOS: Duration = Duration::from_secs(3);
const CLIENTS: u64 = 8;

struct Chaos {
    kernel: Kernel,
    token: String,
    artifact: PathBuf,
    counts: [AtomicU64; 4],
    /// The generations that gave an answer which was cut.
    cut: Mutex<HashSet<String>>,
}

/// What a client does, and the index of what it counts.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Load,
    Reload { wait: bool },
    Unload,
    Use(&'static str),
}

impl Turn {
    fn of(number: u64) -> Turn {
        match number % 9 {
            0 => Turn::Load,
            1 => Turn::Reload { wait: true },
            2 | 3 => Turn::Reload { wait: false },
            4 => Turn::Unload,
            5 => Turn::Use("marker"),
            6 => Turn::Use("timer"),
            // Some of these outlast the drain of an unload.
            _ => Turn::Use("count-to/5/8"),
        }
    }

    fn index(self) -> usize {
        match self {
            Turn::Load => 0,
            Turn::Reload { .. } => 1,
            Turn::Unload => 2,
            Turn::Use(_) => 3,
        }
    }

    /// Statuses, and the codes of problems, that are documented for it.
    fn allowed(self) -> &'static [(u16, &'static str)] {
        match self {
            Turn::Load => &[(200, ""), (201, ""), (409, "module_busy")],
            Turn::Reload { .. } | Turn::Unload => {
                &[(200, ""), (404, "module_not_found"), (409, "module_busy")]
            }
            Turn::Use(_) => &[(200, ""), (404, "module_not_found"), (503, "draining")],
        }
    }
}

impl Chaos {
    fn request(&self, turn: Turn) -> Request {
        let kernel = &self.kernel;
        match turn {
            Turn::Load => put(kernel, &self.artifact),
            Turn::Reload { wait } => {
                let query = if wait { "?wait=drained" } else { "" };
                let path = format!("/modules/faults/reload{query}");
                kernel.host("POST", &path).json(&json!({}))
            }
            Turn::Unload => kernel.host("DELETE", "/modules/faults?drain_ms=20"),
            Turn::Use(path) => kernel
                .get(&format!("/api/faults/{path}"))
                .bearer(&self.token),
        }
    }

    async fn take(&self, turn: Turn) {
        let answer = self.request(turn).stream().await;
        let status = answer.parts.status.as_u16();
        let by = answer.parts.headers.get("x-midplane-module").cloned();
        let (text, whole) = answer.rest().await;
        if !whole {
            // A body that is no event stream is cut when the drain of its generation has taken too long, and only then: on a
            // busy machine, a short one too.
            assert!(matches!(turn, Turn::Use(_)), "{turn:?}");
            let by = by.expect("only a module's answer is cut");
            let by = by.to_str().unwrap().to_owned();
            self.cut.lock().unwrap().insert(by);
            return;
        }
        let code = match status {
            200 | 201 => String::new(),
            _ => {
                let problem: Value = serde_json::from_str(&text).unwrap();
                problem["code"].as_str().unwrap().to_owned()
            }
        };
        assert!(
            turn.allowed().contains(&(status, code.as_str())),
            "{turn:?}: {status} {text}"
        );
        if code.is_empty() {
            self.counts[turn.index()].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It has gone on for long enough, and every kind of turn has succeeded.
    fn is_enough(&self, start: Instant) -> bool {
        let counts = self.counts.each_ref().map(|n| n.load(Ordering::Relaxed));
        assert!(start.elapsed() < DEADLINE, "{counts:?}");
        start.elapsed() >= CHAOS && counts.iter().all(|count| *count > 0)
    }
}

fn put(kernel: &Kernel, artifact: &std::path::Path) -> Request {
    let put = kernel.host("PUT", "/modules/faults");
    put.json(&json!({ "path": artifact }))
}

#[tokio::test]
async fn loads_and_unloads_from_many_sides_answer_what_is_documented_and_leave_nothing() {
    let (kernel, token) = faults("drain_timeout = \"200ms\"").await;
    let artifact = kernel.dir.path().join("modules/libmidplane_faults.so");
    let chaos = Arc::new(Chaos {
        kernel,
        token,
        artifact,
        counts: Default::default(),
        cut: Mutex::default(),
    });
    let start = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let chaos = Arc::clone(&chaos);
        clients.spawn(async move {
            // Each in an order of its own.
            let mut number = client;
            while !chaos.is_enough(start) {
                chaos.take(Turn::of(number)).await;
                number = number.wrapping_mul(5).wrapping_add(client + 1);
            }
        });
    }
    clients.join_all().await;

    let kernel = &chaos.kernel;
    let cut = chaos.cut.lock().unwrap().clone();
    for by in cut {
        logged(
            kernel,
            &[&format!("{{module={by}}}"), "what still ran was cut"],
        )
        .await;
    }
    let answer = put(kernel, &chaos.artifact).send().await;
    assert!([200, 201].contains(&answer.status()), "{answer}");
    expect_well(kernel, &chaos.token).await;
    let health = kernel.host("GET", "/health").send().await;
    assert_eq!(health.expect_status(200).json()["status"], "ok", "{health}");

    let gone = kernel.host("DELETE", "/modules/faults").send().await;
    assert_eq!(gone.expect_status(200).json()["unloaded"], true, "{gone}");
    eventually(kernel, "the end of every generation", async || {
        let list = kernel.host("GET", "/modules").send().await.json();
        let none = list["modules"] == json!([]) && list["draining"] == json!([]);
        (none && kernel.mapped_copies().is_empty()).then_some(())
    })
    .await;
    let copies = private_copies(kernel.dir.path());
    assert!(copies.is_empty(), "{copies:?}");
    kernel.signal(Signal::SIGTERM);
    assert!(kernel.wait().await.success());
}
