//! The ChatKit server protocol as data: requests, events, threads, items and pages.
//!
//! The shapes are those of `chatkit/types.py` in the Python package `openai-chatkit` 1.6.5, members that are `None` left
//! out, as its server does. Nothing here acts; what is not offered yet has no type here.

pub(crate) mod attachment;
pub(crate) mod event;
pub(crate) mod id;
pub(crate) mod item;
pub(crate) mod page;
pub(crate) mod request;
pub(crate) mod thread;
pub(crate) mod timestamp;
