//! The module's side of the C ABI; the only unsafe code of the SDK.
//!
//! `host` makes the kernel's functions safe to call, `export` are the functions the kernel calls, `instance` is what they act
//! on, `calls` are requests to other modules, `metrics` the module's numbers, `head` and `task` are one request, and `loopback` stands in for the kernel in unit
//! tests. They trust the kernel to keep the rules written in `midplane-abi`, and nobody else.

#![expect(unsafe_code, reason = "this folder is where the C ABI is crossed")]

pub(crate) mod calls;
pub(crate) mod export;
mod head;
pub(crate) mod host;
pub(crate) mod instance;
pub(crate) mod loopback;
pub(crate) mod metrics;
pub(crate) mod task;
