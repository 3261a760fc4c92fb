//! What only a durable store does: several write into one storage, some of them break off, and other versions read it.

mod crashes;
mod interleaved;
mod races;
mod records;
mod shaky;

use midplane_sdk::storage::{Page as Found, Scan as Range, Storage};

use super::*;
use crate::store::contract::{item, scan, thread};

/// Every key, in order.
async fn all_keys(storage: &Storage) -> Vec<String> {
    let mut range = Range::prefix("").keys_only();
    let mut keys = Vec::new();
    loop {
        let Found { entries, more } = storage.scan(range.clone()).await.unwrap();
        let last = entries.last().map(|entry| entry.key.clone());
        keys.extend(
            entries
                .iter()
                .map(|entry| String::from_utf8(entry.key.to_vec()).unwrap()),
        );
        match last {
            Some(last) if more => range = range.after(last),
            _ => return keys,
        }
    }
}

/// The keys but those of the journal.
async fn kept_keys(storage: &Storage) -> Vec<String> {
    let mut keys = all_keys(storage).await;
    keys.retain(|key| key != keys::EPOCH && !key.starts_with("c/"));
    keys
}

async fn ids(store: &Durable, user: &str, thread: &str) -> Result<Vec<String>, StoreError> {
    let all = scan(100_000, Order::Asc, None);
    let page = Store::items(store, user, &thread.into(), all).await?;
    Ok(page.data.iter().map(|item| item.id.to_string()).collect())
}
