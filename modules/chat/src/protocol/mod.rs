//! The ChatKit server protocol as data: requests, events, threads, items and pages.
//!
//! The shapes are those of `chatkit/types.py` in the Python package `openai-chatkit` 1.6.5, members that are `None` left
//! out, as its server does. What is stored, and what another module may send, is read as well as written. Nothing here acts.

pub(crate) mod attachment;
pub(crate) mod event;
pub(crate) mod icon;
pub(crate) mod id;
pub(crate) mod item;
pub(crate) mod message;
pub(crate) mod page;
pub(crate) mod request;
pub(crate) mod source;
pub(crate) mod structured_input;
pub(crate) mod thread;
pub(crate) mod timestamp;
pub(crate) mod tool_call;
pub(crate) mod update;
pub(crate) mod widget;
pub(crate) mod workflow;

#[cfg(test)]
mod tests;
