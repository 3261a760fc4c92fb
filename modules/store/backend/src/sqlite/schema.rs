//! What the file holds, and how it is known to be ours.

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// "MPst", in the header of every file of ours (<https://www.sqlite.org/pragma.html#pragma_application_id>).
pub(super) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"MPst");

/// Raised by every change that an older program could not work with.
pub(super) const SCHEMA: i32 = 1;

/// `entry` is one tree in the order of the keys: a scan reads its pages one behind the other, and a key is found without a
/// second look-up. `module` counts, so that a quota is checked without counting.
const TABLES: &str = "
    CREATE TABLE module (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        entries INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        version INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE entry (
        module INTEGER NOT NULL,
        key BLOB NOT NULL,
        version INTEGER NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (module, key)
    ) STRICT, WITHOUT ROWID;
";

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is nothing in it.
    Empty,
    Ours {
        schema: i32,
    },
    Foreign,
}

pub(super) fn kind(connection: &Connection) -> rusqlite::Result<Kind> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let (application_id, schema) = (number("application_id")?, number("user_version")?);
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    Ok(match application_id {
        APPLICATION_ID => Kind::Ours { schema },
        0 if schema == 0 && objects == 0 => Kind::Empty,
        _ => Kind::Foreign,
    })
}

/// Whether a file that begins so can be one of ours, or become one.
pub(super) fn may_begin(header: &[u8]) -> bool {
    const OFFSET: usize = 68;
    let application_id = header.get(OFFSET..OFFSET + 4);
    header.is_empty() || application_id == Some(&APPLICATION_ID.to_be_bytes())
}

/// Makes the tables in an empty file; in one that another process has just filled, nothing.
pub(super) fn make(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    if kind(&transaction)? == Kind::Empty {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()
}
