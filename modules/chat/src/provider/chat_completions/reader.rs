//! The chunks of the Chat Completions API.

use std::collections::VecDeque;

use serde::Deserialize;

use crate::provider::calls::{Calls, Fragment};
use crate::provider::error::{ErrorMembers, ProviderError};
use crate::provider::openai::Reader;
use crate::provider::{Delta, Ending, Usage};

#[derive(Deserialize)]
struct Chunk {
    /// `null` from some servers in their last chunk.
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<ChunkUsage>,
    #[serde(default)]
    error: Option<ErrorMembers>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<ChoiceDelta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct ChoiceDelta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    /// Not OpenAI's: the model's reasoning, as DeepSeek, vLLM and llama.cpp call it.
    #[serde(default)]
    reasoning_content: Option<String>,
    /// The same, as OpenRouter, Ollama and newer versions of vLLM call it. Some send both.
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<ToolCallDelta>>,
}

#[derive(Deserialize)]
struct ToolCallDelta {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionDelta>,
}

#[derive(Default, Deserialize)]
struct FunctionDelta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct ChunkUsage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

impl From<ChunkUsage> for Usage {
    fn from(usage: ChunkUsage) -> Usage {
        let cached = usage.prompt_tokens_details;
        let reasoning = usage.completion_tokens_details;
        Usage {
            input_tokens: usage.prompt_tokens.unwrap_or_default(),
            cached_input_tokens: cached
                .and_then(|details| details.cached_tokens)
                .unwrap_or_default(),
            output_tokens: usage.completion_tokens.unwrap_or_default(),
            reasoning_tokens: reasoning
                .and_then(|details| details.reasoning_tokens)
                .unwrap_or_default(),
        }
    }
}

#[derive(Default)]
pub(in crate::provider) struct ChatReader {
    calls: Calls,
    /// Known before the stream's last chunk.
    ending: Option<Ending>,
    /// Some servers count in every chunk, each time all so far.
    usage: Option<Usage>,
}

impl Reader for ChatReader {
    fn read(&mut self, data: &str, deltas: &mut VecDeque<Delta>) -> Result<(), ProviderError> {
        if data.trim() == "[DONE]" {
            return self.end(deltas);
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|_| ProviderError::Malformed)?;
        if let Some(error) = chunk.error {
            return Err(ProviderError::of_event(error.code()));
        }
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage.into());
        }
        // One answer was asked for: further choices do not come.
        let Some(choice) = chunk.choices.into_iter().flatten().next() else {
            return Ok(());
        };
        self.take(choice.delta.unwrap_or_default(), deltas)?;
        if let Some(reason) = choice.finish_reason {
            let ending = match reason.as_str() {
                "length" => Ending::LengthLimit,
                "content_filter" => Ending::Filtered,
                _ => Ending::Complete,
            };
            deltas.extend(match ending {
                Ending::Complete => self.calls.end_all()?,
                Ending::LengthLimit | Ending::Filtered => self.calls.end_whole(),
            });
            self.ending = Some(ending);
        }
        Ok(())
    }

    fn end(&mut self, deltas: &mut VecDeque<Delta>) -> Result<(), ProviderError> {
        let ending = self.ending.ok_or(ProviderError::BrokenOff)?;
        deltas.extend(self.usage.take().map(Delta::Usage));
        deltas.push_back(Delta::Done(ending));
        Ok(())
    }
}

impl ChatReader {
    fn take(
        &mut self,
        delta: ChoiceDelta,
        deltas: &mut VecDeque<Delta>,
    ) -> Result<(), ProviderError> {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let thought = some(delta.reasoning_content).or_else(|| some(delta.reasoning));
        deltas.extend(thought.map(|text| Delta::Thought { part: 0, text }));
        deltas.extend(some(delta.content).map(Delta::Text));
        deltas.extend(some(delta.refusal).map(Delta::Refusal));
        for call in delta.tool_calls.unwrap_or_default() {
            let function = call.function.unwrap_or_default();
            self.calls.add(Fragment {
                index: call.index,
                call_id: call.id,
                name: function.name,
                arguments: function.arguments,
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&str]) -> Result<Vec<Delta>, ProviderError> {
        let (mut reader, mut deltas) = (ChatReader::default(), VecDeque::new());
        for chunk in chunks {
            reader.read(chunk, &mut deltas)?;
        }
        Ok(deltas.into())
    }

    fn text(text: &str) -> Delta {
        Delta::Text(text.to_owned())
    }

    fn thought(text: &str) -> Delta {
        Delta::Thought {
            part: 0,
            text: text.to_owned(),
        }
    }

    fn call(call_id: &str, name: &str, arguments: &str) -> Delta {
        Delta::ToolCall {
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        }
    }

    #[test]
    fn chunks_become_deltas() {
        let deltas = read(&[
            r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
            r#"{"choices":[{"delta":{"reasoning_content":"Hm."}}]}"#,
            r#"{"choices":[{"delta":{"content":"Hel"}}]}"#,
            r#"{"choices":[{"delta":{"content":"lo"},"finish_reason":"length"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":1}}}"#,
            "[DONE]",
        ]);
        let usage = Usage {
            input_tokens: 9,
            cached_input_tokens: 4,
            output_tokens: 3,
            reasoning_tokens: 1,
        };
        assert_eq!(
            deltas.unwrap(),
            [
                thought("Hm."),
                text("Hel"),
                text("lo"),
                Delta::Usage(usage),
                Delta::Done(Ending::LengthLimit)
            ]
        );
    }

    #[test]
    fn reasoning_and_refusals_are_told_apart_from_text() {
        let deltas = read(&[
            r#"{"choices":[{"delta":{"reasoning":"a","content":null}}]}"#,
            r#"{"choices":[{"delta":{"reasoning":"b","reasoning_content":"b"}}]}"#,
            r#"{"choices":[{"delta":{"refusal":"I will not."}}]}"#,
            r#"{"choices":[{"delta":null,"finish_reason":"content_filter"}]}"#,
            "[DONE]",
        ]);
        let refusal = Delta::Refusal("I will not.".to_owned());
        assert_eq!(
            deltas.unwrap(),
            [
                thought("a"),
                thought("b"),
                refusal,
                Delta::Done(Ending::Filtered)
            ]
        );
    }

    #[test]
    fn calls_in_fragments_are_told_whole_where_the_answer_ends() {
        let deltas = read(&[
            r#"{"choices":[{"delta":{"content":"I look."}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"look","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"at\":"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"c2","function":{"name":"find"}},{"index":0,"function":{"arguments":"1}"}}]}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ]);
        assert_eq!(
            deltas.unwrap(),
            [
                text("I look."),
                call("c1", "look", r#"{"at":1}"#),
                call("c2", "find", "{}"),
                Delta::Done(Ending::Complete)
            ]
        );
    }

    #[test]
    fn a_call_that_was_cut_is_forgotten_and_one_that_cannot_be_read_an_error() {
        let half = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"look","arguments":"{\"at\":"}}]}}]}"#;
        let end = |reason: &str| {
            format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
        };
        assert_eq!(
            read(&[half, &end("length"), "[DONE]"]).unwrap(),
            [Delta::Done(Ending::LengthLimit)]
        );
        assert_eq!(
            read(&[half, &end("tool_calls")]).unwrap_err(),
            ProviderError::ToolCall
        );
    }

    #[test]
    fn an_end_without_a_reason_is_a_break() {
        assert_eq!(read(&["[DONE]"]).unwrap_err(), ProviderError::BrokenOff);
        let (mut reader, mut deltas) = (ChatReader::default(), VecDeque::new());
        assert_eq!(
            reader.end(&mut deltas).unwrap_err(),
            ProviderError::BrokenOff
        );
        let last = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        reader.read(last, &mut deltas).unwrap();
        reader.end(&mut deltas).unwrap();
        assert_eq!(
            deltas,
            [Delta::Done(Ending::Complete)],
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
