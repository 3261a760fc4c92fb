//! `[modules.chat.config.attachments]`, or `attachments = false`.

use std::fmt;

use http::Uri;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::bounds::out_of_range;
use super::{Config, ConfigError};
use crate::attachments::kind::{Types, is_pattern};
use crate::attachments::limits::Limits;

/// A photograph of a telephone, a long PDF; ten of them are in memory while a model is asked.
const FILE_BYTES: u64 = 10 << 20;
/// A model is shown 24 MiB at most.
const FILE_BYTES_MAX: u64 = 24 << 20;
/// Some hundred photographs.
const USER_BYTES: u64 = 1 << 30;
const USER_BYTES_MAX: u64 = 1 << 40;
/// As many as fit below a message.
const PER_MESSAGE: usize = 10;
const PER_MESSAGE_MAX: usize = 100;
/// As long as most file systems let a name be.
const NAME_BYTES: usize = 255;
/// A path of a project.
const NAME_BYTES_MAX: usize = 1_024;
/// What clients of the socket write before a path: there is no host behind it.
const BASE_URL: &str = "http://localhost";

/// As written.
#[derive(Debug, Clone, Default)]
pub(super) enum AttachmentsMember {
    #[default]
    Default,
    Switch(bool),
    Table(Table),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Table {
    /// Of one file: `"10MiB"`.
    file_bytes: Option<Quantity>,
    /// Of all files of one user.
    user_bytes: Option<Quantity>,
    per_message: Option<usize>,
    /// Of an attachment's name.
    name_bytes: Option<usize>,
    /// Media types: `"image/png"`, `"text/*"`. Left out: PNG, JPEG, GIF and WebP images, PDF and text.
    types: Option<Vec<String>>,
    /// What stands before `/api/…` in the addresses that clients upload to and see images at; for clients that find the
    /// kernel through something else than its socket.
    base_url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quantity(u64);

impl Config {
    /// `None`: switched off.
    pub(super) fn attachments(&self) -> Result<Option<Limits>, ConfigError> {
        let none = Table::default();
        let table = match &self.attachments {
            AttachmentsMember::Switch(false) => return Ok(None),
            AttachmentsMember::Default | AttachmentsMember::Switch(true) => &none,
            AttachmentsMember::Table(table) => table,
        };
        Ok(Some(Limits {
            file_bytes: quantity(
                "attachments.file_bytes",
                table.file_bytes,
                FILE_BYTES,
                FILE_BYTES_MAX,
            )?,
            user_bytes: quantity(
                "attachments.user_bytes",
                table.user_bytes,
                USER_BYTES,
                USER_BYTES_MAX,
            )?,
            per_message: number(
                "attachments.per_message",
                table.per_message,
                PER_MESSAGE,
                PER_MESSAGE_MAX,
            )?,
            name_bytes: number(
                "attachments.name_bytes",
                table.name_bytes,
                NAME_BYTES,
                NAME_BYTES_MAX,
            )?,
            types: types(table.types.as_deref())?,
            base_url: base_url(table.base_url.as_deref().unwrap_or(BASE_URL))?,
        }))
    }

    /// Whether the kernel's own limit may be lower: nobody asked for this one.
    pub(crate) fn says_how_large_attachments_are(&self) -> bool {
        matches!(&self.attachments, AttachmentsMember::Table(table) if table.file_bytes.is_some())
    }
}

fn quantity(
    name: &'static str,
    given: Option<Quantity>,
    default: u64,
    most: u64,
) -> Result<u64, ConfigError> {
    match given.map_or(default, |Quantity(bytes)| bytes) {
        bytes if (1..=most).contains(&bytes) => Ok(bytes),
        bytes => Err(out_of_range(name, bytes, 1, most)),
    }
}

fn number(
    name: &'static str,
    given: Option<usize>,
    default: usize,
    most: usize,
) -> Result<usize, ConfigError> {
    match given.unwrap_or(default) {
        number if (1..=most).contains(&number) => Ok(number),
        number => Err(out_of_range(name, number, 1, most)),
    }
}

fn types(given: Option<&[String]>) -> Result<Types, ConfigError> {
    let Some(types) = given else {
        return Ok(Types::Known);
    };
    if types.is_empty() {
        return Err(ConfigError::Empty("attachments.types"));
    }
    match types.iter().find(|pattern| !is_pattern(pattern)) {
        Some(pattern) => Err(ConfigError::MediaType(pattern.clone())),
        None => Ok(Types::Named(types.to_vec())),
    }
}

fn base_url(text: &str) -> Result<String, ConfigError> {
    let text = text.trim_end_matches('/');
    // It is not shown: what stands before an @ is a password.
    let refuse = |reason| ConfigError::AttachmentsUrl { reason };
    let url: Uri = text.parse().map_err(|_| refuse("is no URL"))?;
    if url.scheme().is_none() || url.authority().is_none() {
        return Err(refuse("names no scheme and host"));
    }
    if url.query().is_some()
        || url
            .authority()
            .is_some_and(|host| host.as_str().contains('@'))
    {
        return Err(refuse("has more than scheme, host and path"));
    }
    Ok(text.to_owned())
}

impl<'de> Deserialize<'de> for AttachmentsMember {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AttachmentsMember, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = AttachmentsMember;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`attachments = false` or a table of limits")
            }

            fn visit_bool<E>(self, on: bool) -> Result<AttachmentsMember, E> {
                Ok(AttachmentsMember::Switch(on))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AttachmentsMember, A::Error> {
                Table::deserialize(MapAccessDeserializer::new(map)).map(AttachmentsMember::Table)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or one like \"10MiB\"")
            }

            fn visit_u64<E>(self, bytes: u64) -> Result<Quantity, E> {
                Ok(Quantity(bytes))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
                read(text).map(Quantity).ok_or_else(|| {
                    E::custom(format!(
                        "{text:?} is no quantity: write it like \"10MiB\" or \"1GiB\""
                    ))
                })
            }
        }

        deserializer.deserialize_any(Bytes)
    }
}

fn read(text: &str) -> Option<u64> {
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
    use serde_json::{Value, json};

    use super::*;

    fn limits(attachments: Value) -> Result<Option<Limits>, String> {
        let config: Config = serde_json::from_value(json!({"attachments": attachments}))
            .map_err(|error| error.to_string())?;
        config.attachments().map_err(|error| error.to_string())
    }

    #[test]
    fn attachments_are_on_with_limits_of_their_own_or_off() {
        let default = serde_json::from_value::<Config>(json!({}))
            .unwrap()
            .attachments()
            .unwrap();
        assert_eq!(default, limits(json!(true)).unwrap());
        assert_eq!(default, limits(json!({})).unwrap());
        assert_eq!(default.unwrap().file_bytes, FILE_BYTES);
        assert_eq!(limits(json!(false)).unwrap(), None);
        let given = json!({"file_bytes": "2MiB", "user_bytes": 4_194_304, "per_message": 3, "name_bytes": 64,
                           "types": ["image/png", "text/*"], "base_url": "https://relay.example/x/"});
        let expect = Limits {
            file_bytes: 2 << 20,
            user_bytes: 4 << 20,
            per_message: 3,
            name_bytes: 64,
            types: Types::Named(vec!["image/png".to_owned(), "text/*".to_owned()]),
            base_url: "https://relay.example/x".to_owned(),
        };
        assert_eq!(limits(given).unwrap(), Some(expect));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let refused = |attachments: Value, expect: &str| {
            let error = limits(attachments.clone()).expect_err(&attachments.to_string());
            assert!(error.contains(expect), "{attachments}: {error}");
        };
        refused(
            json!("off"),
            "expected `attachments = false` or a table of limits",
        );
        refused(
            json!({"max": 1}),
            "unknown field `max`, expected one of `file_bytes`",
        );
        refused(json!({"file_bytes": "10MB"}), "write it like \"10MiB\"");
        refused(json!({"file_bytes": "99999999999GiB"}), "is no quantity");
        refused(
            json!({"file_bytes": 0}),
            "`attachments.file_bytes` is 0: choose a value between 1 and",
        );
        refused(
            json!({"file_bytes": "25MiB"}),
            "choose a value between 1 and 25165824",
        );
        refused(json!({"user_bytes": -1}), "expected a number of bytes");
        refused(json!({"per_message": 0}), "`attachments.per_message` is 0");
        refused(
            json!({"name_bytes": 1_025}),
            "`attachments.name_bytes` is 1025: choose a value between 1 and 1024",
        );
        refused(json!({"types": []}), "`attachments.types` is empty");
        refused(json!({"types": ["png"]}), "`png` is no media type");
        refused(json!({"types": ["*/*"]}), "`*/*` is no media type");
        refused(json!({"base_url": "/api"}), "names no scheme and host");
        refused(
            json!({"base_url": "http://a?b"}),
            "more than scheme, host and path",
        );
        refused(
            json!({"base_url": "http://me:hunter2@a"}),
            "more than scheme, host and path",
        );
    }
}
