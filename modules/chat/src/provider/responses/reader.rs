//! What the events of the Responses API say.

use std::collections::VecDeque;

use serde::Deserialize;

use super::event::{EndedResponse, OutputItem, StreamEvent};
use crate::provider::calls::{Call, Calls, Fragment};
use crate::provider::error::{Code, ProviderError};
use crate::provider::openai::Reader;
use crate::provider::{Delta, Ending};

#[derive(Default)]
pub(in crate::provider) struct ResponsesReader {
    /// Output and content index of the text before.
    text_at: Option<(u64, u64)>,
    thought_at: Option<(u64, u64)>,
    thoughts: u64,
    calls: Calls,
}

impl Reader for ResponsesReader {
    fn read(&mut self, data: &str, deltas: &mut VecDeque<Delta>) -> Result<(), ProviderError> {
        match serde_json::from_str(data).map_err(|_| ProviderError::Malformed)? {
            StreamEvent::Text(text) => {
                deltas.extend(self.place((text.output_index, text.content_index)));
                deltas.push_back(Delta::Text(text.delta));
            }
            StreamEvent::Refusal(text) => {
                deltas.extend(self.place((text.output_index, text.content_index)));
                deltas.push_back(Delta::Refusal(text.delta));
            }
            StreamEvent::Annotation {
                output_index,
                content_index,
                annotation,
            } => {
                if let Some(annotation) = annotation.annotation() {
                    deltas.extend(self.place((output_index, content_index)));
                    deltas.push_back(Delta::Annotation(annotation));
                }
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
            StreamEvent::ItemAdded { output_index, item } => match item {
                OutputItem::FunctionCall { call_id, name, .. } => self.calls.add(Fragment {
                    index: Some(output_index),
                    call_id: Some(call_id),
                    name: Some(name),
                    arguments: None,
                })?,
                OutputItem::Reasoning {} => deltas.push_back(Delta::Thinking),
                OutputItem::Other => {}
            },
            StreamEvent::Arguments {
                output_index,
                delta,
            } => self.calls.add(Fragment {
                index: Some(output_index),
                arguments: Some(delta),
                ..Fragment::default()
            })?,
            StreamEvent::ItemDone { output_index, item } => {
                if let OutputItem::FunctionCall {
                    call_id,
                    name,
                    arguments,
                } = item
                {
                    deltas.push_back(self.calls.end(Call {
                        index: output_index,
                        call_id,
                        name,
                        arguments,
                    })?);
                }
            }
            StreamEvent::Completed { response } => {
                deltas.extend(self.calls.end_all()?);
                finish(response, Ending::Complete, deltas);
            }
            StreamEvent::Incomplete { response } => {
                let details = response.incomplete_details.as_ref();
                let ending = match details.and_then(|details| details.reason.as_deref()) {
                    Some("content_filter") => Ending::Filtered,
                    _ => Ending::LengthLimit,
                };
                finish(response, ending, deltas);
            }
            StreamEvent::Failed { response } => {
                deltas.extend(response.usage.map(|usage| Delta::Usage(usage.into())));
                let code = response.error.and_then(|error| error.code());
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

impl ResponsesReader {
    /// What goes between two parts of a message, or between two messages.
    fn place(&mut self, at: (u64, u64)) -> Option<Delta> {
        let before = self.text_at.replace(at)?;
        match before {
            same if same == at => None,
            (output_index, _) if output_index == at.0 => Some(Delta::NextPart),
            _ => Some(Delta::NextMessage),
        }
    }
}

fn finish(response: EndedResponse, ending: Ending, deltas: &mut VecDeque<Delta>) {
    deltas.extend(response.usage.map(|usage| Delta::Usage(usage.into())));
    deltas.push_back(Delta::Done(ending));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::Usage;

    fn read(events: &[Value]) -> Result<Vec<Delta>, ProviderError> {
        let (mut reader, mut deltas) = (ResponsesReader::default(), VecDeque::new());
        for event in events {
            reader.read(&event.to_string(), &mut deltas)?;
        }
        Ok(deltas.into())
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
            json!({"type": "response.completed", "response": {"usage": {
                "input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3,
                "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 12}}}),
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
                Delta::NextMessage,
                said("again"),
                Delta::Refusal("!".to_owned()),
                Delta::Usage(Usage {
                    input_tokens: 9,
                    cached_input_tokens: 4,
                    output_tokens: 3,
                    reasoning_tokens: 1
                }),
                Delta::Done(Ending::Complete)
            ]
        );
    }

    #[test]
    fn calls_in_fragments_are_told_once_and_whole() {
        let added = |index: u64, id: &str, name: &str| {
            json!({"type": "response.output_item.added", "output_index": index,
            "item": {"type": "function_call", "id": "fc_1", "call_id": id, "name": name, "arguments": "", "status": "in_progress"}})
        };
        let arguments = |index: u64, delta: &str| json!({"type": "response.function_call_arguments.delta", "output_index": index, "delta": delta});
        let done = |index: u64, id: &str, name: &str, arguments: &str| {
            json!({"type": "response.output_item.done", "output_index": index,
            "item": {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}})
        };
        let completed = || json!({"type": "response.completed", "response": {}});
        let call = |call_id: &str, name: &str, arguments: &str| Delta::ToolCall {
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        };
        let expect = [
            call("c1", "look", r#"{"at":1}"#),
            call("c2", "find", "{}"),
            Delta::Done(Ending::Complete),
        ];
        let whole = read(&[
            json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "rs_1"}}),
            added(1, "c1", "look"),
            added(2, "c2", "find"),
            arguments(1, r#"{"at""#),
            arguments(2, "{}"),
            arguments(1, ":1}"),
            json!({"type": "response.function_call_arguments.done", "output_index": 1, "arguments": r#"{"at":1}"#}),
            done(1, "c1", "look", r#"{"at":1}"#),
            done(2, "c2", "find", "{}"),
            completed(),
        ]);
        let whole: Vec<Delta> = whole.unwrap();
        assert_eq!(whole[0], Delta::Thinking);
        assert_eq!(whole[1..], expect);
        // from a server that leaves out the ends
        let halves = read(&[
            added(1, "c1", "look"),
            arguments(1, r#"{"at":1}"#),
            added(2, "c2", "find"),
            completed(),
        ]);
        assert_eq!(halves.unwrap(), expect);
        // from one that leaves out all but the ends
        let ends = read(&[
            done(0, "c1", "look", r#"{"at":1}"#),
            done(1, "c2", "find", ""),
            completed(),
        ]);
        assert_eq!(ends.unwrap(), expect);
        let half = [added(1, "c1", "look"), arguments(1, r#"{"at""#)];
        let cut = json!({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}});
        let cut = read(&[&half[..], &[cut]].concat());
        assert_eq!(cut.unwrap(), [Delta::Done(Ending::LengthLimit)]);
        let bad = read(&[&half[..], &[completed()]].concat());
        assert_eq!(bad.unwrap_err(), ProviderError::ToolCall);
    }

    #[test]
    fn parts_and_what_they_rest_on_are_told() {
        let text = |part, delta| json!({"type": "response.output_text.delta", "output_index": 0, "content_index": part, "delta": delta});
        let cite = |annotation: Value| {
            json!({"type": "response.output_text.annotation.added", "output_index": 0, "content_index": 1,
                                              "annotation_index": 0, "annotation": annotation})
        };
        let deltas = read(&[
            text(0, "a"),
            text(1, "b"),
            cite(json!({"type": "url_citation", "url": "https://a/", "title": "A", "start_index": 0, "end_index": 1})),
            cite(json!({"type": "file_citation", "file_id": "f", "filename": "f.txt", "index": 2})),
            cite(json!({"type": "container_file_citation", "container_id": "c", "file_id": "f", "filename": "g.txt", "start_index": 0, "end_index": 3})),
            cite(json!({"type": "file_citation", "file_id": "f", "index": 2})),
            cite(json!({"type": "file_path", "file_id": "f", "index": 2})),
        ])
        .unwrap();
        let told: Vec<Value> = deltas
            .iter()
            .filter_map(|delta| match delta {
                Delta::Annotation(annotation) => serde_json::to_value(annotation).ok(),
                _ => None,
            })
            .collect();
        assert_eq!(deltas[1], Delta::NextPart);
        let file = |name: &str, index: u64| json!({"type": "annotation", "source": {"type": "file", "title": name, "filename": name}, "index": index});
        assert_eq!(
            told,
            [
                json!({"type": "annotation", "source": {"type": "url", "title": "A", "url": "https://a/"}, "index": 1}),
                file("f.txt", 2),
                file("g.txt", 3),
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
        let end = ResponsesReader::default().end(&mut VecDeque::new());
        assert_eq!(end.unwrap_err(), ProviderError::BrokenOff);
    }
}
