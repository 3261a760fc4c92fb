//! One table of the file while it is being read: every key is taken once and checked, and what is left is refused.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::quantity::{parse_duration, parse_size};

/// The text being read, to tell lines by.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// A path in the file starts from the file's directory.
    pub(super) fn resolve(self, path: &str) -> PathBuf {
        let path = self.path.parent().unwrap_or(Path::new("")).join(path);
        std::path::absolute(&path).unwrap_or(path)
    }

    pub(super) fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        format!(
            "{}:{}",
            self.path.display(),
            before.matches('\n').count() + 1
        )
    }
}

pub(super) struct Section<'a> {
    name: String,
    pub(super) source: Source<'a>,
    table: DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        name: impl Into<String>,
        source: Source<'a>,
        table: DeTable<'a>,
    ) -> Section<'a> {
        Section {
            name: name.into(),
            source,
            table,
            known: Vec::new(),
        }
    }

    /// The table `key` of this one; empty when it is not there.
    pub(super) fn section(&mut self, key: &'static str) -> Result<Section<'a>, ConfigError> {
        let table = match self.take(key) {
            Some(value) => self.table_of(key, value)?,
            None => DeTable::new(),
        };
        Ok(Section::new(format!("[{key}]"), self.source, table))
    }

    /// Every entry, for tables whose keys are names that the user chooses.
    pub(super) fn entries(self) -> impl Iterator<Item = (String, Spanned<DeValue<'a>>)> {
        self.table
            .into_iter()
            .map(|(key, value)| (key.into_inner().into_owned(), value))
    }

    pub(super) fn table_of(
        &self,
        key: &str,
        value: Spanned<DeValue<'a>>,
    ) -> Result<DeTable<'a>, ConfigError> {
        let offset = value.span().start;
        match value.into_inner() {
            DeValue::Table(table) => Ok(table),
            _ => Err(self.refuse(key, offset, "not a table", "a table")),
        }
    }

    /// `parse` gives `None` for a value that is not allowed.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        default: T,
        allowed: &str,
        parse: impl FnOnce(&DeValue<'a>) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(default);
        };
        parse(value.get_ref())
            .ok_or_else(|| self.refuse(key, value.span().start, &shown(value.get_ref()), allowed))
    }

    pub(super) fn boolean(
        &mut self,
        key: &'static str,
        default: bool,
    ) -> Result<bool, ConfigError> {
        self.get(key, default, "true or false", DeValue::as_bool)
    }

    pub(super) fn strings(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Vec<String>>, ConfigError> {
        self.get(key, None, "an array of strings", |value| {
            strings(value).map(Some)
        })
    }

    pub(super) fn count(
        &mut self,
        key: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> Result<usize, ConfigError> {
        let allowed = format!("a number from {} to {}", range.start(), range.end());
        self.get(key, default, &allowed, |value| {
            usize::try_from(integer(value)?)
                .ok()
                .filter(|count| range.contains(count))
        })
    }

    pub(super) fn size(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        let allowed = format!(
            "bytes or a size like \"1MiB\", from {} to {} bytes",
            range.start(),
            range.end()
        );
        self.get(key, default, &allowed, |value| {
            let bytes = match value.as_str() {
                Some(text) => parse_size(text)?,
                None => u64::try_from(integer(value)?).ok()?,
            };
            range.contains(&bytes).then_some(bytes)
        })
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        let allowed = format!(
            "a duration like \"30s\" or \"250ms\", from {:?} to {:?}",
            range.start(),
            range.end()
        );
        self.get(key, default, &allowed, |value| {
            parse_duration(value.as_str()?).filter(|duration| range.contains(duration))
        })
    }

    /// Where the value of `key` stands, to refuse it later.
    pub(super) fn offset(&self, key: &str) -> usize {
        self.table.get(key).map_or(0, |value| value.span().start)
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table.remove(key)
    }

    pub(super) fn refuse(
        &self,
        key: &str,
        offset: usize,
        found: &str,
        allowed: &str,
    ) -> ConfigError {
        ConfigError::Value {
            place: self.source.place(offset),
            key: format!("{} {key}", self.name),
            found: found.to_owned(),
            allowed: allowed.to_owned(),
        }
    }

    /// Refuses what nobody took.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let Some(key) = self.table.keys().min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        let nearest = self
            .known
            .iter()
            .map(|known| (strsim::damerau_levenshtein(known, key.get_ref()), known))
            .min()
            // more than half the word wrong is another word
            .filter(|(distance, known)| *distance <= known.len().div_ceil(2))
            .map(|(_, known)| (*known).to_owned());
        Err(ConfigError::UnknownKey {
            place: self.source.place(key.span().start),
            key: key.get_ref().to_string(),
            section: self.name,
            nearest,
        })
    }
}

pub(super) fn strings(value: &DeValue<'_>) -> Option<Vec<String>> {
    value
        .as_array()?
        .iter()
        .map(|item| item.get_ref().as_str().map(str::to_owned))
        .collect()
}

pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "an array with something else".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
