//! The module's configuration: as it is written, and as it was checked.
//!
//! Everything that can be wrong is found here, before a request comes, and the message says what to mend.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use serde::{Deserialize, Deserializer};

use crate::provider::{Echo, OpenAiSettings};

const BASE_URL_DEFAULT: &str = "https://api.openai.com/v1";
/// Small, quick and allowed to every key; only for OpenAI's own address, since others serve other names.
const MODEL_DEFAULT: &str = "gpt-4.1-mini";
/// The longest silence of a provider; models that reason in secret need about a minute.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
/// As OpenAI's own clients.
const RETRIES_DEFAULT: u32 = 2;
/// More keeps a user waiting longer than pressing "retry" does.
const RETRIES_MAX: u32 = 5;
/// Longer instructions leave a model no room; and a wrong path is found before a large file is read.
const INSTRUCTIONS_BYTES_MAX: u64 = 256 * 1024;
/// A person watching the echo waits no longer for a word.
const ECHO_DELAY_MAX: Duration = Duration::from_secs(10);

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
    /// How long the provider may send nothing: `"90s"`.
    #[serde(deserialize_with = "duration")]
    timeout: Option<Duration>,
    retries: Option<u32>,
    max_output_tokens: Option<u32>,
    /// Asks reasoning models for a summary of their thoughts; `api = "responses"` only.
    reasoning_summary: Option<ReasoningSummary>,
    /// Between the echo's words: `"20ms"`.
    #[serde(deserialize_with = "duration")]
    echo_delay: Option<Duration>,
    store: StoreName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProviderName {
    OpenAi,
    Echo,
}

/// Which of OpenAI's two APIs the provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Api {
    #[default]
    Responses,
    ChatCompletions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReasoningSummary {
    Auto,
    Concise,
    Detailed,
}

/// Threads live in memory, as long as this generation of the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoreName {
    #[default]
    Memory,
}

/// The configuration, checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) choice: Choice,
    pub(crate) openai: OpenAiSettings,
    pub(crate) echo: Echo,
    /// The models a client may name: the configured one and `models`.
    pub(crate) models: Vec<String>,
}

/// Which provider answers a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// OpenAI's when the session has a secret, else the echo.
    BySecret,
    OpenAi,
    Echo,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
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
    #[error("`reasoning_summary` needs `api = \"responses\"`: remove it or change `api`")]
    SummaryWithoutResponses,
    #[error(
        "`requires_key = false` does not go with an automatic provider: set `provider = \"openai\"`"
    )]
    KeylessWithoutProvider,
}

impl Config {
    /// Checks everything and reads `instructions_file`.
    pub(crate) fn check(&self) -> Result<Settings, ConfigError> {
        let base_url = self.base_url.as_deref().unwrap_or(BASE_URL_DEFAULT);
        let model = match (non_empty("model", &self.model)?, &self.base_url) {
            (Some(model), _) => model.to_owned(),
            // the echo asks no model
            (None, Some(url)) if self.provider != Some(ProviderName::Echo) => {
                return Err(ConfigError::ModelMissing(url.clone()));
            }
            (None, _) => MODEL_DEFAULT.to_owned(),
        };
        if self.reasoning_summary.is_some() && self.api != Api::Responses {
            return Err(ConfigError::SummaryWithoutResponses);
        }
        let requires_key = self.requires_key.unwrap_or(true);
        let choice = match self.provider {
            Some(ProviderName::OpenAi) => Choice::OpenAi,
            Some(ProviderName::Echo) => Choice::Echo,
            None if !requires_key => return Err(ConfigError::KeylessWithoutProvider),
            None => Choice::BySecret,
        };
        let mut models = vec![model.clone()];
        models.extend(self.models.iter().cloned());
        Ok(Settings {
            choice,
            openai: OpenAiSettings {
                base_url: check_base_url(base_url)?,
                api: self.api,
                model,
                instructions: self.instructions()?,
                requires_key,
                timeout: within(
                    "timeout",
                    self.timeout,
                    TIMEOUT_DEFAULT,
                    Duration::from_millis(100),
                    TIMEOUT_MAX,
                )?,
                retries: match self.retries.unwrap_or(RETRIES_DEFAULT) {
                    retries @ ..=RETRIES_MAX => retries,
                    given => return Err(out_of_range("retries", given, 0, RETRIES_MAX)),
                },
                max_output_tokens: self.max_output_tokens,
                reasoning_summary: self.reasoning_summary,
            },
            echo: Echo {
                delay: within(
                    "echo_delay",
                    self.echo_delay,
                    Duration::ZERO,
                    Duration::ZERO,
                    ECHO_DELAY_MAX,
                )?,
            },
            models,
        })
    }

    fn instructions(&self) -> Result<Option<Arc<str>>, ConfigError> {
        match (
            non_empty("instructions", &self.instructions)?,
            &self.instructions_file,
        ) {
            (Some(_), Some(_)) => Err(ConfigError::TwoInstructions),
            (Some(text), None) => Ok(Some(text.into())),
            (None, None) => Ok(None),
            (None, Some(path)) => {
                let failed = |reason: String| ConfigError::InstructionsFile {
                    path: path.clone(),
                    reason,
                };
                let bytes = std::fs::metadata(path)
                    .map_err(|error| failed(error.to_string()))?
                    .len();
                if bytes > INSTRUCTIONS_BYTES_MAX {
                    return Err(failed(format!(
                        "it has {bytes} bytes, more than {INSTRUCTIONS_BYTES_MAX}"
                    )));
                }
                let text =
                    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
                if text.trim().is_empty() {
                    return Err(failed("it is empty".to_owned()));
                }
                Ok(Some(text.into()))
            }
        }
    }
}

/// The address without a slash at its end.
fn check_base_url(url: &str) -> Result<Uri, ConfigError> {
    let refuse = |reason| ConfigError::BaseUrl {
        url: url.to_owned(),
        reason,
    };
    let uri: Uri = url
        .trim_end_matches('/')
        .parse()
        .map_err(|_| refuse("which is not a URL"))?;
    let Some(authority) = uri.authority() else {
        return Err(refuse("which names no host"));
    };
    if authority.as_str().contains('@') {
        // not shown either: what stands before the @ is a password
        return Err(ConfigError::BaseUrl {
            url: "…@…".to_owned(),
            reason: "which holds a credential",
        });
    }
    if uri.query().is_some() {
        return Err(refuse("which has a query"));
    }
    let scheme = uri.scheme();
    if scheme != Some(&Scheme::HTTPS) && scheme != Some(&Scheme::HTTP) {
        return Err(refuse("which is neither https nor http"));
    }
    Ok(uri)
}

fn non_empty<'a>(
    name: &'static str,
    text: &'a Option<String>,
) -> Result<Option<&'a str>, ConfigError> {
    match text.as_deref() {
        Some(text) if text.trim().is_empty() => Err(ConfigError::Empty(name)),
        other => Ok(other),
    }
}

fn within(
    name: &'static str,
    given: Option<Duration>,
    default: Duration,
    least: Duration,
    most: Duration,
) -> Result<Duration, ConfigError> {
    let given = given.unwrap_or(default);
    if (least..=most).contains(&given) {
        return Ok(given);
    }
    let text = |duration| humantime::format_duration(duration).to_string();
    Err(out_of_range(name, text(given), text(least), text(most)))
}

fn out_of_range<T: ToString>(name: &'static str, given: T, least: T, most: T) -> ConfigError {
    ConfigError::OutOfRange {
        name,
        given: given.to_string(),
        least: least.to_string(),
        most: most.to_string(),
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    humantime::parse_duration(&text).map(Some).map_err(|error| {
        serde::de::Error::custom(format!(
            "`{text}` is not a duration like \"90s\" or \"2m\": {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(config: Value) -> Result<Settings, String> {
        let config: Config = serde_json::from_value(config).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn without_configuration_the_secret_decides() {
        let settings = check(json!({})).unwrap();
        assert_eq!(settings.choice, Choice::BySecret);
        assert_eq!(settings.openai.base_url, "https://api.openai.com/v1");
        assert_eq!(settings.openai.model, MODEL_DEFAULT);
        assert_eq!(settings.openai.timeout, TIMEOUT_DEFAULT);
    }

    #[test]
    fn everything_can_be_set() {
        let settings = check(json!({
            "provider": "openai", "base_url": "http://127.0.0.1:8080/v1/", "api": "chat_completions",
            "model": "tiny", "models": ["large"], "instructions": "Be brief.", "requires_key": false,
            "timeout": "5s", "retries": 0, "max_output_tokens": 100, "echo_delay": "20ms", "store": "memory",
        }))
        .unwrap();
        assert_eq!(settings.choice, Choice::OpenAi);
        assert_eq!(settings.openai.base_url, "http://127.0.0.1:8080/v1");
        assert_eq!(settings.openai.api, Api::ChatCompletions);
        assert_eq!(settings.openai.instructions.as_deref(), Some("Be brief."));
        assert_eq!(settings.openai.timeout, Duration::from_secs(5));
        assert_eq!(settings.echo.delay, Duration::from_millis(20));
        assert_eq!(settings.models, ["tiny", "large"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let refused = |config: Value, expect: &str| {
            let error = check(config.clone()).expect_err(&config.to_string());
            assert!(error.contains(expect), "{config}: {error}");
        };
        refused(
            json!({"providr": "echo"}),
            "unknown field `providr`, expected one of `provider`",
        );
        refused(json!({"provider": "ollama"}), "unknown variant `ollama`");
        refused(
            json!({"base_url": "api.openai.com"}),
            "`model` is missing: name a model that `api.openai.com` serves",
        );
        refused(json!({"base_url": "/v1", "model": "m"}), "names no host");
        refused(
            json!({"base_url": "api.openai.com", "model": "m"}),
            "neither https nor http",
        );
        refused(
            json!({"base_url": "ftp://host/v1", "model": "m"}),
            "neither https nor http",
        );
        refused(
            json!({"base_url": "http://host/v1?key=1", "model": "m"}),
            "which has a query",
        );
        refused(
            json!({"base_url": "http://me:hunter2@host", "model": "m"}),
            "holds a credential",
        );
        refused(json!({"model": " "}), "`model` is empty");
        refused(json!({"timeout": "soon"}), "is not a duration like");
        refused(
            json!({"timeout": "0s"}),
            "choose a value between 100ms and 1h",
        );
        refused(json!({"retries": 6}), "between 0 and 5");
        refused(
            json!({"instructions": "a", "instructions_file": "b"}),
            "keep one",
        );
        refused(
            json!({"instructions_file": "/nonexistent/file"}),
            "cannot be read",
        );
        refused(
            json!({"api": "chat_completions", "reasoning_summary": "auto"}),
            "needs `api = \"responses\"`",
        );
        refused(
            json!({"requires_key": false}),
            "set `provider = \"openai\"`",
        );
        let error = check(json!({"base_url": "http://me:hunter2@host", "model": "m"})).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
