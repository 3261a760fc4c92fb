//! The echo as a chat completion: the object, and the chunks it is streamed in.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Said, Telling, last_of_user, next_number, unix_seconds};

#[derive(Deserialize)]
pub(super) struct Request {
    pub(super) model: String,
    messages: Vec<Said>,
    #[serde(default)]
    pub(super) stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize, Clone, Copy, Default)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl Request {
    pub(super) fn text(&self) -> String {
        last_of_user(&self.messages)
    }
}

pub(super) struct Completion {
    id: String,
    model: String,
    created: u64,
    includes_usage: bool,
    text: String,
    words: usize,
}

impl Completion {
    pub(super) fn of(request: &Request) -> Completion {
        Completion {
            id: format!("chatcmpl-echo-{}", next_number()),
            model: request.model.clone(),
            created: unix_seconds(),
            includes_usage: request.stream_options.unwrap_or_default().include_usage,
            text: String::new(),
            words: 0,
        }
    }

    fn chunk(&self, choices: &Value, usage: &Value) -> Bytes {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model, "choices": choices,
        });
        if self.includes_usage {
            chunk["usage"] = usage.clone();
        }
        Bytes::from(format!("data: {chunk}\n\n"))
    }

    fn says(&self, delta: &Value, finish_reason: Option<&str>) -> Bytes {
        let choice =
            json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        self.chunk(&json!([choice]), &Value::Null)
    }

    /// The echo counts words.
    fn usage(&self) -> Value {
        json!({"prompt_tokens": self.words, "completion_tokens": self.words, "total_tokens": 2 * self.words})
    }
}

impl Telling for Completion {
    fn begin(&mut self, events: &mut VecDeque<Bytes>) {
        events.push_back(self.says(
            &json!({"role": "assistant", "content": "", "refusal": null}),
            None,
        ));
    }

    fn word(&mut self, word: &str, events: &mut VecDeque<Bytes>) {
        self.text.push_str(word);
        self.words += 1;
        events.push_back(self.says(&json!({"content": word}), None));
    }

    fn end(&mut self, events: &mut VecDeque<Bytes>) {
        events.push_back(self.says(&json!({}), Some("stop")));
        if self.includes_usage {
            events.push_back(self.chunk(&json!([]), &self.usage()));
        }
        events.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
    }

    fn whole(&self) -> Value {
        let choice = json!({
            "index": 0, "message": {"role": "assistant", "content": self.text, "refusal": null}, "logprobs": null, "finish_reason": "stop",
        });
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [choice], "usage": self.usage(),
        })
    }
}
