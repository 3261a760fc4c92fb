//! OpenAI's Responses API.

mod event;
mod reader;
mod request;

pub(super) use reader::ResponsesReader;
pub(super) use request::request;
