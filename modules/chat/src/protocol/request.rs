//! Reads a request, and says what is wrong with one.
//!
//! Members that are not known are ignored, as the reference ignores them: clients are newer than servers.

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
    Create(Create),
    AddUserMessage(AddUserMessage),
    AddClientToolOutput(AddClientToolOutput),
    AddStructuredInput(AddStructuredInput),
    RetryAfterItem(RetryAfterItem),
    CustomAction(CustomAction),
    SyncCustomAction(CustomAction),
    GetThread(OneThread),
    ListThreads(Paging<ThreadId>),
    ListItems(ListItems),
    UpdateThread(UpdateThread),
    DeleteThread(OneThread),
    Feedback(Feedback),
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
            Request::AddUserMessage(request) => Some(&request.thread_id),
            Request::AddClientToolOutput(request) => Some(&request.thread_id),
            Request::AddStructuredInput(request) => Some(&request.thread_id),
            Request::RetryAfterItem(request) => Some(&request.thread_id),
            Request::CustomAction(request) | Request::SyncCustomAction(request) => {
                Some(&request.thread_id)
            }
            Request::GetThread(request) | Request::DeleteThread(request) => {
                Some(&request.thread_id)
            }
            Request::ListItems(request) => Some(&request.thread_id),
            Request::UpdateThread(request) => Some(&request.thread_id),
            Request::Feedback(request) => Some(&request.thread_id),
            Request::Create(_)
            | Request::ListThreads(_)
            | Request::CreateAttachment(_)
            | Request::DeleteAttachment(_)
            | Request::Transcribe(_) => None,
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
        Ok(match name.as_str() {
            "threads.create" => Request::Create(read("threads.create", params)?),
            "threads.add_user_message" => {
                Request::AddUserMessage(read("threads.add_user_message", params)?)
            }
            "threads.add_client_tool_output" => {
                Request::AddClientToolOutput(read("threads.add_client_tool_output", params)?)
            }
            "threads.add_structured_input" => {
                Request::AddStructuredInput(read("threads.add_structured_input", params)?)
            }
            "threads.retry_after_item" => {
                Request::RetryAfterItem(read("threads.retry_after_item", params)?)
            }
            "threads.custom_action" => {
                Request::CustomAction(read("threads.custom_action", params)?)
            }
            "threads.sync_custom_action" => {
                Request::SyncCustomAction(read("threads.sync_custom_action", params)?)
            }
            "threads.get_by_id" => Request::GetThread(read("threads.get_by_id", params)?),
            "threads.list" => Request::ListThreads(read("threads.list", params)?),
            "items.list" => Request::ListItems(read("items.list", params)?),
            "threads.update" => Request::UpdateThread(read("threads.update", params)?),
            "threads.delete" => Request::DeleteThread(read("threads.delete", params)?),
            "items.feedback" => Request::Feedback(read("items.feedback", params)?),
            "attachments.create" => Request::CreateAttachment(read("attachments.create", params)?),
            "attachments.delete" => Request::DeleteAttachment(read("attachments.delete", params)?),
            "input.transcribe" => Request::Transcribe(read("input.transcribe", params)?),
            _ => return Err(RequestError::Unknown(r#type.chars().take(64).collect())),
        })
    }
}

fn read<P: DeserializeOwned>(request: &'static str, params: Value) -> Result<P, RequestError> {
    serde_json::from_value(params).map_err(|reason| RequestError::Params { request, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: &str = r#"{"content":[{"type":"input_text","text":"hi"}],"attachments":[],"inference_options":{}}"#;

    #[test]
    fn every_request_is_read_under_both_names() {
        let requests = [
            ("threads.create", format!(r#"{{"input":{INPUT}}}"#)),
            (
                "threads.add_user_message",
                format!(r#"{{"thread_id":"t","input":{INPUT}}}"#),
            ),
            (
                "threads.retry_after_item",
                r#"{"thread_id":"t","item_id":"i"}"#.to_owned(),
            ),
            ("threads.get_by_id", r#"{"thread_id":"t"}"#.to_owned()),
            (
                "threads.list",
                r#"{"limit":2,"order":"asc","after":"t"}"#.to_owned(),
            ),
            (
                "items.list",
                r#"{"thread_id":"t","limit":2,"after":"i"}"#.to_owned(),
            ),
            (
                "threads.update",
                r#"{"thread_id":"t","title":"x"}"#.to_owned(),
            ),
            ("threads.delete", r#"{"thread_id":"t"}"#.to_owned()),
            (
                "items.feedback",
                r#"{"thread_id":"t","item_ids":["i"],"kind":"positive"}"#.to_owned(),
            ),
            (
                "threads.add_client_tool_output",
                r#"{"thread_id":"t","result":null}"#.to_owned(),
            ),
            (
                "threads.add_structured_input",
                r#"{"thread_id":"t","item_id":"i","input":{}}"#.to_owned(),
            ),
            (
                "threads.custom_action",
                r#"{"thread_id":"t","item_id":null,"action":{"type":"a"}}"#.to_owned(),
            ),
            (
                "threads.sync_custom_action",
                r#"{"thread_id":"t","action":{"type":"a","payload":[1]}}"#.to_owned(),
            ),
            (
                "attachments.create",
                r#"{"name":"a","size":1,"mime_type":"text/plain"}"#.to_owned(),
            ),
            (
                "attachments.delete",
                r#"{"attachment_id":"atc_1"}"#.to_owned(),
            ),
            (
                "input.transcribe",
                r#"{"audio_base64":"","mime_type":"audio/webm"}"#.to_owned(),
            ),
        ];
        for (name, params) in requests {
            for name in [name.to_owned(), name.replacen('.', "_", 1)] {
                let body = format!(r#"{{"type":"{name}","params":{params},"metadata":{{"a":1}}}}"#);
                assert!(Request::parse(body.as_bytes()).is_ok(), "{body}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |body: &str, expect: &str| {
            let error = Request::parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expect), "{body}: {error}");
        };
        check("", "not a ChatKit request");
        check("[1]", "not a ChatKit request");
        check("{}", "missing field `type`");
        check(
            r#"{"type":"threads.explode"}"#,
            "`threads.explode` is not a request",
        );
        check(
            r#"{"type":"threads_explode"}"#,
            "`threads_explode` is not a request",
        );
        check(r#"{"type":"threads.list"}"#, "`params` of `threads.list`");
        check(
            r#"{"type":"threads.get_by_id","params":{}}"#,
            "missing field `thread_id`",
        );
        check(
            r#"{"type":"threads.list","params":{"limit":-1}}"#,
            "invalid value",
        );
        check(
            r#"{"type":"threads.create","params":{"input":{}}}"#,
            "missing field `content`",
        );
        check(
            r#"{"type":"items.feedback","params":{"thread_id":"t","item_ids":[],"kind":"so-so"}}"#,
            "unknown variant `so-so`",
        );
        check(
            r#"{"type":"threads.add_client_tool_output","params":{"thread_id":"t"}}"#,
            "missing field `result`",
        );
    }
}
