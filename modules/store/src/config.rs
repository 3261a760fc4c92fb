//! `[modules.store.config]`.

use midplane_sdk::{Error, Result};
use midplane_store_backend::limits::QUOTA_BYTES;
use midplane_store_backend::sqlite::Durability;
use serde::Deserialize;

const FILE: &str = "state.db";
/// In place of a file.
const MEMORY: &str = ":memory:";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    /// In the module's own directory, so that no two of a kernel's modules have one file.
    file: Option<String>,
    /// Of each calling module: `"1GiB"`, or a number of bytes.
    quota: Option<Quota>,
    sync: SyncName,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Quota {
    Bytes(u64),
    Written(String),
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SyncName {
    #[default]
    Full,
    Normal,
}

/// The configuration, checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) place: Place,
    pub(crate) quota_bytes: u64,
    pub(crate) sync: Durability,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    File(String),
    Memory,
}

impl Config {
    pub(crate) fn check(&self) -> Result<Settings> {
        let file = self.file.as_deref().unwrap_or(FILE);
        let place = match file {
            MEMORY => Place::Memory,
            "" | "." | ".." => return Err(not_a_name(file)),
            name if name.contains(['/', '\0']) => return Err(not_a_name(file)),
            name => Place::File(name.to_owned()),
        };
        let quota_bytes = match &self.quota {
            None => QUOTA_BYTES,
            Some(Quota::Bytes(bytes)) => *bytes,
            Some(Quota::Written(text)) => quantity(text).ok_or_else(|| {
                Error::msg(format!(
                    "quota: {text:?} is no quantity: write it like \"1GiB\" or \"500MiB\""
                ))
            })?,
        };
        if i64::try_from(quota_bytes).is_err() {
            return Err(Error::msg("quota: more than any file can hold: lower it"));
        }
        Ok(Settings {
            place,
            quota_bytes,
            sync: match self.sync {
                SyncName::Full => Durability::Full,
                SyncName::Normal => Durability::Normal,
            },
        })
    }
}

fn not_a_name(file: &str) -> Error {
    Error::msg(format!(
        "file: {file:?} is not the name of a file in the module's own directory: name one without a path, or \"{MEMORY}\""
    ))
}

fn quantity(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_default_and_what_is_wrong_is_named() {
        let check = |config: serde_json::Value, expect: &str| {
            let told = serde_json::from_value::<Config>(config.clone())
                .map_err(Error::from)
                .and_then(|config| config.check());
            let told = match told {
                Ok(Settings {
                    place,
                    quota_bytes,
                    sync,
                }) => format!("{place:?} {quota_bytes} {sync:?}"),
                Err(error) => error.to_string(),
            };
            assert!(told.contains(expect), "{config}: {told}");
        };
        check(serde_json::json!({}), "File(\"state.db\") 1073741824 Full");
        check(
            serde_json::json!({"file": "other.db", "quota": "5MiB", "sync": "normal"}),
            "File(\"other.db\") 5242880 Normal",
        );
        check(
            serde_json::json!({"file": ":memory:", "quota": 100}),
            "Memory 100 Full",
        );
        check(
            serde_json::json!({"file": "../state.db"}),
            "name one without a path",
        );
        check(
            serde_json::json!({"file": "/tmp/state.db"}),
            "name one without a path",
        );
        check(serde_json::json!({"file": ""}), "name one without a path");
        check(serde_json::json!({"quota": "5 apples"}), "is no quantity");
        check(
            serde_json::json!({"quota": "99999999999GiB"}),
            "is no quantity",
        );
        check(
            serde_json::json!({"quota": u64::MAX}),
            "more than any file can hold",
        );
        check(
            serde_json::json!({"sync": "never"}),
            "unknown variant `never`",
        );
    }
}
