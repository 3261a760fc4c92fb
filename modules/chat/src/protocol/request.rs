//! Reads a request, and says what is wrong with one.
//!
//! Members that are not known are ignored, as the reference ignores them: clients are newer than servers.

use http::StatusCode;
use midplane_sdk::Problem;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::attachment::{CreateAttachment, DeleteAttachment, Transcribe};
use super::id::{AttachmentId, ItemId, ThreadId};
use super::message::{InferenceOptions, UserContent};
use super::page::Paging;
use super::structured_input::Submission;

#[derive(Debug)]
pub(crate) enum Request {
    /// Answered with events: `StreamingReq`.
    Streamed(Streamed),
    /// Answered with one piece of JSON: `NonStreamingReq`.
    Plain(Plain),
}

#[derive(Debug)]
pub(crate) enum Streamed {
    Create(Create),
    AddUserMessage(AddUserMessage),
    AddClientToolOutput(AddClientToolOutput),
    AddStructuredInput(AddStructuredInput),
    RetryAfterItem(RetryAfterItem),
    CustomAction(CustomAction),
}

#[derive(Debug)]
pub(crate) enum Plain {
    GetThread(OneThread),
    ListThreads(Paging<ThreadId>),
    ListItems(ListItems),
    UpdateThread(UpdateThread),
    DeleteThread(OneThread),
    Feedback(Feedback),
    SyncCustomAction(CustomAction),
    CreateAttachment(CreateAttachment),
    DeleteAttachment(DeleteAttachment),
    Transcribe(Transcribe),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the body is not a ChatKit request: {0}")]
    Envelope(#[source] serde_json::Error),
    #[error("`params` of `{request}`: {reason}")]
    Params {
        request: &'static str,
        reason: serde_json::Error,
    },
    #[error("`{0}` is not a request of the ChatKit protocol")]
    Unknown(String),
}

impl RequestError {
    /// As a client is told.
    pub(crate) fn problem(self) -> Problem {
        let detail = self.to_string();
        Problem::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    pub(crate) input: UserMessageInput,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AddUserMessage {
    pub(crate) thread_id: ThreadId,
    pub(crate) input: UserMessageInput,
}

#[derive(Debug, Deserialize)]
pub(crate) struct UserMessageInput {
    pub(crate) content: Vec<UserContent>,
    pub(crate) attachments: Vec<AttachmentId>,
    #[serde(default)]
    pub(crate) quoted_text: Option<String>,
    pub(crate) inference_options: InferenceOptions,
}

/// Of the last item, which is a pending call: no id says so.
#[derive(Debug, Deserialize)]
pub(crate) struct AddClientToolOutput {
    pub(crate) thread_id: ThreadId,
    pub(crate) result: Value,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AddStructuredInput {
    pub(crate) thread_id: ThreadId,
    pub(crate) item_id: ItemId,
    pub(crate) input: Submission,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CustomAction {
    pub(crate) thread_id: ThreadId,
    /// The widget the action comes from, if it does.
    #[serde(default)]
    pub(crate) item_id: Option<ItemId>,
    pub(crate) action: Action,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Action {
    pub(crate) r#type: String,
    #[serde(default)]
    pub(crate) payload: Value,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RetryAfterItem {
    pub(crate) thread_id: ThreadId,
    pub(crate) item_id: ItemId,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OneThread {
    pub(crate) thread_id: ThreadId,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ListItems {
    pub(crate) thread_id: ThreadId,
    #[serde(flatten)]
    pub(crate) paging: Paging<ItemId>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct UpdateThread {
    pub(crate) thread_id: ThreadId,
    pub(crate) title: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Feedback {
    pub(crate) thread_id: ThreadId,
    pub(crate) item_ids: Vec<ItemId>,
    pub(crate) kind: FeedbackKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FeedbackKind {
    Positive,
    Negative,
}

#[derive(Deserialize)]
struct Envelope {
    r#type: String,
    #[serde(default)]
    params: Value,
}

impl Request {
    /// The one it is about, if it names one.
    pub(crate) fn thread_id(&self) -> Option<&ThreadId> {
        match self {
            Request::Streamed(request) => match request {
                Streamed::Create(_) => None,
                Streamed::AddUserMessage(request) => Some(&request.thread_id),
                Streamed::AddClientToolOutput(request) => Some(&request.thread_id),
                Streamed::AddStructuredInput(request) => Some(&request.thread_id),
                Streamed::RetryAfterItem(request) => Some(&request.thread_id),
                Streamed::CustomAction(request) => Some(&request.thread_id),
            },
            Request::Plain(request) => match request {
                Plain::GetThread(request) | Plain::DeleteThread(request) => {
                    Some(&request.thread_id)
                }
                Plain::ListItems(request) => Some(&request.thread_id),
                Plain::UpdateThread(request) => Some(&request.thread_id),
                Plain::Feedback(request) => Some(&request.thread_id),
                Plain::SyncCustomAction(request) => Some(&request.thread_id),
                Plain::ListThreads(_)
                | Plain::CreateAttachment(_)
                | Plain::DeleteAttachment(_)
                | Plain::Transcribe(_) => None,
            },
        }
    }

    pub(crate) fn parse(body: &[u8]) -> Result<Request, RequestError> {
        let Envelope { r#type, params } =
            serde_json::from_slice(body).map_err(RequestError::Envelope)?;
        // Callers of the protocol's first versions write `threads_create`: only the first underscore stood for the dot.
        let name = match r#type.contains('.') {
            true => r#type.clone(),
            false => r#type.replacen('_', ".", 1),
        };
        Request::of(&name, params)
            .ok_or_else(|| RequestError::Unknown(r#type.chars().take(64).collect()))?
    }

    /// Nothing for a name that no request has.
    fn of(name: &str, params: Value) -> Option<Result<Request, RequestError>> {
        let streamed = |streamed: Result<Streamed, _>| Some(streamed.map(Request::Streamed));
        let plain = |plain: Result<Plain, _>| Some(plain.map(Request::Plain));
        match name {
            "threads.create" => streamed(read("threads.create", params).map(Streamed::Create)),
            "threads.add_user_message" => {
                streamed(read("threads.add_user_message", params).map(Streamed::AddUserMessage))
            }
            "threads.add_client_tool_output" => streamed(
                read("threads.add_client_tool_output", params).map(Streamed::AddClientToolOutput),
            ),
            "threads.add_structured_input" => streamed(
                read("threads.add_structured_input", params).map(Streamed::AddStructuredInput),
            ),
            "threads.retry_after_item" => {
                streamed(read("threads.retry_after_item", params).map(Streamed::RetryAfterItem))
            }
            "threads.custom_action" => {
                streamed(read("threads.custom_action", params).map(Streamed::CustomAction))
            }
            "threads.sync_custom_action" => {
                plain(read("threads.sync_custom_action", params).map(Plain::SyncCustomAction))
            }
            "threads.get_by_id" => plain(read("threads.get_by_id", params).map(Plain::GetThread)),
            "threads.list" => plain(read("threads.list", params).map(Plain::ListThreads)),
            "items.list" => plain(read("items.list", params).map(Plain::ListItems)),
            "threads.update" => plain(read("threads.update", params).map(Plain::UpdateThread)),
            "threads.delete" => plain(read("threads.delete", params).map(Plain::DeleteThread)),
            "items.feedback" => plain(read("items.feedback", params).map(Plain::Feedback)),
            "attachments.create" => {
                plain(read("attachments.create", params).map(Plain::CreateAttachment))
            }
            "attachments.delete" => {
                plain(read("attachments.delete", params).map(Plain::DeleteAttachment))
            }
            "input.transcribe" => plain(read("input.transcribe", params).map(Plain::Transcribe)),
            _ => None,
        }
    }
}

fn read<P: DeserializeOwned>(request: &'static str, params: Value) -> Result<P, RequestError> {
    serde_json::from_value(params).map_err(|reason| RequestError::Params { request, reason })
}

#[cfg(test)]
mod tests;
