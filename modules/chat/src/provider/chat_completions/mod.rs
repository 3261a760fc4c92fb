//! OpenAI's Chat Completions API, which most local servers speak.

mod reader;
mod request;

pub(super) use reader::ChatReader;
pub(super) use request::request;
