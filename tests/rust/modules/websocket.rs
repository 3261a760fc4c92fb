//! WebSockets: `tests/modules/sockets` through a real kernel.

mod drain;
mod ends;
mod handshake;
mod messages;
mod pressure;
mod sessions;

use serde_json::{Value, json};

use super::eventually;
use crate::harness::Kernel;

/// A kernel with the module `sockets`, and a token of a session for it.
async fn sockets(config: &str) -> (Kernel, String) {
    let builder = Kernel::builder().config(config);
    let kernel = builder.module("sockets", "").start().await;
    let token = kernel.session(json!({"user": "ada"})).await;
    (kernel, token)
}

/// What `GET /modules/sockets` says.
async fn module(kernel: &Kernel) -> Value {
    let answer = kernel.host("GET", "/modules/sockets").send().await;
    answer.expect_status(200).json()
}

/// Waits until no socket is open and no request under way.
async fn at_rest(kernel: &Kernel) {
    eventually(kernel, "the end of every socket", async || {
        let module = module(kernel).await;
        (module["open_websockets"] == 0 && module["in_flight_requests"] == 0).then_some(())
    })
    .await;
}

/// The value of a metric of the module's.
async fn metric(kernel: &Kernel, name: &str) -> f64 {
    let answer = kernel.host("GET", "/metrics").send().await;
    let start = format!("midplane_{name}{{module=\"sockets\"}} ");
    let line = answer
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {name} in {answer}"))
        .parse()
        .unwrap()
}
