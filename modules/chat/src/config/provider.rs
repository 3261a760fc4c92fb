//! Which model answers, through which API, and what it is told.

use std::sync::Arc;

use serde::Deserialize;

use super::bounds::{non_empty, out_of_range};
use super::{Config, ConfigError};
use crate::provider::OpenAiSettings;

pub(super) const BASE_URL_DEFAULT: &str = "https://api.openai.com/v1";
/// Small, quick and allowed to every key; only for OpenAI's own address, since others serve other names.
const MODEL_DEFAULT: &str = "gpt-4.1-mini";
/// As OpenAI's own clients.
const RETRIES_DEFAULT: u32 = 2;
/// More keeps a user waiting longer than pressing "retry" does.
const RETRIES_MAX: u32 = 5;
/// Longer instructions leave a model no room; and a wrong path is found before a large file is read.
const INSTRUCTIONS_BYTES_MAX: u64 = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProviderName {
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

/// Which provider answers a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// OpenAI's when the session has a secret, else the echo.
    BySecret,
    OpenAi,
    Echo,
}

impl Config {
    pub(super) fn choice(&self) -> Result<Choice, ConfigError> {
        Ok(match self.provider {
            Some(ProviderName::OpenAi) => Choice::OpenAi,
            Some(ProviderName::Echo) => Choice::Echo,
            None if self.requires_key == Some(false) => {
                return Err(ConfigError::KeylessWithoutProvider);
            }
            None => Choice::BySecret,
        })
    }

    pub(super) fn validates_key(&self) -> Result<bool, ConfigError> {
        let keyless = self.requires_key == Some(false) || self.provider == Some(ProviderName::Echo);
        if self.validate_key && keyless {
            return Err(ConfigError::NoKeyToValidate);
        }
        Ok(self.validate_key)
    }

    pub(super) fn openai(&self) -> Result<OpenAiSettings, ConfigError> {
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
        if self.stream_usage.is_some() && self.api == Api::Responses {
            return Err(ConfigError::UsageWithResponses);
        }
        Ok(OpenAiSettings {
            api: self.api,
            model,
            instructions: self.instructions()?,
            retries: match self.retries.unwrap_or(RETRIES_DEFAULT) {
                retries @ ..=RETRIES_MAX => retries,
                given => return Err(out_of_range("retries", given, 0, RETRIES_MAX)),
            },
            max_output_tokens: self.max_output_tokens,
            reasoning_summary: self.reasoning_summary,
            stream_usage: self.stream_usage.unwrap_or(true),
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
