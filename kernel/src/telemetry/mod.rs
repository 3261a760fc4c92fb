//! What the kernel tells the outside about itself: log lines on standard error.
//!
//! No line holds a credential, and no write waits: what standard error does not take in time is dropped and counted.

mod filter;
mod line;
mod log;

pub(crate) use filter::Filter;
pub(crate) use log::{LogHandle, LogListener, Logging, ModuleLine, ModuleLog, install, level_of};
