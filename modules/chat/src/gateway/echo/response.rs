//! The echo as a response of the Responses API: the object, and the events it is streamed in.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{MODEL, Said, Telling, last_of_user, next_number, unix_seconds};

#[derive(Deserialize)]
pub(super) struct Request {
    /// A stored prompt may name it in its place.
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    input: Option<Input>,
    #[serde(default)]
    pub(super) stream: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Items(Vec<Said>),
}

impl Request {
    pub(super) fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(MODEL)
    }

    pub(super) fn text(&self) -> String {
        match &self.input {
            Some(Input::Text(text)) => text.clone(),
            Some(Input::Items(items)) => last_of_user(items),
            None => String::new(),
        }
    }
}

pub(super) struct Answer {
    number: u64,
    model: String,
    created_at: u64,
    text: String,
    words: usize,
    events: u64,
}

impl Answer {
    pub(super) fn of(request: &Request) -> Answer {
        Answer {
            number: next_number(),
            model: request.model().to_owned(),
            created_at: unix_seconds(),
            text: String::new(),
            words: 0,
            events: 0,
        }
    }

    fn item_id(&self) -> String {
        format!("msg_echo_{}", self.number)
    }

    fn part(&self) -> Value {
        json!({"type": "output_text", "text": self.text, "annotations": [], "logprobs": []})
    }

    fn item(&self, status: &str) -> Value {
        let content = match status {
            "completed" => json!([self.part()]),
            _ => json!([]),
        };
        json!({"id": self.item_id(), "type": "message", "role": "assistant", "status": status, "content": content})
    }

    fn response(&self, status: &str) -> Value {
        let (output, usage) = match status {
            // The echo counts words.
            "completed" => (
                json!([self.item(status)]),
                json!({"input_tokens": self.words, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": self.words,
                       "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2 * self.words}),
            ),
            _ => (json!([]), Value::Null),
        };
        json!({
            "id": format!("resp_echo_{}", self.number), "object": "response", "created_at": self.created_at, "status": status,
            "background": false, "error": null, "incomplete_details": null, "instructions": null, "max_output_tokens": null,
            "metadata": {}, "model": self.model, "output": output, "parallel_tool_calls": true, "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null}, "store": false, "temperature": 1.0,
            "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled",
            "usage": usage,
        })
    }

    fn event(&mut self, kind: &str, mut event: Value) -> Bytes {
        event["type"] = kind.into();
        event["sequence_number"] = self.events.into();
        self.events += 1;
        Bytes::from(format!("event: {kind}\ndata: {event}\n\n"))
    }

    fn of_item(&mut self, kind: &str, mut event: Value) -> Bytes {
        event["item_id"] = self.item_id().into();
        event["output_index"] = 0.into();
        event["content_index"] = 0.into();
        self.event(kind, event)
    }
}

impl Telling for Answer {
    fn begin(&mut self, events: &mut VecDeque<Bytes>) {
        let response = json!({"response": self.response("in_progress")});
        events.push_back(self.event("response.created", response.clone()));
        events.push_back(self.event("response.in_progress", response));
        let item = json!({"output_index": 0, "item": self.item("in_progress")});
        events.push_back(self.event("response.output_item.added", item));
        let part = json!({"part": self.part()});
        events.push_back(self.of_item("response.content_part.added", part));
    }

    fn word(&mut self, word: &str, events: &mut VecDeque<Bytes>) {
        self.text.push_str(word);
        self.words += 1;
        let delta = json!({"delta": word, "logprobs": []});
        events.push_back(self.of_item("response.output_text.delta", delta));
    }

    fn end(&mut self, events: &mut VecDeque<Bytes>) {
        let text = json!({"text": self.text, "logprobs": []});
        events.push_back(self.of_item("response.output_text.done", text));
        let part = json!({"part": self.part()});
        events.push_back(self.of_item("response.content_part.done", part));
        let item = json!({"output_index": 0, "item": self.item("completed")});
        events.push_back(self.event("response.output_item.done", item));
        let response = json!({"response": self.response("completed")});
        events.push_back(self.event("response.completed", response));
    }

    fn whole(&self) -> Value {
        self.response("completed")
    }
}
