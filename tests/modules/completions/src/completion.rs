//! One answer in the shapes of OpenAI's chat completions: the object, and the chunks it is streamed in.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use serde_json::{Value, json};

const ECHO: &str = "echo";
const ENDLESS: &str = "endless";
pub(crate) const MODELS: [&str; 2] = [ECHO, ENDLESS];

/// Tells answers apart.
static ANSWERS: AtomicU64 = AtomicU64::new(1);

/// What of a request matters here; the rest is passed over, as providers do.
#[derive(Deserialize)]
pub(crate) struct Request {
    pub(crate) model: String,
    messages: Vec<Message>,
    #[serde(default)]
    pub(crate) stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Content,
}

/// A text, or parts of which some are texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize, Default)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl Request {
    pub(crate) fn includes_usage(&self) -> bool {
        self.stream_options.include_usage
    }

    fn last_of_user(&self) -> String {
        let last = self.messages.iter().rfind(|message| message.role == "user");
        match last.map(|message| &message.content) {
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => parts.iter().map(|part| part.text.as_str()).collect(),
            None => String::new(),
        }
    }
}

pub(crate) struct Completion {
    id: String,
    model: String,
    text: String,
}

impl Completion {
    /// `None` for a model that is not here.
    pub(crate) fn of(request: &Request) -> Option<Completion> {
        MODELS
            .contains(&request.model.as_str())
            .then(|| Completion {
                id: format!("chatcmpl-{}", ANSWERS.fetch_add(1, Ordering::Relaxed)),
                model: request.model.clone(),
                text: request.last_of_user(),
            })
    }

    pub(crate) fn is_endless(&self) -> bool {
        self.model == ENDLESS
    }

    pub(crate) fn whole(&self) -> Value {
        let choice = json!({
            "index": 0,
            "message": {"role": "assistant", "content": self.text, "refusal": null},
            "logprobs": null,
            "finish_reason": "stop",
        });
        json!({
            "id": self.id, "object": "chat.completion", "created": 0, "model": self.model,
            "choices": [choice], "usage": self.usage(),
        })
    }

    /// One for each word; an endless one stops after the first.
    pub(crate) fn events(&self, with_usage: bool) -> Vec<Value> {
        let mut events = vec![self.chunk(json!({"role": "assistant", "content": ""}), None)];
        let words = self
            .words()
            .map(|word| self.chunk(json!({"content": word}), None));
        if self.is_endless() {
            events.extend(words.take(1));
            return events;
        }
        events.extend(words);
        events.push(self.chunk(json!({}), Some("stop")));
        if with_usage {
            let mut last = self.chunk(json!({}), None);
            last["choices"] = json!([]);
            last["usage"] = self.usage();
            events.push(last);
        }
        events
    }

    fn chunk(&self, delta: Value, finish_reason: Option<&str>) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": 0, "model": self.model,
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}],
        })
    }

    fn usage(&self) -> Value {
        let words = self.words().count();
        json!({"prompt_tokens": words, "completion_tokens": words, "total_tokens": 2 * words})
    }

    /// Each with the space behind it.
    fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive(' ')
    }
}
