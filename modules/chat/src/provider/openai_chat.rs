//! OpenAI's Chat Completions API, which most local servers speak: its request, and its chunks.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::error::{Code, ProviderError};
use super::openai::{OpenAiSettings, Reader};
use super::{Conversation, Delta, Ending, Role};

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<ChatMessage<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
}

#[derive(Serialize)]
struct ChatMessage<'a> {
    role: ChatRole,
    content: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum ChatRole {
    /// OpenAI reads it as `developer`; local servers know only this name.
    System,
    #[serde(untagged)]
    Of(Role),
}

pub(super) fn request(settings: &OpenAiSettings, conversation: &Conversation) -> Vec<u8> {
    let instructions = settings.instructions.as_deref();
    let system = instructions.map(|content| ChatMessage {
        role: ChatRole::System,
        content,
    });
    let said = conversation.messages.iter();
    let said = said.map(|message| ChatMessage {
        role: ChatRole::Of(message.role),
        content: &message.text,
    });
    let body = Body {
        model: conversation.model.as_deref().unwrap_or(&settings.model),
        messages: system.into_iter().chain(said).collect(),
        stream: true,
        max_completion_tokens: settings.max_output_tokens,
    };
    serde_json::to_vec(&body).expect("the body is plain strings and numbers")
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    error: Option<ChunkError>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: ChoiceDelta,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct ChoiceDelta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    /// Not OpenAI's: what DeepSeek, vLLM and llama.cpp call the model's reasoning.
    #[serde(default, alias = "reasoning")]
    reasoning_content: Option<String>,
}

#[derive(Deserialize)]
struct ChunkError {
    #[serde(default)]
    code: serde_json::Value,
}

#[derive(Default)]
pub(super) struct ChatReader {
    /// Known before the stream's last chunk.
    ending: Option<Ending>,
}

impl Reader for ChatReader {
    fn read(&mut self, data: &str, deltas: &mut VecDeque<Delta>) -> Result<(), ProviderError> {
        if data.trim() == "[DONE]" {
            deltas.push_back(Delta::Done(self.end()?));
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|_| ProviderError::Malformed)?;
        if let Some(error) = chunk.error {
            return Err(ProviderError::of_event(Code::deserialize(error.code).ok()));
        }
        // One answer was asked for: further choices do not come.
        let Some(Choice {
            delta,
            finish_reason,
        }) = chunk.choices.into_iter().next()
        else {
            return Ok(());
        };
        if let Some(text) = delta.reasoning_content.filter(|text| !text.is_empty()) {
            deltas.push_back(Delta::Thought { part: 0, text });
        }
        for text in [delta.content, delta.refusal]
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty())
        {
            deltas.push_back(Delta::Text(text));
        }
        if let Some(reason) = finish_reason {
            self.ending = Some(match reason.as_str() {
                "length" => Ending::LengthLimit,
                "content_filter" => Ending::Filtered,
                _ => Ending::Complete,
            });
        }
        Ok(())
    }

    fn end(&self) -> Result<Ending, ProviderError> {
        self.ending.ok_or(ProviderError::BrokenOff)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Message;
    use super::super::openai::settings_for_tests;
    use super::*;
    use crate::config::Api;

    fn read(chunks: &[&str]) -> Result<Vec<Delta>, ProviderError> {
        let (mut reader, mut deltas) = (ChatReader::default(), VecDeque::new());
        for chunk in chunks {
            reader.read(chunk, &mut deltas)?;
        }
        Ok(deltas.into())
    }

    #[test]
    fn the_request_carries_instructions_and_conversation() {
        let conversation = Conversation {
            model: Some("large".to_owned()),
            messages: vec![Message {
                role: Role::User,
                text: "hi".to_owned(),
            }],
        };
        let body = request(&settings_for_tests(Api::ChatCompletions), &conversation);
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({"model": "large", "stream": true, "messages": [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]})
        );
    }

    #[test]
    fn chunks_become_deltas() {
        let deltas = read(&[
            r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"reasoning_content":"Hm."}}]}"#,
            r#"{"choices":[{"delta":{"content":"Hel"}}]}"#,
            r#"{"choices":[{"delta":{"content":"lo"},"finish_reason":"length"}]}"#,
            r#"{"choices":[],"usage":{"total_tokens":3}}"#,
            "[DONE]",
        ]);
        let text = |text: &str| Delta::Text(text.to_owned());
        let thought = Delta::Thought {
            part: 0,
            text: "Hm.".to_owned(),
        };
        assert_eq!(
            deltas.unwrap(),
            [
                thought,
                text("Hel"),
                text("lo"),
                Delta::Done(Ending::LengthLimit)
            ]
        );
    }

    #[test]
    fn an_end_without_a_reason_is_a_break() {
        assert_eq!(read(&["[DONE]"]).unwrap_err(), ProviderError::BrokenOff);
        let mut reader = ChatReader::default();
        assert_eq!(reader.end().unwrap_err(), ProviderError::BrokenOff);
        let last = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        reader.read(last, &mut VecDeque::new()).unwrap();
        assert_eq!(
            reader.end().unwrap(),
            Ending::Complete,
            "some servers end without [DONE]"
        );
    }

    #[test]
    fn failures_are_errors() {
        let check = |chunk: &str, expect| assert_eq!(read(&[chunk]).unwrap_err(), expect);
        check(
            r#"{"error":{"code":"rate_limit_exceeded","message":"m"}}"#,
            ProviderError::RateLimited(None),
        );
        check(r#"{"error":{"message":"m"}}"#, ProviderError::Failed);
        check("data", ProviderError::Malformed);
    }
}
