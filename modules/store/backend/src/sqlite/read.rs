//! Reading, on whichever connection.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::limits::{KEY_BYTES_MAX, PAGE_BYTES_MAX};
use crate::{Entry, Page, Scan, Usage, Version};

const GET: &str = "SELECT version, value FROM entry
    WHERE module = (SELECT id FROM module WHERE name = ?1) AND key = ?2";
const KEPT: &str = "SELECT id, entries, bytes, version FROM module WHERE name = ?1";

/// Above every key.
const ABOVE_ALL: [u8; KEY_BYTES_MAX + 1] = [u8::MAX; KEY_BYTES_MAX + 1];

/// What is counted of a module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// `None` for a module that has never committed anything.
    pub(super) id: Option<i64>,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) version: Version,
}

impl Kept {
    pub(super) fn usage(self, quota_bytes: u64) -> Usage {
        Usage {
            entries: self.entries,
            bytes: self.bytes,
            quota_bytes,
            version: self.version,
        }
    }
}

pub(super) fn get(
    connection: &Connection,
    module: &str,
    key: &Bytes,
) -> rusqlite::Result<Option<Entry>> {
    let mut get = connection.prepare_cached(GET)?;
    let found = get.query_row((module, &key[..]), |row| {
        Ok(Entry {
            key: key.clone(),
            version: version(row, 0)?,
            value: bytes(row, 1)?,
        })
    });
    found.optional()
}

pub(super) fn scan(connection: &Connection, module: &str, scan: &Scan) -> rusqlite::Result<Page> {
    let (from, to) = scan.bounds();
    let to = to.as_deref().unwrap_or(&ABOVE_ALL);
    let mut select = connection.prepare_cached(select(scan.reverse, scan.keys_only))?;
    // One more than asked for tells whether there is more.
    let limit = i64::try_from(scan.limit)
        .unwrap_or(i64::MAX)
        .saturating_add(1);
    let mut rows = select.query((module, &from[..], to, limit))?;
    // One buffer for the page: an entry is two lengths in it until all are there.
    let (mut content, mut parts, mut more) = (Vec::new(), Vec::new(), false);
    while let Some(row) = rows.next()? {
        let (key, value) = (row.get_ref(0)?.as_bytes()?, row.get_ref(2)?.as_bytes()?);
        let full =
            parts.len() == scan.limit || content.len() + key.len() + value.len() > PAGE_BYTES_MAX;
        if full && !parts.is_empty() {
            more = true;
            break;
        }
        content.extend_from_slice(key);
        content.extend_from_slice(value);
        parts.push((key.len(), version(row, 1)?, value.len()));
    }
    let mut content = Bytes::from(content);
    let entries = parts
        .into_iter()
        .map(|(key_len, version, value_len)| Entry {
            key: content.split_to(key_len),
            version,
            value: content.split_to(value_len),
        });
    Ok(Page {
        entries: entries.collect(),
        more,
    })
}

/// Nothing for a module that is not known.
pub(super) fn kept(connection: &Connection, module: &str) -> rusqlite::Result<Kept> {
    let mut kept = connection.prepare_cached(KEPT)?;
    let found = kept.query_row([module], |row| {
        Ok(Kept {
            id: Some(row.get(0)?),
            entries: number(row, 1)?,
            bytes: number(row, 2)?,
            version: version(row, 3)?,
        })
    });
    Ok(found.optional()?.unwrap_or_default())
}

/// Numbers of ours are never negative.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

pub(super) fn version(row: &Row<'_>, column: usize) -> rusqlite::Result<Version> {
    number(row, column).map(Version)
}

pub(super) fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_bytes()?))
}

/// A value that is not asked for is not read: it may stand on pages of its own.
fn select(reverse: bool, keys_only: bool) -> &'static str {
    macro_rules! select {
        ($value:literal, $order:literal) => {
            concat!(
                "SELECT key, version, ", $value, " FROM entry
                 WHERE module = (SELECT id FROM module WHERE name = ?1) AND key >= ?2 AND key < ?3
                 ORDER BY key ", $order, " LIMIT ?4"
            )
        };
    }
    match (reverse, keys_only) {
        (false, false) => select!("value", "ASC"),
        (false, true) => select!("x''", "ASC"),
        (true, false) => select!("value", "DESC"),
        (true, true) => select!("x''", "DESC"),
    }
}
