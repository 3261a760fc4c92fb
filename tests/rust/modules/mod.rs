//! What a module may do wrong, and what the kernel then does: each fault of `tests/modules/faults`, through a real kernel.

mod abi;
mod bodies;
mod c;
mod calls;
mod chaos;
mod data_dir;
mod exclusive;
mod frozen;
mod heads;
#[cfg(target_os = "linux")]
mod isolation;
mod kills;
mod leaving;
mod log;
mod metrics;
mod panics;
mod quarantine;
mod receipts;
mod refusals;
mod reload;
mod rollback;
mod sessions;
mod state;
mod storage;
mod stuck;
mod swap;
mod unload;
mod watch;
mod websocket;
mod wire;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::Kernel;

/// As the harness's: more than any step takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A kernel with the module `faults`, and a token of a session for it.
async fn faults(settings: &str) -> (Kernel, String) {
    let kernel = Kernel::builder().module("faults", settings).start().await;
    let token = kernel.session(json!({"user": "ada"})).await;
    (kernel, token)
}

/// Waits until `condition` gives something.
pub(crate) async fn eventually<T>(
    kernel: &Kernel,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "{what} did not happen:\n{}",
            kernel.log()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for a line of the log that has all of these in it.
pub(crate) async fn logged(kernel: &Kernel, texts: &[&str]) -> String {
    let find = |log: String| {
        log.lines()
            .find(|line| texts.iter().all(|text| line.contains(text)))
            .map(str::to_owned)
    };
    eventually(kernel, &format!("a line with {texts:?}"), async || {
        find(kernel.log())
    })
    .await
}

/// How often the module has counted `what`.
async fn count(kernel: &Kernel, token: &str, what: &str) -> u64 {
    let counts = kernel.get("/api/faults/counts").bearer(token).send().await;
    counts.expect_status(200).json()[what].as_u64().unwrap_or(0)
}

/// Waits until the module has counted `what` so often.
async fn counted(kernel: &Kernel, token: &str, what: &str, times: u64) {
    eventually(kernel, what, async || {
        (count(kernel, token, what).await >= times).then_some(())
    })
    .await;
}

/// The module answers as ever.
async fn expect_well(kernel: &Kernel, token: &str) {
    kernel
        .get("/api/faults/timer")
        .bearer(token)
        .send()
        .await
        .expect_status(200);
}

/// What `GET /modules/faults` says.
async fn module(kernel: &Kernel) -> Value {
    let answer = kernel.host("GET", "/modules/faults").send().await;
    answer.expect_status(200).json()
}
