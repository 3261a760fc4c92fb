//! What crosses between a module and the module store besides plain values: in postcard
//! (<https://postcard.jamesmunns.com/wire-format>), which leaves bytes as they are. Both sides use these types. What is in
//! them may only be added to, as a new variant or a new path, since the two are built at different times.

use serde::{Deserialize, Serialize};

/// Of the bodies below.
pub const CONTENT_TYPE: &str = "application/vnd.midplane.store";

/// On an answer 412: the key, in base64url. Its version, if it is there, stands in `etag`.
pub const CONFLICT_KEY: &str = "midplane-conflict-key";

/// The body of `POST /commit`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Batch<'a> {
    #[serde(borrow)]
    pub expect: Vec<(&'a serde_bytes::Bytes, Expectation<'a>)>,
    #[serde(borrow)]
    pub write: Vec<Write<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Expectation<'a> {
    Absent,
    Present,
    Version(u64),
    Value(#[serde(borrow)] &'a serde_bytes::Bytes),
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Write<'a> {
    Put(
        #[serde(borrow)] &'a serde_bytes::Bytes,
        #[serde(borrow)] &'a serde_bytes::Bytes,
    ),
    Delete(#[serde(borrow)] &'a serde_bytes::Bytes),
}

/// The answer to `GET /kv`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page<'a> {
    #[serde(borrow)]
    pub entries: Vec<Entry<'a>>,
    pub more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Entry<'a> {
    #[serde(borrow)]
    pub key: &'a serde_bytes::Bytes,
    pub version: u64,
    #[serde(borrow)]
    pub value: &'a serde_bytes::Bytes,
}

/// The answer to `GET /usage`, in JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct Usage {
    pub entries: u64,
    pub bytes: u64,
    pub quota_bytes: u64,
    pub version: u64,
}
