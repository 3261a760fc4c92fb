//! OpenAI's Responses API.

mod reader;
mod request;

pub(super) use reader::ResponsesReader;
pub(super) use request::request;
