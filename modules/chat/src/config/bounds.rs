//! Members with bounds: durations, numbers, texts.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::ConfigError;

pub(super) fn non_empty<'a>(
    name: &'static str,
    text: &'a Option<String>,
) -> Result<Option<&'a str>, ConfigError> {
    match text.as_deref() {
        Some(text) if text.trim().is_empty() => Err(ConfigError::Empty(name)),
        other => Ok(other),
    }
}

pub(super) fn within(
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

pub(super) fn out_of_range<T: ToString>(
    name: &'static str,
    given: T,
    least: T,
    most: T,
) -> ConfigError {
    ConfigError::OutOfRange {
        name,
        given: given.to_string(),
        least: least.to_string(),
        most: most.to_string(),
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    humantime::parse_duration(&text).map(Some).map_err(|error| {
        serde::de::Error::custom(format!(
            "`{text}` is not a duration like \"90s\" or \"2m\": {error}"
        ))
    })
}
