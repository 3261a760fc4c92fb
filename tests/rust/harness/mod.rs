//! Starts kernels and talks to them. A failing test prints the exchange and the kernel's log.

mod kernel;
mod request;

pub(crate) use kernel::{Builder, Kernel, artifact};
pub(crate) use request::{Answer, Request, Stream, connect};
