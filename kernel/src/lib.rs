//! The Midplane kernel: sessions, secrets and modules on a private Unix socket, and nothing else.
//!
//! The library exists for `main.rs`, the examples and the fuzz targets; it is not an interface for anyone else.

mod cli;
mod config;
mod hardening;
mod problem;
mod readiness;
mod secrets;
mod session;
mod signals;
mod socket;
mod telemetry;
