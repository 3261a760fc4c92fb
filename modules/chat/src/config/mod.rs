//! The module's configuration: as it is written, and as it was checked.
//!
//! Everything that can be wrong is found here, before a request comes, and the message says what to mend. The members stand
//! here, since they are one table in the file; each concern's checks stand in a file of their own.

mod actions;
mod attachments;
mod bounds;
mod gateway;
mod headers;
mod hidden;
mod provider;
mod store;
mod tools;
mod upstream;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use self::attachments::AttachmentsMember;
pub(crate) use self::gateway::GatewaySettings;
pub(crate) use self::hidden::Hidden;
pub(crate) use self::provider::{Api, Choice, ReasoningSummary};
use self::provider::{BASE_URL_DEFAULT, ProviderName};
pub(crate) use self::store::StoreName;
use self::tools::ToolConfig;
pub(crate) use self::tools::ToolError;
use crate::actions::Hook;
use crate::attachments::limits::Limits;
use crate::provider::{Echo, OpenAiSettings, Tool};
use crate::title::Titles;
use crate::upstream::UpstreamSettings;

/// A person watching the echo waits no longer for a word.
const ECHO_DELAY_MAX: Duration = Duration::from_secs(10);
/// What OpenAI has for it that is small; the one ChatKit's documentation names.
const TRANSCRIPTION_MODEL_DEFAULT: &str = "gpt-4o-mini-transcribe";

/// `[modules.chat.config]`, as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Left out: `openai` for sessions that have a secret, `echo` for those that have none.
    provider: Option<ProviderName>,
    /// Where the API is, up to and with its version: `https://api.openai.com/v1`.
    base_url: Option<String>,
    api: Api,
    model: Option<String>,
    /// Further models that a client may ask for in `inference_options`.
    models: Vec<String>,
    instructions: Option<String>,
    instructions_file: Option<PathBuf>,
    /// `false` for local servers that want no key.
    requires_key: Option<bool>,
    /// Asks the provider for its models before a session is issued, and refuses one whose key it refuses.
    validate_key: bool,
    /// How long the provider may send nothing: `"90s"`. What the two below are where they are left out.
    #[serde(deserialize_with = "bounds::duration")]
    timeout: Option<Duration>,
    /// Until there is a connection.
    #[serde(deserialize_with = "bounds::duration")]
    connect_timeout: Option<Duration>,
    /// From the whole request to the first of the answer.
    #[serde(deserialize_with = "bounds::duration")]
    first_byte_timeout: Option<Duration>,
    /// Between two parts of an answer.
    #[serde(deserialize_with = "bounds::duration")]
    stall_timeout: Option<Duration>,
    retries: Option<u32>,
    /// The header that takes the key, alone, in place of `Authorization: Bearer`: `"api-key"` for Azure.
    api_key_header: Option<String>,
    /// Sent with every request.
    headers: BTreeMap<String, Hidden>,
    /// Added to every address: `{ api-version = "2024-10-21" }` for Azure.
    query: BTreeMap<String, Hidden>,
    /// In place of those that the environment names: `"http://proxy:3128"`, `"socks5h://proxy"`.
    proxy: Option<Hidden>,
    /// Hosts that are reached without a proxy, as in `NO_PROXY`; `"*"` for all.
    no_proxy: Option<String>,
    max_output_tokens: Option<u32>,
    /// Asks reasoning models for a summary of their thoughts; `api = "responses"` only.
    reasoning_summary: Option<ReasoningSummary>,
    /// `false` for servers that choke on `stream_options`; `api = "chat_completions"` only.
    stream_usage: Option<bool>,
    /// Between the echo's words: `"20ms"`.
    #[serde(deserialize_with = "bounds::duration")]
    echo_delay: Option<Duration>,
    /// `false`, or how much may be attached.
    attachments: AttachmentsMember,
    /// The provider's, for dictation.
    transcription_model: Option<String>,
    /// How a thread gets its title: `words`, `model` or `none`.
    titles: Titles,
    gateway: gateway::GatewayTable,
    /// Where conversations are kept. Left out: in the module store if that is loaded and granted, else in memory.
    store: Option<StoreName>,
    /// The module that carries out custom actions.
    actions: Option<String>,
    /// What the client can do for the model.
    tools: Vec<ToolConfig>,
}

/// The configuration, checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) actions: Option<Hook>,
    pub(crate) choice: Choice,
    pub(crate) openai: OpenAiSettings,
    pub(crate) upstream: UpstreamSettings,
    pub(crate) validates_key: bool,
    pub(crate) echo: Echo,
    /// `None`: switched off.
    pub(crate) attachments: Option<Limits>,
    pub(crate) transcription_model: String,
    pub(crate) titles: Titles,
    pub(crate) gateway: GatewaySettings,
    /// The models a client may name: the configured one and `models`.
    pub(crate) models: Vec<String>,
    pub(crate) store: Option<StoreName>,
    pub(crate) tools: Vec<Tool>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(
        "`actions` is `{0}`, which is no name of a module: name the one that carries out actions"
    )]
    Actions(String),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(
        "`base_url` is `{url}`, {reason}: write it like `{BASE_URL_DEFAULT}` or `http://127.0.0.1:8080/v1`"
    )]
    BaseUrl { url: String, reason: &'static str },
    #[error("`model` is missing: name a model that `{0}` serves")]
    ModelMissing(String),
    #[error("`{0}` is empty: remove it or give it a value")]
    Empty(&'static str),
    #[error("both `instructions` and `instructions_file` are given: keep one")]
    TwoInstructions,
    #[error("`instructions_file` {path} cannot be read: {reason}")]
    InstructionsFile { path: PathBuf, reason: String },
    #[error("`{name}` is {given}: choose a value between {least} and {most}")]
    OutOfRange {
        name: &'static str,
        given: String,
        least: String,
        most: String,
    },
    #[error("`{0}` is no name of a header: use letters, digits and hyphens")]
    HeaderName(String),
    #[error("the value of header `{0}` cannot be sent: use up to 4 KiB of visible ASCII")]
    HeaderValue(String),
    #[error("header `{0}` is given twice, in different spellings: keep one")]
    HeaderTwice(String),
    #[error("header `{0}` belongs to the request itself: remove it")]
    HeaderTaken(String),
    #[error("more than {0} headers are given: remove some")]
    ManyHeaders(usize),
    #[error(
        "header `{0}` is where a key goes, which comes from the session: remove it, or name it in `api_key_header` alone"
    )]
    KeyInHeaders(String),
    #[error(
        "`proxy` is no proxy's URL: write it like `http://proxy:3128`, `https://proxy` or `socks5h://proxy:1080`"
    )]
    Proxy,
    #[error(
        "`validate_key` finds no key to try: remove it, `requires_key = false` or `provider = \"echo\"`"
    )]
    NoKeyToValidate,
    #[error("`reasoning_summary` needs `api = \"responses\"`: remove it or change `api`")]
    SummaryWithoutResponses,
    #[error(
        "`stream_usage` is for `api = \"chat_completions\"`: remove it, the Responses API always tells the usage"
    )]
    UsageWithResponses,
    #[error(
        "`requires_key = false` does not go with an automatic provider: set `provider = \"openai\"`"
    )]
    KeylessWithoutProvider,
    #[error(
        "`{0}` is no media type for `attachments.types`: write it like `image/png` or `text/*`"
    )]
    MediaType(String),
    #[error("`attachments.base_url` {reason}: write it like `http://localhost`")]
    AttachmentsUrl { reason: &'static str },
}

impl Config {
    /// Checks everything and reads `instructions_file`.
    pub(crate) fn check(&self) -> Result<Settings, ConfigError> {
        let openai = self.openai()?;
        let mut models = vec![openai.model.clone()];
        models.extend(self.models.iter().cloned());
        Ok(Settings {
            actions: self.actions()?,
            choice: self.choice()?,
            openai,
            upstream: self.upstream()?,
            validates_key: self.validates_key()?,
            echo: Echo {
                delay: bounds::within(
                    "echo_delay",
                    self.echo_delay,
                    Duration::ZERO,
                    Duration::ZERO,
                    ECHO_DELAY_MAX,
                )?,
            },
            attachments: self.attachments()?,
            transcription_model: bounds::non_empty(
                "transcription_model",
                &self.transcription_model,
            )?
            .unwrap_or(TRANSCRIPTION_MODEL_DEFAULT)
            .to_owned(),
            titles: self.titles,
            gateway: self.gateway.check()?,
            models,
            store: self.store,
            tools: self.tools()?,
        })
    }
}

#[cfg(test)]
mod tests;
