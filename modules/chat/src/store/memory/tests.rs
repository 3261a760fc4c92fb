//! What every store must keep to, tried on the one in memory.

use super::*;
use crate::protocol::item::ItemKind;
use crate::protocol::message::AssistantContent;
use crate::protocol::timestamp::Timestamp;

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn thread(id: &str) -> ThreadMetadata {
    ThreadMetadata {
        id: id.into(),
        ..ThreadMetadata::new(at(0))
    }
}

fn item(thread: &str, id: &str) -> Item {
    let kind = ItemKind::AssistantMessage {
        content: vec![AssistantContent::new("text")],
    };
    Item {
        id: id.into(),
        thread_id: thread.into(),
        created_at: at(0),
        kind,
    }
}

fn scan<C>(limit: usize, order: Order, after: Option<C>) -> Scan<C> {
    Scan {
        limit,
        order,
        after,
    }
}

async fn filled() -> Memory {
    let store = Memory::default();
    for id in ["t1", "t2", "t3"] {
        store.add_thread("ada", thread(id)).await.unwrap();
    }
    store.add_thread("bob", thread("b1")).await.unwrap();
    for id in ["a", "b", "c"] {
        store.add_item("ada", item("t1", id)).await.unwrap();
    }
    store.add_item("ada", item("t2", "z")).await.unwrap();
    store
}

async fn item_ids(store: &Memory, limit: usize, order: Order, after: Option<&str>) -> String {
    let page = store
        .items(
            "ada",
            &"t1".into(),
            scan(limit, order, after.map(ItemId::from)),
        )
        .await
        .unwrap();
    let ids: Vec<_> = page.data.iter().map(|item| item.id.to_string()).collect();
    format!("{}{}", ids.join(""), if page.has_more { "+" } else { "" })
}

#[tokio::test]
async fn pages_follow_each_other_in_both_orders_without_gap_or_overlap() {
    let store = filled().await;
    assert_eq!(item_ids(&store, 20, Order::Asc, None).await, "abc");
    assert_eq!(item_ids(&store, 2, Order::Asc, None).await, "ab+");
    assert_eq!(item_ids(&store, 2, Order::Asc, Some("b")).await, "c");
    assert_eq!(item_ids(&store, 2, Order::Desc, None).await, "cb+");
    assert_eq!(item_ids(&store, 2, Order::Desc, Some("b")).await, "a");
    assert_eq!(item_ids(&store, 2, Order::Desc, Some("a")).await, "");

    let page = store
        .threads("ada", scan(2, Order::Desc, None))
        .await
        .unwrap();
    let ids: Vec<_> = page
        .data
        .iter()
        .map(|thread| thread.id.to_string())
        .collect();
    assert_eq!(
        (ids, page.after),
        (
            vec!["t3".to_owned(), "t2".to_owned()],
            Some("t2".to_owned())
        )
    );
    let page = store
        .threads("ada", scan(2, Order::Desc, Some("t2".into())))
        .await
        .unwrap();
    assert_eq!(page.data.len(), 1);
}

#[tokio::test]
async fn another_user_s_thread_is_not_there() {
    let store = filled().await;
    let (t1, a) = (ThreadId::from("t1"), ItemId::from("a"));
    let gone = StoreError::ThreadNotFound;
    assert_eq!(store.thread("bob", &t1).await.unwrap_err(), gone);
    assert_eq!(store.item("bob", &t1, &a).await.unwrap_err(), gone);
    assert_eq!(
        store
            .items("bob", &t1, scan(1, Order::Asc, None))
            .await
            .unwrap_err(),
        gone
    );
    assert_eq!(
        store.set_title("bob", &t1, "x".into()).await.unwrap_err(),
        gone
    );
    assert_eq!(store.delete_thread("bob", &t1).await.unwrap_err(), gone);
    assert_eq!(
        store.delete_items_after("bob", &t1, &a).await.unwrap_err(),
        gone
    );
    assert_eq!(
        store.add_item("bob", item("t1", "x")).await.unwrap_err(),
        gone
    );
    assert_eq!(
        store
            .add_feedback("bob", &t1, &[a], FeedbackKind::Positive)
            .await
            .unwrap_err(),
        gone
    );
    let cursor = scan(1, Order::Asc, Some(t1));
    assert_eq!(
        store.threads("bob", cursor).await.unwrap_err(),
        StoreError::UnknownCursor
    );
    assert_eq!(
        store
            .threads("bob", scan(9, Order::Asc, None))
            .await
            .unwrap()
            .data
            .len(),
        1
    );
}

#[tokio::test]
async fn adding_an_item_twice_keeps_one() {
    let store = filled().await;
    store.add_item("ada", item("t1", "a")).await.unwrap();
    assert_eq!(item_ids(&store, 20, Order::Asc, None).await, "abc");
}

#[tokio::test]
async fn what_stands_behind_an_item_is_deleted() {
    let store = filled().await;
    let t1 = ThreadId::from("t1");
    store
        .delete_items_after("ada", &t1, &"a".into())
        .await
        .unwrap();
    assert_eq!(item_ids(&store, 20, Order::Asc, None).await, "a");
    assert_eq!(
        store.item("ada", &t1, &"b".into()).await.unwrap_err(),
        StoreError::ItemNotFound
    );
    assert_eq!(
        store
            .delete_items_after("ada", &t1, &"b".into())
            .await
            .unwrap_err(),
        StoreError::ItemNotFound
    );
    assert!(
        store.item("ada", &"t2".into(), &"z".into()).await.is_ok(),
        "another thread's items stay"
    );
}

#[tokio::test]
async fn deleting_everything_gives_every_byte_back() {
    let store = filled().await;
    let a = ItemId::from("a");
    store
        .set_title("ada", &"t1".into(), "a title".into())
        .await
        .unwrap();
    store
        .add_feedback("ada", &"t1".into(), &[a], FeedbackKind::Negative)
        .await
        .unwrap();
    for (user, id) in [("ada", "t1"), ("ada", "t2"), ("ada", "t3"), ("bob", "b1")] {
        store.delete_thread(user, &id.into()).await.unwrap();
    }
    let tables = store.tables();
    assert_eq!(tables.bytes, 0);
    assert!(
        tables.items.is_empty() && tables.item_positions.is_empty() && tables.feedback.is_empty()
    );
}

#[tokio::test]
async fn feedback_is_for_all_items_or_none() {
    let store = filled().await;
    let items = [ItemId::from("a"), ItemId::from("missing")];
    let refused = store
        .add_feedback("ada", &"t1".into(), &items, FeedbackKind::Positive)
        .await;
    assert_eq!(refused.unwrap_err(), StoreError::ItemNotFound);
    assert!(store.tables().feedback.is_empty());
    store
        .add_feedback("ada", &"t1".into(), &items[..1], FeedbackKind::Positive)
        .await
        .unwrap();
    assert_eq!(store.tables().feedback.len(), 1);
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
    assert_eq!(
        refused,
        StoreError::Full {
            what: "bytes",
            max: BYTES_MAX
        }
    );
}
