//! A model behind an OpenAI-compatible API: OpenAI itself, Azure, Ollama, vLLM, llama.cpp, LM Studio, LiteLLM.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::client::Client;
use super::event_stream::EventStream;
use super::{Conversation, Delta, Deltas, Provider, ProviderError};
use super::{chat_completions, responses};
use crate::config::{Api, ReasoningSummary};
use crate::credential::Credential;
use crate::upstream::Upstream;

#[derive(Debug, Clone)]
pub(crate) struct OpenAiSettings {
    pub(crate) api: Api,
    pub(crate) model: String,
    pub(crate) instructions: Option<Arc<str>>,
    pub(crate) retries: u32,
    pub(crate) max_output_tokens: Option<u32>,
    pub(crate) reasoning_summary: Option<ReasoningSummary>,
    /// Asks for the usage of a streamed answer, which the Responses API always tells.
    pub(crate) stream_usage: bool,
}

pub(crate) struct OpenAi {
    settings: OpenAiSettings,
    client: Client,
}

impl OpenAi {
    pub(crate) fn new(settings: OpenAiSettings, upstream: Upstream) -> OpenAi {
        let client = Client {
            upstream,
            path: match settings.api {
                Api::Responses => "/responses",
                Api::ChatCompletions => "/chat/completions",
            },
            retries: settings.retries,
        };
        OpenAi { settings, client }
    }
}

impl Provider for OpenAi {
    fn answer(&self, conversation: Conversation, credential: Arc<dyn Credential>) -> Deltas {
        let body = match self.settings.api {
            Api::Responses => responses::request(&self.settings, &conversation),
            Api::ChatCompletions => chat_completions::request(&self.settings, &conversation),
        };
        let reader: Box<dyn Reader> = match self.settings.api {
            Api::Responses => Box::<responses::ResponsesReader>::default(),
            Api::ChatCompletions => Box::<chat_completions::ChatReader>::default(),
        };
        let client = self.client.clone();
        let tools = conversation.tools.into_iter().map(|tool| tool.name);
        let tools = tools.collect();
        stream::once(async move {
            let events = client.open(Bytes::from(body), &*credential).await?;
            Ok::<_, ProviderError>(deltas(events, reader, tools))
        })
        .try_flatten()
        .boxed()
    }
}

/// Reads one API's events.
pub(super) trait Reader: Send {
    /// Appends what the data of an event says.
    fn read(&mut self, data: &str, deltas: &mut VecDeque<Delta>) -> Result<(), ProviderError>;

    /// What the end of the stream means when nothing said before that the answer was over.
    fn end(&mut self, _deltas: &mut VecDeque<Delta>) -> Result<(), ProviderError> {
        Err(ProviderError::BrokenOff)
    }
}

/// Ends behind [`Delta::Done`] or the first error, whatever else the provider sends. An error stands behind what was said
/// before it.
fn deltas(events: EventStream, reader: Box<dyn Reader>, tools: Vec<String>) -> Deltas {
    let reading = Reading {
        events,
        reader,
        tools,
        read: VecDeque::new(),
        failure: None,
    };
    stream::try_unfold(Some(reading), |reading| async move {
        let Some(mut reading) = reading else {
            return Ok(None);
        };
        let delta = reading.next().await?;
        let rest = (!matches!(delta, Delta::Done(_))).then_some(reading);
        Ok(Some((delta, rest)))
    })
    .boxed()
}

struct Reading {
    events: EventStream,
    reader: Box<dyn Reader>,
    /// The names of those that may be called.
    tools: Vec<String>,
    read: VecDeque<Delta>,
    failure: Option<ProviderError>,
}

impl Reading {
    async fn next(&mut self) -> Result<Delta, ProviderError> {
        loop {
            match self.read.pop_front() {
                Some(Delta::ToolCall { name, .. }) if !self.tools.contains(&name) => {
                    return Err(ProviderError::ToolCall);
                }
                Some(delta) => return Ok(delta),
                None => {}
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            let read = match self.events.next().await? {
                Some(data) => self.reader.read(&data, &mut self.read),
                None => self.reader.end(&mut self.read),
            };
            self.failure = read.err();
        }
    }
}

#[cfg(test)]
pub(super) fn settings_for_tests(api: Api) -> OpenAiSettings {
    OpenAiSettings {
        api,
        model: "tiny".to_owned(),
        instructions: Some("Be brief.".into()),
        retries: 0,
        max_output_tokens: None,
        reasoning_summary: None,
        stream_usage: true,
    }
}

/// All kinds of parts and messages.
#[cfg(test)]
pub(super) fn conversation_for_tests() -> Conversation {
    use super::{Message, Part, Tool};

    let call = |call_id: &str, arguments: &str| Message::ToolCall {
        call_id: call_id.to_owned(),
        name: "look".to_owned(),
        arguments: arguments.to_owned(),
    };
    let output = |call_id: &str, output: &str| Message::ToolOutput {
        call_id: call_id.to_owned(),
        output: output.to_owned(),
    };
    let image = Part::Image {
        media_type: "image/png".to_owned(),
        data: Bytes::from_static(b"\x89PNG"),
    };
    let file = Part::File {
        name: "a.pdf".to_owned(),
        media_type: "application/pdf".to_owned(),
        data: Bytes::from_static(b"%PDF"),
    };
    Conversation {
        model: Some("large".to_owned()),
        instructions: Some("Be kind.".into()),
        messages: vec![
            Message::User(vec![Part::Text("Look".to_owned()), image, file]),
            Message::Assistant("I look.".to_owned()),
            call("c1", r#"{"at":1}"#),
            call("c2", "{}"),
            output("c1", "a cat"),
            output("c2", "a dog"),
            call("c3", "{}"),
        ],
        tools: vec![Tool {
            name: "look".to_owned(),
            description: "Looks.".to_owned(),
            parameters: serde_json::json!({"type": "object"}),
        }],
        tool_choice: Some("look".to_owned()),
    }
}
