//! Integration tests: one binary that drives the real `midplane` process over its socket.
//!
//! Build the workspace first (`cargo build --workspace`): the kernel and the modules under test are taken from the folder
//! that this binary lies in. Each test has a kernel, a directory and a socket of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a failed expectation is how a test fails"
)]

#[expect(unused_imports, reason = "the tests use what they need")]
mod harness;

mod bridge;
mod chat;
mod conversation;
mod credentials;
mod errors;
mod events;
mod health;
mod limits;
mod module_routes;
mod modules;
mod process;
mod secrets;
mod sessions;
#[cfg(target_os = "linux")]
mod terminal_host;
mod tokens;
