//! What only a store in memory does: it has limits of its own.

use super::tables::{BYTES_MAX, THREADS_PER_USER_MAX};
use super::*;
use crate::store::contract::{at, item, thread};

#[tokio::test]
async fn deleting_everything_gives_every_byte_back() {
    let store = Memory::default();
    let (t1, a) = (ThreadId::from("t1"), ItemId::from("a"));
    store.add_thread("ada", thread("t1")).await.unwrap();
    store.add_thread("ada", thread("t1")).await.unwrap();
    for id in ["a", "b", "c"] {
        store.add_item("ada", item("t1", id)).await.unwrap();
        store.save_item("ada", item("t1", id)).await.unwrap();
    }
    let title = |thread: &mut ThreadMetadata| thread.title = Some("a title".to_owned());
    store.update_thread("ada", &t1, &title).await.unwrap();
    let liked = FeedbackKind::Positive;
    store
        .add_feedback("ada", &t1, std::slice::from_ref(&a), liked)
        .await
        .unwrap();
    store.delete_item("ada", &t1, &"c".into()).await.unwrap();
    store.delete_items_after("ada", &t1, &a).await.unwrap();
    store.delete_thread("ada", &t1).await.unwrap();
    assert_eq!(store.tables().bytes, 0);
}

#[tokio::test]
async fn a_full_store_refuses_and_says_what_to_do() {
    let store = Memory::default();
    for _ in 0..THREADS_PER_USER_MAX {
        store
            .add_thread("ada", ThreadMetadata::new(at(0)))
            .await
            .unwrap();
    }
    let refused = store
        .add_thread("ada", thread("one more"))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("delete threads"), "{refused}");
    store.add_thread("bob", thread("b1")).await.unwrap();

    store.tables().bytes = BYTES_MAX;
    let refused = store.add_item("bob", item("b1", "a")).await.unwrap_err();
    let max = BYTES_MAX;
    assert_eq!(refused, StoreError::Full { what: "bytes", max });
}

#[tokio::test]
async fn a_reader_far_behind_is_told_that_it_missed_some() {
    let store = Memory::default();
    let mark = store.changes(None).await.unwrap().mark;
    store.add_thread("ada", thread("t1")).await.unwrap();
    for _ in 0..2_000 {
        store.save_item("ada", item("t1", "a")).await.unwrap();
    }
    let changes = store.changes(Some(mark)).await.unwrap();
    assert!(changes.missed);
    assert_eq!(changes.changed.len(), 1);
}
