//! How what is kept is written down, as JSON, and how other versions' is read.
//!
//! Two versions write at the same time while a module is swapped, and the one before may come back (rollback). So:
//!
//! 1. A record may get members, and a member values, that the version before does not know. It reads what it knows; it
//!    leaves alone what it does not, when it changes a thread.
//! 2. An item whose type or content it does not know is [`ItemKind::Unknown`]: kept, in its place, shown to nobody, deleted with
//!    its thread. A thread's status that it does not know reads as active.
//! 3. No member is taken away or gets another meaning, and no key moves ([`keys`](super::keys)), unless a release that writes
//!    the old form and reads both has gone before. That one raises [`SCHEMA`]; a version that finds a higher one than its
//!    own leaves the record alone.
//!
//! What each version wrote stays readable: `records.json`, beside the tests, grows and is never changed.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::request::FeedbackKind;
use crate::protocol::thread::{Status, ThreadMetadata};
use crate::protocol::timestamp::Timestamp;
use crate::store::{StoreError, StoredAttachment};

/// Of every record, as its member `v`.
pub(super) const SCHEMA: u32 = 1;

/// `t/…` and `l/…`
#[derive(Serialize, Deserialize)]
struct ThreadRecord<T> {
    v: u32,
    thread: T,
}

/// `i/…`
#[derive(Serialize, Deserialize)]
struct ItemRecord<I> {
    v: u32,
    item: I,
    /// A [`Cost`], where it can be read: what another version made of it must not hide the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cost: Option<Value>,
}

/// `n/…`
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CounterRecord {
    pub(super) v: u32,
    pub(super) next: u64,
}

/// `p/…`
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PositionRecord {
    pub(super) v: u32,
    pub(super) at: u64,
}

/// `f/…`
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FeedbackRecord {
    pub(super) v: u32,
    pub(super) kind: FeedbackKind,
}

/// `a/…`
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AttachmentRecord {
    pub(super) v: u32,
    pub(super) user: Arc<str>,
    pub(super) stored: StoredAttachment,
}

/// `d/…`, and with `deleted` `c/…`
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ThreadName {
    pub(super) v: u32,
    pub(super) user: String,
    pub(super) thread: ThreadId,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) deleted: bool,
}

/// `c`
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EpochRecord {
    pub(super) v: u32,
    pub(super) number: u64,
}

pub(super) fn write(record: &impl Serialize) -> Bytes {
    let json = serde_json::to_vec(record);
    json.expect("records have string keys only").into()
}

/// Any record but that of a thread or an item.
pub(super) fn read<R: DeserializeOwned>(json: &[u8]) -> Result<R, StoreError> {
    check_schema(json)?;
    serde_json::from_slice(json).map_err(|error| damaged(&error))
}

pub(super) fn write_item(item: &Item) -> Bytes {
    let cost = serde_json::to_value(&item.cost).ok();
    write(&ItemRecord {
        v: SCHEMA,
        item,
        cost: cost.filter(|cost| !cost.is_null()),
    })
}

pub(super) fn read_item(json: &[u8]) -> Result<Item, StoreError> {
    let known = |cost: Option<Value>| serde_json::from_value(cost?).ok();
    if let Ok(ItemRecord::<Item> {
        v: ..=SCHEMA,
        item,
        cost,
    }) = serde_json::from_slice(json)
    {
        let cost = known(cost);
        return Ok(Item { cost, ..item });
    }
    /// What every item has.
    #[derive(Deserialize)]
    struct Unknown {
        id: ItemId,
        thread_id: ThreadId,
        created_at: Timestamp,
        #[serde(flatten)]
        rest: Map<String, Value>,
    }
    match serde_json::from_slice::<ItemRecord<Unknown>>(json) {
        Ok(ItemRecord { item, cost, .. }) => Ok(Item {
            id: item.id,
            thread_id: item.thread_id,
            created_at: item.created_at,
            cost: known(cost),
            kind: ItemKind::Unknown(item.rest),
        }),
        Err(error) => {
            check_schema(json)?;
            Err(damaged(&error))
        }
    }
}

pub(super) fn write_thread(thread: &ThreadMetadata) -> Bytes {
    let v = SCHEMA;
    write(&ThreadRecord { v, thread })
}

pub(super) fn read_thread(json: &[u8]) -> Result<ThreadMetadata, StoreError> {
    match serde_json::from_slice(json) {
        Ok(ThreadRecord {
            v: ..=SCHEMA,
            thread,
        }) => Ok(thread),
        _ => {
            check_schema(json)?;
            let mut record: ThreadRecord<Value> =
                serde_json::from_slice(json).map_err(|error| damaged(&error))?;
            if let Some(status) = record.thread.get_mut("status") {
                *status = serde_json::to_value(Status::Active).expect("an enum of strings");
            }
            serde_json::from_value(record.thread).map_err(|error| damaged(&error))
        }
    }
}

/// The record `json`, of which `before` was read, with what `after` has changed. Whatever else stands in it stays.
pub(super) fn rewrite_thread(
    json: &[u8],
    before: &ThreadMetadata,
    after: &ThreadMetadata,
) -> Result<Bytes, StoreError> {
    let mut record: Map<String, Value> =
        serde_json::from_slice(json).map_err(|error| damaged(&error))?;
    let Some(Value::Object(thread)) = record.get_mut("thread") else {
        return Err(StoreError::Failed("a thread's record is none".to_owned()));
    };
    let members = |thread: &ThreadMetadata| match serde_json::to_value(thread) {
        Ok(Value::Object(members)) => members,
        _ => unreachable!("a struct with string keys is written as an object"),
    };
    let (before, after) = (members(before), members(after));
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        thread.remove(name);
    }
    for (name, value) in after {
        if before.get(&name) != Some(&value) {
            thread.insert(name, value);
        }
    }
    Ok(write(&record))
}

/// Fails if a later version wrote this in a form that this one cannot read.
fn check_schema(json: &[u8]) -> Result<(), StoreError> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    match serde_json::from_slice(json) {
        Ok(Versioned { v: schema }) if schema > SCHEMA => Err(StoreError::Newer {
            schema,
            known: SCHEMA,
        }),
        _ => Ok(()),
    }
}

fn damaged(error: &serde_json::Error) -> StoreError {
    StoreError::Failed(format!("a record cannot be read: {error}"))
}
