//! The pieces of a client of the Midplane HTTP API: where its kernel is, and how its streams read.

pub mod locate;
pub mod sse;
