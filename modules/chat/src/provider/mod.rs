//! Who answers: a model behind an OpenAI-compatible API, or the echo.
//!
//! A provider turns a conversation into a stream of [`Delta`]s and knows neither ChatKit's events nor the store.

mod client;
mod echo;
mod error;
mod event_stream;
mod openai;
mod openai_chat;
mod openai_responses;

use std::sync::Arc;

use futures_util::stream::BoxStream;

pub(crate) use echo::Echo;
pub(crate) use error::ProviderError;
pub(crate) use openai::{OpenAi, OpenAiSettings};

use crate::credential::Credential;
use crate::protocol::event::Notice;

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conversation {
    /// In place of the configured model.
    pub(crate) model: Option<String>,
    pub(crate) messages: Vec<Message>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) role: Role,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    User,
    Assistant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delta {
    Text(String),
    /// Of a summary of the model's reasoning; a new `part` starts a new thought.
    Thought {
        part: u64,
        text: String,
    },
    Done(Ending),
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Complete,
    /// At the model's or the request's longest answer.
    LengthLimit,
    /// The provider withheld the rest.
    Filtered,
}
