//! Carrying out one batch inside a transaction.
//!
//! Everything that can refuse a batch is looked at before anything is written, so that a refused one leaves nothing to take
//! back, and the batches beside it in the same transaction are not touched.

use rusqlite::{Connection, OptionalExtension as _};

use super::read::{self, Kept};
use crate::{Batch, Expectation, StoreError, Version, Write};

const VERSION: &str = "SELECT version FROM entry WHERE module = ?1 AND key = ?2";
const VERSION_AND_VALUE: &str = "SELECT version, value FROM entry WHERE module = ?1 AND key = ?2";
const VALUE_LEN: &str = "SELECT length(value) FROM entry WHERE module = ?1 AND key = ?2";
const PUT: &str = "INSERT INTO entry (module, key, version, value) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (module, key) DO UPDATE SET version = excluded.version, value = excluded.value";
const DELETE: &str = "DELETE FROM entry WHERE module = ?1 AND key = ?2";
const ADD_MODULE: &str = "INSERT INTO module (name, entries, bytes, version) VALUES (?1, 0, 0, 0)";
const COUNT: &str = "UPDATE module SET entries = ?2, bytes = ?3, version = ?4 WHERE id = ?1";

/// No module has this id: nothing is found under it.
const NO_MODULE: i64 = -1;

/// The inner result is the batch's own: an outer error is the database's, and ends the transaction.
pub(super) fn apply(
    connection: &Connection,
    module: &str,
    batch: &Batch,
    quota_bytes: u64,
) -> rusqlite::Result<Result<Version, StoreError>> {
    let kept = read::kept(connection, module)?;
    let id = kept.id.unwrap_or(NO_MODULE);
    for (key, expectation) in &batch.expect {
        if let Err(found) = look(connection, id, key, expectation)? {
            return Ok(Err(StoreError::Conflict {
                key: key.clone(),
                found,
            }));
        }
    }
    if batch.write.is_empty() {
        return Ok(Ok(kept.version));
    }
    let after = count(connection, id, kept, &batch.write)?;
    if after.bytes > quota_bytes && after.bytes > kept.bytes {
        return Ok(Err(StoreError::Quota {
            module: module.to_owned(),
            wanted_bytes: after.bytes,
            quota_bytes,
        }));
    }
    let id = match kept.id {
        Some(id) => id,
        None => {
            connection.prepare_cached(ADD_MODULE)?.execute([module])?;
            connection.last_insert_rowid()
        }
    };
    write(connection, id, after, &batch.write)?;
    Ok(Ok(after.version))
}

/// Whether the expectation holds; if not, what is there.
fn look(
    connection: &Connection,
    id: i64,
    key: &[u8],
    expectation: &Expectation,
) -> rusqlite::Result<Result<(), Option<Version>>> {
    let by_value = matches!(expectation, Expectation::Value(_));
    let sql = if by_value { VERSION_AND_VALUE } else { VERSION };
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query((id, key))?;
    let Some(row) = rows.next()? else {
        return Ok(expectation.holds(None).then_some(()).ok_or(None));
    };
    let version = read::version(row, 0)?;
    let value = if by_value {
        row.get_ref(1)?.as_bytes()?
    } else {
        b""
    };
    let holds = expectation.holds(Some((version, value)));
    Ok(holds.then_some(()).ok_or(Some(version)))
}

/// What is kept once `writes` are carried out.
fn count(connection: &Connection, id: i64, kept: Kept, writes: &[Write]) -> rusqlite::Result<Kept> {
    let mut after = Kept {
        version: Version(kept.version.0 + 1),
        ..kept
    };
    let mut value_len = connection.prepare_cached(VALUE_LEN)?;
    for write in writes {
        let key = write.key();
        let there = value_len.query_row((id, &key[..]), |row| read::number(row, 0));
        if let Some(value_len) = there.optional()? {
            after.entries -= 1;
            after.bytes -= key.len() as u64 + value_len;
        }
        if let Write::Put { value, .. } = write {
            after.entries += 1;
            after.bytes += (key.len() + value.len()) as u64;
        }
    }
    Ok(after)
}

fn write(connection: &Connection, id: i64, after: Kept, writes: &[Write]) -> rusqlite::Result<()> {
    let version = after.version.0.cast_signed();
    let mut put = connection.prepare_cached(PUT)?;
    let mut delete = connection.prepare_cached(DELETE)?;
    for write in writes {
        match write {
            Write::Put { key, value } => put.execute((id, &key[..], version, &value[..]))?,
            Write::Delete { key } => delete.execute((id, &key[..]))?,
        };
    }
    let counted = (
        id,
        after.entries.cast_signed(),
        after.bytes.cast_signed(),
        version,
    );
    connection.prepare_cached(COUNT)?.execute(counted)?;
    Ok(())
}
