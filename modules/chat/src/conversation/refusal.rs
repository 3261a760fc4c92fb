//! Requests that are not carried out, and what to do about it.

use http::StatusCode;
use midplane_sdk::Problem;

use super::TITLE_BYTES_MAX;
use crate::attachments;
use crate::protocol::id::ItemId;
use crate::store::StoreError;
use crate::transcription;
use crate::turn::Failure;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Attachments(#[from] attachments::Refusal),
    #[error(transparent)]
    Transcription(#[from] transcription::Refusal),
    #[error("the message is empty: give `content` at least one part with text, or attach a file")]
    EmptyMessage,
    #[error(
        "the model `{0}` is not among those configured: leave `inference_options.model` out, or add it to `models`"
    )]
    Model(String),
    #[error(
        "the tool `{0}` is not among those configured: leave `inference_options.tool_choice` out, or add it to `tools`"
    )]
    ToolChoice(String),
    #[error("`item_id` {0} is not a message of the user: name the message to answer again")]
    NotAUserMessage(ItemId),
    #[error(
        "the thread's last item is no client tool call that waits for an output: send one only once, and only right after the call"
    )]
    NoPendingCall,
    #[error("`item_id` {0} asks for no structured input: name the item with the form")]
    NotAForm(ItemId),
    #[error("the form {0} was answered already: load the thread again to see with what")]
    FormAnswered(ItemId),
    #[error("`item_id` {0} is no widget: name the one the action comes from, or leave it out")]
    NotAWidget(ItemId),
    #[error(
        "no module carries out actions here: name one in `actions` of the chat module's configuration"
    )]
    NoActions,
    #[error("{0}")]
    Action(Failure),
    #[error("`title` has more than {TITLE_BYTES_MAX} bytes: shorten it")]
    LongTitle,
}

impl Refusal {
    /// As a client is told.
    pub(crate) fn problem(self) -> Problem {
        let (status, code) = match &self {
            Refusal::Store(error) => return error.problem(),
            Refusal::Attachments(refusal) => return refusal.problem(),
            Refusal::Transcription(refusal) => return refusal.problem(),
            Refusal::NoActions => (StatusCode::NOT_IMPLEMENTED, "not_offered"),
            Refusal::NoPendingCall | Refusal::FormAnswered(_) => (StatusCode::CONFLICT, "conflict"),
            Refusal::Action(_) => (StatusCode::BAD_GATEWAY, "action_failed"),
            Refusal::EmptyMessage
            | Refusal::Model(_)
            | Refusal::ToolChoice(_)
            | Refusal::NotAUserMessage(_)
            | Refusal::NotAForm(_)
            | Refusal::NotAWidget(_)
            | Refusal::LongTitle => (StatusCode::BAD_REQUEST, "invalid_request"),
        };
        Problem::new(status, code, self.to_string())
    }
}
