//! Who answers: a model behind an OpenAI-compatible API, or the echo.
//!
//! A provider turns a conversation into a stream of [`Delta`]s and knows neither ChatKit's events nor the store.

mod calls;
mod chat_completions;
mod client;
mod conversation;
mod echo;
mod error;
mod event_stream;
mod openai;
mod responses;

use std::sync::Arc;

use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

pub(crate) use conversation::{Conversation, Message, Part, Tool};
pub(crate) use echo::Echo;
pub(crate) use error::ProviderError;
pub(crate) use openai::{OpenAi, OpenAiSettings};

use crate::credential::Credential;
use crate::protocol::event::Notice;
use crate::protocol::source::Annotation;

/// What a provider says, piece by piece. Dropping it stops the request behind it at once.
pub(crate) type Deltas = BoxStream<'static, Result<Delta, ProviderError>>;

pub(crate) trait Provider: Send + Sync {
    /// Answers a conversation. The stream ends with [`Delta::Done`] or an error.
    fn answer(&self, conversation: Conversation, credential: Arc<dyn Credential>) -> Deltas;

    /// What the user should know of this provider before it answers.
    fn notice(&self) -> Option<Notice> {
        None
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Delta {
    Text(String),
    /// What follows is of a further part of the message, or of a further message.
    NextPart,
    NextMessage,
    /// What the words of this part rest on.
    Annotation(Annotation),
    /// Of the model's own refusal, in its words. It stands where the text would.
    Refusal(String),
    /// The model thinks; it need not tell what.
    Thinking,
    /// Of the model's reasoning, or a summary of it; a new `part` starts a new thought.
    Thought {
        part: u64,
        text: String,
    },
    /// A whole call of one of the conversation's tools.
    ToolCall {
        call_id: String,
        name: String,
        /// A JSON object.
        arguments: String,
    },
    /// What the answer cost: at most once, before the end. Not every server counts.
    Usage(Usage),
    Done(Ending),
}

/// Tokens, as the provider counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    pub(crate) input_tokens: u64,
    /// Of the input, what the provider had read before.
    pub(crate) cached_input_tokens: u64,
    pub(crate) output_tokens: u64,
    /// Of the output, what the model thought.
    pub(crate) reasoning_tokens: u64,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The model has said what it had to say, or called tools and waits for what they give.
    Complete,
    /// At the model's or the request's longest answer.
    LengthLimit,
    /// The provider withheld the rest.
    Filtered,
}

#[cfg(test)]
mod tests;
