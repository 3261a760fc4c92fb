//! `[secrets]` and `--secret`: where each secret comes from. Values are never read here, and never shown in an error: a key that
//! was pasted here by mistake would end in the log.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::quantity::{HOUR, SECOND};
use super::section::{Section, strings};
use super::{Flags, SecretSource};

/// A person may have to unlock a password store first.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
const SECRET_SOURCE: &str =
    "\"env:VARIABLE\", \"bridge\" or { cmd = [\"program\", …], timeout = \"60s\" }";

pub(super) fn read(
    section: Section<'_>,
    flags: &Flags,
) -> Result<BTreeMap<String, SecretSource>, ConfigError> {
    let source = section.source;
    let mut secrets = BTreeMap::new();
    for (id, value) in section.entries() {
        let offset = value.span().start;
        let refused = || ConfigError::Value {
            place: source.place(offset),
            key: format!("[secrets] {id}"),
            // never the text: a key pasted here by mistake would end in the log
            found: "something else".to_owned(),
            allowed: SECRET_SOURCE.to_owned(),
        };
        let from = match value.get_ref() {
            DeValue::String(text) => secret_source(text).ok_or_else(refused)?,
            DeValue::Table(_) => {
                let mut s = Section::new(
                    format!("[secrets] {id}"),
                    source,
                    match value.into_inner() {
                        DeValue::Table(table) => table,
                        _ => DeTable::new(),
                    },
                );
                let argv = match s.take("cmd").map(|argv| strings(argv.get_ref())) {
                    Some(Some(argv)) => argv,
                    _ => return Err(refused()),
                };
                let timeout = s.duration("timeout", COMMAND_TIMEOUT, SECOND..=HOUR)?;
                s.finish()?;
                command(argv, timeout).ok_or_else(refused)?
            }
            _ => return Err(refused()),
        };
        secrets.insert(id, from);
    }
    for flag in &flags.secrets {
        let (id, from) = secret_flag(flag).ok_or_else(|| ConfigError::Value {
            place: "command line".to_owned(),
            key: "--secret".to_owned(),
            found: "something else".to_owned(),
            allowed: "ID=env:VARIABLE, ID=cmd:PROGRAM ARGUMENT... or ID=bridge".to_owned(),
        })?;
        secrets.insert(id, from);
    }
    Ok(secrets)
}

/// `ID=SOURCE`
pub(crate) fn secret_flag(flag: &str) -> Option<(String, SecretSource)> {
    let (id, source) = flag.split_once('=').filter(|(id, _)| !id.is_empty())?;
    Some((id.to_owned(), secret_source(source)?))
}

fn secret_source(text: &str) -> Option<SecretSource> {
    if text == "bridge" {
        return Some(SecretSource::Bridge);
    }
    if let Some(variable) = text.strip_prefix("env:") {
        let valid = !variable.is_empty() && !variable.contains(['=', '\0']);
        return valid.then(|| SecretSource::Env {
            variable: variable.to_owned(),
        });
    }
    command(
        shell_words::split(text.strip_prefix("cmd:")?).ok()?,
        COMMAND_TIMEOUT,
    )
}

fn command(argv: Vec<String>, timeout: Duration) -> Option<SecretSource> {
    let valid = argv.first().is_some_and(|program| !program.is_empty())
        && argv.iter().all(|word| !word.contains('\0'));
    valid.then_some(SecretSource::Command { argv, timeout })
}
