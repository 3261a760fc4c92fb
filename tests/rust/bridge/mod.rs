//! The bridge: what a host and the kernel say to each other, and what a host cannot do to anyone else.

mod changed;
mod death;
mod grace;
mod handshake;
mod hosted;
mod hosts;
mod messages;
mod methods;
mod pressure;
mod secrets;

use serde_json::{Value, json};

use crate::harness::{Bridge, Builder, Kernel};

/// A kernel with the module `slow`, which is granted secrets.
fn slow() -> Builder {
    Kernel::builder().module("slow", "")
}

/// The kernel answers, over HTTP and to this host.
async fn expect_serving(kernel: &Kernel, host: &mut Bridge) {
    kernel.get("/health").send().await.expect_status(200);
    let listed = host.call("module/list", json!({})).await;
    assert!(listed.is_ok(), "{listed:?}");
}

#[track_caller]
fn expect_error(outcome: &Result<Value, Value>, code: i64, words: &str) {
    let error = outcome.as_ref().expect_err("an error");
    assert_eq!(error["code"], code, "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(words), "{words:?} in {message:?}");
}
