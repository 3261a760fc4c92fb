//! OpenAI's Responses API: its request, and its events.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::error::{Code, ProviderError};
use super::openai::{OpenAiSettings, Reader};
use super::{Conversation, Delta, Ending, Role};
use crate::config::ReasoningSummary;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    input: Vec<InputMessage<'a>>,
    stream: bool,
    /// The conversation is kept here; the provider need not keep another.
    store: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
}

#[derive(Serialize)]
struct InputMessage<'a> {
    role: Role,
    content: &'a str,
}

#[derive(Serialize)]
struct Reasoning {
    summary: ReasoningSummary,
}

pub(super) fn request(settings: &OpenAiSettings, conversation: &Conversation) -> Vec<u8> {
    let messages = conversation.messages.iter();
    let body = Body {
        model: conversation.model.as_deref().unwrap_or(&settings.model),
        instructions: settings.instructions.as_deref(),
        input: messages
            .map(|message| InputMessage {
                role: message.role,
                content: &message.text,
            })
            .collect(),
        stream: true,
        store: false,
        max_output_tokens: settings.max_output_tokens,
        reasoning: settings
            .reasoning_summary
            .map(|summary| Reasoning { summary }),
    };
    serde_json::to_vec(&body).expect("the body is plain strings and numbers")
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum StreamEvent {
    #[serde(
        rename = "response.output_text.delta",
        alias = "response.refusal.delta"
    )]
    Text {
        #[serde(default)]
        output_index: u64,
        #[serde(default)]
        content_index: u64,
        delta: String,
    },
    #[serde(rename = "response.reasoning_summary_text.delta")]
    Thought {
        #[serde(default)]
        output_index: u64,
        #[serde(default)]
        summary_index: u64,
        delta: String,
    },
    #[serde(rename = "response.completed")]
    Completed,
    #[serde(rename = "response.incomplete")]
    Incomplete { response: IncompleteResponse },
    #[serde(rename = "response.failed")]
    Failed { response: FailedResponse },
    #[serde(rename = "error")]
    Error {
        #[serde(default)]
        code: serde_json::Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct IncompleteResponse {
    #[serde(default)]
    incomplete_details: Option<IncompleteDetails>,
}

#[derive(Deserialize)]
struct IncompleteDetails {
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct FailedResponse {
    #[serde(default)]
    error: Option<FailedError>,
}

#[derive(Deserialize)]
struct FailedError {
    #[serde(default)]
    code: serde_json::Value,
}

#[derive(Default)]
pub(super) struct ResponsesReader {
    /// Output and content index of the text before.
    text_at: Option<(u64, u64)>,
    thought_at: Option<(u64, u64)>,
    thoughts: u64,
}

impl Reader for ResponsesReader {
    fn read(&mut self, data: &str, deltas: &mut VecDeque<Delta>) -> Result<(), ProviderError> {
        match serde_json::from_str(data).map_err(|_| ProviderError::Malformed)? {
            StreamEvent::Text {
                output_index,
                content_index,
                delta,
            } => {
                let at = (output_index, content_index);
                // One message for the user, though the model may say it in several parts.
                if self.text_at.replace(at).is_some_and(|before| before != at) {
                    deltas.push_back(Delta::Text("\n\n".to_owned()));
                }
                deltas.push_back(Delta::Text(delta));
            }
            StreamEvent::Thought {
                output_index,
                summary_index,
                delta,
            } => {
                let at = (output_index, summary_index);
                if self
                    .thought_at
                    .replace(at)
                    .is_some_and(|before| before != at)
                {
                    self.thoughts += 1;
                }
                deltas.push_back(Delta::Thought {
                    part: self.thoughts,
                    text: delta,
                });
            }
            StreamEvent::Completed => deltas.push_back(Delta::Done(Ending::Complete)),
            StreamEvent::Incomplete { response } => {
                let reason = response
                    .incomplete_details
                    .and_then(|details| details.reason);
                deltas.push_back(Delta::Done(match reason.as_deref() {
                    Some("content_filter") => Ending::Filtered,
                    _ => Ending::LengthLimit,
                }));
            }
            StreamEvent::Failed { response } => {
                let code = response
                    .error
                    .and_then(|error| Code::deserialize(error.code).ok());
                return Err(ProviderError::of_event(code));
            }
            StreamEvent::Error { code } => {
                return Err(ProviderError::of_event(Code::deserialize(code).ok()));
            }
            StreamEvent::Other => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Message;
    use super::super::openai::settings_for_tests;
    use super::*;
    use crate::config::Api;

    fn read(events: &[Value]) -> Result<Vec<Delta>, ProviderError> {
        let (mut reader, mut deltas) = (ResponsesReader::default(), VecDeque::new());
        for event in events {
            reader.read(&event.to_string(), &mut deltas)?;
        }
        Ok(deltas.into())
    }

    #[test]
    fn the_request_carries_the_conversation_and_is_not_stored() {
        let message = |role, text: &str| Message {
            role,
            text: text.to_owned(),
        };
        let conversation = Conversation {
            model: None,
            messages: vec![
                message(Role::User, "hi"),
                message(Role::Assistant, "hello"),
                message(Role::User, "bye"),
            ],
        };
        let mut settings = settings_for_tests(Api::Responses);
        settings.reasoning_summary = Some(ReasoningSummary::Auto);
        let body: Value = serde_json::from_slice(&request(&settings, &conversation)).unwrap();
        assert_eq!(
            body,
            json!({"model": "tiny", "instructions": "Be brief.", "stream": true, "store": false,
                   "reasoning": {"summary": "auto"},
                   "input": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"},
                             {"role": "user", "content": "bye"}]})
        );
    }

    #[test]
    fn text_and_thoughts_are_told_apart() {
        let thought = |index, delta| json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": index, "delta": delta});
        let text = |output, delta| json!({"type": "response.output_text.delta", "output_index": output, "content_index": 0, "delta": delta});
        let deltas = read(&[
            json!({"type": "response.created", "response": {"id": "resp_1"}}),
            thought(0, "Hm"),
            thought(0, "m."),
            thought(1, "Oh."),
            text(1, "Hel"),
            text(1, "lo"),
            text(2, "again"),
            json!({"type": "response.refusal.delta", "output_index": 2, "content_index": 0, "delta": "!"}),
            json!({"type": "response.completed", "response": {"usage": {"total_tokens": 3}}}),
        ]);
        let said = |text: &str| Delta::Text(text.to_owned());
        let thought = |part, text: &str| Delta::Thought {
            part,
            text: text.to_owned(),
        };
        assert_eq!(
            deltas.unwrap(),
            [
                thought(0, "Hm"),
                thought(0, "m."),
                thought(1, "Oh."),
                said("Hel"),
                said("lo"),
                said("\n\n"),
                said("again"),
                said("!"),
                Delta::Done(Ending::Complete)
            ]
        );
    }

    #[test]
    fn an_answer_that_was_cut_says_why() {
        let check = |reason: Value, expect| {
            let event =
                json!({"type": "response.incomplete", "response": {"incomplete_details": reason}});
            assert_eq!(read(&[event]).unwrap(), [Delta::Done(expect)]);
        };
        check(json!({"reason": "max_output_tokens"}), Ending::LengthLimit);
        check(json!({"reason": "content_filter"}), Ending::Filtered);
        check(Value::Null, Ending::LengthLimit);
    }

    #[test]
    fn failures_are_errors() {
        let check = |event: Value, expect| assert_eq!(read(&[event]).unwrap_err(), expect);
        check(
            json!({"type": "error", "code": "rate_limit_exceeded", "message": "m"}),
            ProviderError::RateLimited(None),
        );
        check(
            json!({"type": "error", "code": null}),
            ProviderError::Failed,
        );
        check(
            json!({"type": "response.failed", "response": {"error": {"code": "server_error"}}}),
            ProviderError::Failed,
        );
        check(
            json!({"type": "response.failed", "response": {"error": {"code": "insufficient_quota"}}}),
            ProviderError::QuotaExhausted,
        );
        check(json!([]), ProviderError::Malformed);
        assert_eq!(
            ResponsesReader::default().end().unwrap_err(),
            ProviderError::BrokenOff
        );
    }
}
