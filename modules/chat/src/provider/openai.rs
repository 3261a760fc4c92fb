//! A model behind an OpenAI-compatible API: OpenAI itself, Azure, Ollama, vLLM, llama.cpp, LM Studio, LiteLLM.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::client::Client;
use super::event_stream::EventStream;
use super::{Conversation, Delta, Deltas, Ending, Provider, ProviderError};
use super::{openai_chat as chat, openai_responses as responses};
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
            Api::ChatCompletions => chat::request(&self.settings, &conversation),
        };
        let reader: Box<dyn Reader> = match self.settings.api {
            Api::Responses => Box::<responses::ResponsesReader>::default(),
            Api::ChatCompletions => Box::<chat::ChatReader>::default(),
        };
        let client = self.client.clone();
        stream::once(async move {
            let events = client.open(Bytes::from(body), &*credential).await?;
            Ok::<_, ProviderError>(deltas(events, reader))
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
    fn end(&self) -> Result<Ending, ProviderError> {
        Err(ProviderError::BrokenOff)
    }
}

/// Ends behind [`Delta::Done`] or the first error, whatever else the provider sends.
fn deltas(events: EventStream, reader: Box<dyn Reader>) -> Deltas {
    let reading = Some((events, reader, VecDeque::new()));
    stream::try_unfold(reading, |reading| async move {
        let Some((mut events, mut reader, mut read)) = reading else {
            return Ok(None);
        };
        loop {
            match read.pop_front() {
                Some(done @ Delta::Done(_)) => return Ok(Some((done, None))),
                Some(delta) => return Ok(Some((delta, Some((events, reader, read))))),
                None => {}
            }
            match events.next().await? {
                Some(data) => reader.read(&data, &mut read)?,
                None => read.push_back(Delta::Done(reader.end()?)),
            }
        }
    })
    .boxed()
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
    }
}
