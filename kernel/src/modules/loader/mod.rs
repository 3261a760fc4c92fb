//! The kernel's side of the C ABI; the only unsafe code of the kernel's module system.
//!
//! What comes from a module is a claim: pointers are looked at during the call they were given for and no longer, lengths
//! are bounded, numbers become types or errors. Outside this folder a module is [`Instance`] and [`Task`], which are safe:
//! a task is polled through `&mut`, so serially, and freed once, by dropping it.

#![expect(unsafe_code, reason = "this folder is where the C ABI is crossed")]

mod code;
mod end;
mod host;
mod host_call;
mod host_metrics;
mod host_socket;
mod library;
mod owner;
mod read;
mod unopened;

pub(crate) use code::{RetiredCode, StillMapped, mapped, try_open};
pub(crate) use end::end_process;
pub(crate) use library::{Instance, LoadError, OPENAPI_LEN_MAX, Opened, Task};
pub(crate) use owner::Owner;
