//! Starts kernels and talks to them. A failing test prints the exchange and the kernel's log.

mod bridge;
mod c;
mod frozen;
mod hello;
mod isolation;
mod kernel;
mod openmetrics;
mod raw;
mod remains;
mod request;
mod websocket;

use std::future::Future;
use std::time::{Duration, Instant};

pub(crate) use bridge::{BRIDGE_AT_3, Bridge, framed};
pub(crate) use c::{c_module, compile, repository};
pub(crate) use frozen::{Frozen, frozen_modules};
pub(crate) use hello::{Hello, hellos};
pub(crate) use isolation::{OnlyHere, apart};
pub(crate) use kernel::{Builder, DEADLINE, Kernel, artifact, private_dir, target_dir};
pub(crate) use openmetrics::Exposition;
pub(crate) use raw::{Raw, RawAnswer};
pub(crate) use remains::{private_copies, stat};
pub(crate) use request::{Answer, Request, Stream, connect};
pub(crate) use websocket::{BINARY, CLOSE, Frames, PING, PONG, TEXT, WebSocket, masked};

/// Asks again and again until the answer is there.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
