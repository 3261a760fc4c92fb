//! What every store must keep to, tried on each of them.

use std::collections::BTreeSet;

use super::*;
use crate::protocol::attachment::{Attachment, AttachmentKind};
use crate::protocol::item::ItemKind;
use crate::protocol::message::AssistantContent;
use crate::protocol::page::Order;
use crate::protocol::timestamp::Timestamp;
use crate::provider::Usage;
use crate::usage::Cost;

/// Makes a test of each of these for one store.
macro_rules! tests_of {
    ($kind:ident, $store:expr) => {
        mod $kind {
            use super::*;
            tests_of!($store;
                pages_follow_each_other_in_both_orders_without_gap_or_overlap,
                threads_stand_in_the_order_of_their_times,
                another_user_s_thread_is_not_there,
                adding_twice_keeps_one,
                a_thread_is_changed_in_place_and_keeps_its_identity,
                an_item_is_replaced_where_it_stands,
                of_those_who_replace_an_item_at_once_one_does,
                what_is_of_no_known_kind_is_kept_as_it_stands,
                what_an_item_cost_is_kept_beside_it,
                one_item_is_deleted_and_its_place_stays_empty,
                what_stands_behind_an_item_is_deleted,
                a_deleted_thread_is_gone_and_its_id_free,
                feedback_is_for_all_items_or_none,
                an_attachment_is_of_its_user_and_is_found_by_all,
                ids_are_whatever_a_client_sends,
                changes_tell_which_thread_of_whom,
                a_failed_change_is_told_to_nobody,
            );
        }
    };
    ($store:expr; $($name:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            super::$name(&$store).await;
        })*
    };
}

tests_of!(memory, Memory::default());
tests_of!(
    durable,
    Durable::new(midplane_sdk::testing::storage(1 << 20))
);

pub(super) fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

pub(super) fn thread(id: &str) -> ThreadMetadata {
    ThreadMetadata {
        id: id.into(),
        ..ThreadMetadata::new(at(0))
    }
}

pub(super) fn item(thread: &str, id: &str) -> Item {
    saying(thread, id, "text")
}

pub(super) fn saying(thread: &str, id: &str, text: &str) -> Item {
    let kind = ItemKind::AssistantMessage {
        content: vec![AssistantContent::new(text)],
    };
    Item {
        id: id.into(),
        thread_id: thread.into(),
        created_at: at(0),
        cost: None,
        kind,
    }
}

pub(super) fn scan<C>(limit: usize, order: Order, after: Option<C>) -> Scan<C> {
    Scan {
        limit,
        order,
        after,
    }
}

async fn fill(store: &dyn Store) {
    for id in ["t1", "t2", "t3"] {
        store.add_thread("ada", thread(id)).await.unwrap();
    }
    store.add_thread("bob", thread("b1")).await.unwrap();
    for id in ["a", "b", "c"] {
        store.add_item("ada", item("t1", id)).await.unwrap();
    }
    store.add_item("ada", item("t2", "z")).await.unwrap();
}

/// The ids of a page of `t1`, and a plus if more follows.
async fn item_ids(store: &dyn Store, limit: usize, order: Order, after: Option<&str>) -> String {
    let scan = scan(limit, order, after.map(ItemId::from));
    let page = store.items("ada", &"t1".into(), scan).await.unwrap();
    let ids: String = page.data.iter().map(|item| item.id.as_str()).collect();
    format!("{ids}{}", if page.has_more { "+" } else { "" })
}

async fn thread_ids(store: &dyn Store, limit: usize, order: Order, after: Option<&str>) -> String {
    let scan = scan(limit, order, after.map(ThreadId::from));
    let page = store.threads("ada", scan).await.unwrap();
    let ids: Vec<_> = page.data.iter().map(|thread| thread.id.as_str()).collect();
    format!("{}{}", ids.join(" "), if page.has_more { " +" } else { "" })
}

async fn pages_follow_each_other_in_both_orders_without_gap_or_overlap(store: &dyn Store) {
    fill(store).await;
    assert_eq!(item_ids(store, 20, Order::Asc, None).await, "abc");
    assert_eq!(item_ids(store, 2, Order::Asc, None).await, "ab+");
    assert_eq!(item_ids(store, 2, Order::Asc, Some("b")).await, "c");
    assert_eq!(item_ids(store, 3, Order::Desc, None).await, "cba");
    assert_eq!(item_ids(store, 2, Order::Desc, None).await, "cb+");
    assert_eq!(item_ids(store, 2, Order::Desc, Some("b")).await, "a");
    assert_eq!(item_ids(store, 2, Order::Desc, Some("a")).await, "");
    assert_eq!(thread_ids(store, 2, Order::Asc, None).await, "t1 t2 +");
    assert_eq!(thread_ids(store, 2, Order::Asc, Some("t2")).await, "t3");
    assert_eq!(thread_ids(store, 2, Order::Desc, None).await, "t3 t2 +");
    assert_eq!(thread_ids(store, 2, Order::Desc, Some("t2")).await, "t1");
    let page = store.threads("nobody", scan(2, Order::Desc, None)).await;
    assert!(page.unwrap().data.is_empty());
    let unknown = scan(2, Order::Desc, Some("missing".into()));
    let refused = store.items("ada", &"t1".into(), unknown).await;
    assert_eq!(refused.unwrap_err(), StoreError::UnknownCursor);
    let unknown = scan(2, Order::Desc, Some("missing".into()));
    let refused = store.threads("ada", unknown).await;
    assert_eq!(refused.unwrap_err(), StoreError::UnknownCursor);
}

async fn threads_stand_in_the_order_of_their_times(store: &dyn Store) {
    for (id, micros) in [("b", 30), ("c", 10), ("a", 20), ("d", 20)] {
        let thread = ThreadMetadata {
            id: id.into(),
            ..ThreadMetadata::new(at(micros))
        };
        store.add_thread("ada", thread).await.unwrap();
    }
    assert_eq!(thread_ids(store, 9, Order::Asc, None).await, "c a d b");
    assert_eq!(thread_ids(store, 2, Order::Desc, None).await, "b d +");
    assert_eq!(thread_ids(store, 2, Order::Desc, Some("d")).await, "a c");
}

async fn another_user_s_thread_is_not_there(store: &dyn Store) {
    fill(store).await;
    let (t1, a) = (ThreadId::from("t1"), ItemId::from("a"));
    let gone = StoreError::ThreadNotFound;
    let nothing = |_: &mut ThreadMetadata| {};
    let liked = FeedbackKind::Positive;
    let page = scan(1, Order::Asc, None);
    assert_eq!(store.thread("bob", &t1).await.unwrap_err(), gone);
    assert_eq!(store.item("bob", &t1, &a).await.unwrap_err(), gone);
    assert_eq!(store.items("bob", &t1, page).await.unwrap_err(), gone);
    let refused = store.update_thread("bob", &t1, &nothing).await;
    assert_eq!(refused.unwrap_err(), gone);
    assert_eq!(store.delete_thread("bob", &t1).await.unwrap_err(), gone);
    assert_eq!(store.delete_item("bob", &t1, &a).await.unwrap_err(), gone);
    let refused = store.delete_items_after("bob", &t1, &a).await;
    assert_eq!(refused.unwrap_err(), gone);
    let refused = store.add_item("bob", item("t1", "x")).await;
    assert_eq!(refused.unwrap_err(), gone);
    let refused = store.save_item("bob", item("t1", "a")).await;
    assert_eq!(refused.unwrap_err(), gone);
    let refused = store
        .add_feedback("bob", &t1, std::slice::from_ref(&a), liked)
        .await;
    assert_eq!(refused.unwrap_err(), gone);
    assert_eq!(store.feedback("bob", &t1, &a).await.unwrap_err(), gone);
    let cursor = scan(1, Order::Asc, Some(t1));
    assert_eq!(
        store.threads("bob", cursor).await.unwrap_err(),
        StoreError::UnknownCursor
    );
    let own = store.threads("bob", scan(9, Order::Asc, None)).await;
    assert_eq!(own.unwrap().data.len(), 1);
    assert_eq!(item_ids(store, 20, Order::Asc, None).await, "abc");
    // Names that are parts of each other are different users.
    for neighbour in ["ad", "ada/", "ada/t1", "ada2", "Ada", "ada%2F", ""] {
        let page = store.threads(neighbour, scan(9, Order::Asc, None)).await;
        assert!(page.unwrap().data.is_empty(), "{neighbour:?}");
    }
}

async fn adding_twice_keeps_one(store: &dyn Store) {
    fill(store).await;
    store
        .add_item("ada", saying("t1", "a", "another"))
        .await
        .unwrap();
    assert_eq!(item_ids(store, 20, Order::Asc, None).await, "abc");
    let kept = store.item("ada", &"t1".into(), &"a".into()).await.unwrap();
    assert_eq!(kept, item("t1", "a"));
    let mut again = thread("t1");
    again.title = Some("another".to_owned());
    store.add_thread("ada", again).await.unwrap();
    assert_eq!(thread_ids(store, 9, Order::Asc, None).await, "t1 t2 t3");
    let kept = store.thread("ada", &"t1".into()).await.unwrap();
    assert_eq!(kept, thread("t1"));
    // The same id of another user's is another thread.
    store.add_thread("bob", thread("t1")).await.unwrap();
    let page = store
        .items("bob", &"t1".into(), scan(9, Order::Asc, None))
        .await;
    assert!(page.unwrap().data.is_empty());
}

async fn a_thread_is_changed_in_place_and_keeps_its_identity(store: &dyn Store) {
    fill(store).await;
    let t2 = ThreadId::from("t2");
    let change = |thread: &mut ThreadMetadata| {
        thread.title = Some("two".to_owned());
        thread.metadata.insert("note".to_owned(), 1.into());
        thread.id = "other".into();
        thread.created_at = at(9);
    };
    let changed = store.update_thread("ada", &t2, &change).await.unwrap();
    let mut expect = thread("t2");
    expect.title = Some("two".to_owned());
    expect.metadata.insert("note".to_owned(), 1.into());
    assert_eq!(changed, expect);
    assert_eq!(store.thread("ada", &t2).await.unwrap(), expect);
    let page = store.threads("ada", scan(9, Order::Asc, None)).await;
    assert_eq!(page.unwrap().data[1], expect);
    let refused = store
        .update_thread("ada", &"missing".into(), &change)
        .await
        .unwrap_err();
    assert_eq!(refused, StoreError::ThreadNotFound);
}

async fn an_item_is_replaced_where_it_stands(store: &dyn Store) {
    fill(store).await;
    let said = saying("t1", "b", "said at last");
    store.save_item("ada", said.clone()).await.unwrap();
    store.save_item("ada", item("t1", "d")).await.unwrap();
    assert_eq!(item_ids(store, 20, Order::Asc, None).await, "abcd");
    let kept = store.item("ada", &"t1".into(), &"b".into()).await.unwrap();
    assert_eq!(kept, said);
    let refused = store.save_item("ada", item("missing", "a")).await;
    assert_eq!(refused.unwrap_err(), StoreError::ThreadNotFound);
}

async fn of_those_who_replace_an_item_at_once_one_does(store: &dyn Store) {
    fill(store).await;
    let before = store.item("ada", &"t1".into(), &"b".into()).await.unwrap();
    let answers: Vec<_> = (0..8)
        .map(|n| saying("t1", "b", &format!("said by {n}")))
        .collect();
    let tries = answers
        .iter()
        .map(|answer| store.replace_item("ada", &before, answer.clone()));
    let outcomes = futures_util::future::join_all(tries).await;
    let done: Vec<_> = answers
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| outcome.is_ok())
        .collect();
    let [(answer, _)] = done[..] else {
        panic!("{outcomes:?}");
    };
    assert!(
        outcomes
            .iter()
            .flat_map(|outcome| outcome.as_ref().err())
            .all(|error| *error == StoreError::ItemChanged)
    );
    let kept = store.item("ada", &"t1".into(), &"b".into()).await.unwrap();
    assert_eq!(kept, *answer);
    assert_eq!(item_ids(store, 20, Order::Asc, None).await, "abc");
    let gone = saying("t1", "z", "never there");
    let refused = store.replace_item("ada", &gone, gone.clone()).await;
    assert_eq!(refused, Err(StoreError::ItemNotFound));
}

async fn what_is_of_no_known_kind_is_kept_as_it_stands(store: &dyn Store) {
    fill(store).await;
    let json = serde_json::json!({
        "id": "new", "thread_id": "t1", "created_at": "1970-01-01T00:00:00Z",
        "type": "hologram", "depth": {"cm": 3}
    });
    let rest = serde_json::json!({"type": "hologram", "depth": {"cm": 3}});
    let unknown = Item {
        kind: ItemKind::Unknown(rest.as_object().unwrap().clone()),
        ..item("t1", "new")
    };
    assert!(unknown.is_hidden());
    store.add_item("ada", unknown).await.unwrap();
    let kept = store
        .item("ada", &"t1".into(), &"new".into())
        .await
        .unwrap();
    assert_eq!(serde_json::to_value(kept).unwrap(), json);
}

async fn what_an_item_cost_is_kept_beside_it(store: &dyn Store) {
    fill(store).await;
    let cost = Cost {
        model: "tiny".to_owned(),
        usage: Usage {
            input_tokens: 3,
            ..Usage::default()
        },
    };
    let costly = Item {
        cost: Some(cost),
        ..item("t1", "b")
    };
    store.save_item("ada", costly.clone()).await.unwrap();
    let kept = store.item("ada", &"t1".into(), &"b".into()).await.unwrap();
    assert_eq!(kept, costly);
    let json = serde_json::to_string(&kept).unwrap();
    assert!(!json.contains("tiny"), "no client is told: {json}");
    let other = store.item("ada", &"t1".into(), &"a".into()).await.unwrap();
    assert_eq!(other.cost, None);
}

async fn one_item_is_deleted_and_its_place_stays_empty(store: &dyn Store) {
    fill(store).await;
    let (t1, b, c) = (ThreadId::from("t1"), ItemId::from("b"), ItemId::from("c"));
    store.delete_item("ada", &t1, &c).await.unwrap();
    store.delete_item("ada", &t1, &b).await.unwrap();
    let again = store.delete_item("ada", &t1, &b).await;
    assert_eq!(again.unwrap_err(), StoreError::ItemNotFound);
    store.add_item("ada", item("t1", "d")).await.unwrap();
    store.add_item("ada", item("t1", "b")).await.unwrap();
    assert_eq!(item_ids(store, 20, Order::Asc, None).await, "adb");
}

async fn what_stands_behind_an_item_is_deleted(store: &dyn Store) {
    fill(store).await;
    let (t1, a, b) = (ThreadId::from("t1"), ItemId::from("a"), ItemId::from("b"));
    store.delete_items_after("ada", &t1, &a).await.unwrap();
    store.delete_items_after("ada", &t1, &a).await.unwrap();
    assert_eq!(item_ids(store, 20, Order::Asc, None).await, "a");
    let gone = StoreError::ItemNotFound;
    assert_eq!(store.item("ada", &t1, &b).await.unwrap_err(), gone);
    let refused = store.delete_items_after("ada", &t1, &b).await;
    assert_eq!(refused.unwrap_err(), gone);
    let other = store.item("ada", &"t2".into(), &"z".into()).await;
    assert!(other.is_ok(), "another thread's items stay");
    store.add_item("ada", item("t1", "b")).await.unwrap();
    assert_eq!(item_ids(store, 20, Order::Asc, None).await, "ab");
}

async fn a_deleted_thread_is_gone_and_its_id_free(store: &dyn Store) {
    fill(store).await;
    let (t1, a) = (ThreadId::from("t1"), ItemId::from("a"));
    store
        .add_feedback("ada", &t1, std::slice::from_ref(&a), FeedbackKind::Negative)
        .await
        .unwrap();
    store.delete_thread("ada", &t1).await.unwrap();
    assert_eq!(thread_ids(store, 9, Order::Asc, None).await, "t2 t3");
    let gone = StoreError::ThreadNotFound;
    assert_eq!(store.thread("ada", &t1).await.unwrap_err(), gone);
    assert_eq!(store.item("ada", &t1, &a).await.unwrap_err(), gone);
    let refused = store.add_item("ada", item("t1", "x")).await;
    assert_eq!(refused.unwrap_err(), gone);
    assert_eq!(store.delete_thread("ada", &t1).await.unwrap_err(), gone);
    let cursor = scan(9, Order::Asc, Some(t1.clone()));
    let refused = store.threads("ada", cursor).await;
    assert_eq!(refused.unwrap_err(), StoreError::UnknownCursor);
    store.add_thread("ada", thread("t1")).await.unwrap();
    assert_eq!(item_ids(store, 20, Order::Asc, None).await, "");
    store.add_item("ada", item("t1", "a")).await.unwrap();
    assert_eq!(store.feedback("ada", &t1, &a).await.unwrap(), None);
}

async fn feedback_is_for_all_items_or_none(store: &dyn Store) {
    fill(store).await;
    let t1 = ThreadId::from("t1");
    let [a, b] = ["a", "b"].map(ItemId::from);
    let items = [a.clone(), ItemId::from("missing")];
    let liked = FeedbackKind::Positive;
    let refused = store.add_feedback("ada", &t1, &items, liked).await;
    assert_eq!(refused.unwrap_err(), StoreError::ItemNotFound);
    assert_eq!(store.feedback("ada", &t1, &a).await.unwrap(), None);
    let both = [a.clone(), b.clone(), a.clone()];
    store.add_feedback("ada", &t1, &both, liked).await.unwrap();
    store
        .add_feedback("ada", &t1, &both[1..2], FeedbackKind::Negative)
        .await
        .unwrap();
    let of = async |item| store.feedback("ada", &t1, item).await.unwrap();
    assert_eq!(of(&a).await, Some(FeedbackKind::Positive));
    assert_eq!(of(&b).await, Some(FeedbackKind::Negative));
    store.add_feedback("ada", &t1, &[], liked).await.unwrap();
    store.delete_item("ada", &t1, &b).await.unwrap();
    store.add_item("ada", item("t1", "b")).await.unwrap();
    assert_eq!(of(&b).await, None, "another item of the same id");
}

async fn an_attachment_is_of_its_user_and_is_found_by_all(store: &dyn Store) {
    let attachment = |id: &str| StoredAttachment {
        attachment: Attachment {
            id: id.into(),
            name: "a photo.png".to_owned(),
            mime_type: "image/png".to_owned(),
            upload_descriptor: None,
            thread_id: None,
            kind: AttachmentKind::File,
        },
        size_bytes: 9,
        created_at: at(1),
        is_uploaded: false,
    };
    for (user, id) in [("ada", "atc_x"), ("ada", "atc_y"), ("b/o b", "atc_x")] {
        store.save_attachment(user, attachment(id)).await.unwrap();
    }
    let mut uploaded = attachment("atc_x");
    uploaded.is_uploaded = true;
    uploaded.attachment.thread_id = Some("t1".into());
    store
        .save_attachment("ada", uploaded.clone())
        .await
        .unwrap();
    let [x, y] = ["atc_x", "atc_y"].map(AttachmentId::from);
    assert_eq!(store.attachment("ada", &x).await.unwrap(), uploaded);
    let other = store.attachment("b/o b", &x).await.unwrap();
    assert_eq!(other, attachment("atc_x"));
    let gone = StoreError::AttachmentNotFound;
    assert_eq!(store.attachment("bob", &x).await.unwrap_err(), gone);
    assert_eq!(store.delete_attachment("bob", &x).await.unwrap_err(), gone);

    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.attachments(after, 2).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        found.extend(page.into_iter().map(|(key, attachment)| {
            assert_eq!(key.id, attachment.attachment.id);
            format!("{} {}", key.user, key.id)
        }));
    }
    assert_eq!(found, ["ada atc_x", "ada atc_y", "b/o b atc_x"]);

    store.delete_attachment("ada", &y).await.unwrap();
    assert_eq!(store.attachment("ada", &y).await.unwrap_err(), gone);
}

async fn ids_are_whatever_a_client_sends(store: &dyn Store) {
    let long = "x".repeat(3_000);
    let ids = ["", "/", "a/b", "a%2Fb", "~", "\u{0}", "ä ü", &long];
    for id in ids {
        let missing = store.thread("ada", &id.into()).await;
        assert_eq!(missing.unwrap_err(), StoreError::ThreadNotFound, "{id}");
        store.add_thread(id, thread(id)).await.unwrap();
        let missing = store.item(id, &id.into(), &id.into()).await;
        assert_eq!(missing.unwrap_err(), StoreError::ItemNotFound, "{id}");
        store.add_item(id, item(id, id)).await.unwrap();
        assert_eq!(
            store.item(id, &id.into(), &id.into()).await.unwrap(),
            item(id, id)
        );
        let page = store.threads(id, scan(9, Order::Asc, None)).await.unwrap();
        assert_eq!(page.data, [thread(id)]);
    }
}

async fn changes_tell_which_thread_of_whom(store: &dyn Store) {
    let mark = store.changes(None).await.unwrap().mark;
    fill(store).await;
    let (t1, t2) = (ThreadId::from("t1"), ThreadId::from("t2"));
    store.delete_thread("ada", &t2).await.unwrap();
    let changes = store.changes(Some(mark)).await.unwrap();
    assert!(!changes.missed);
    assert_eq!(
        told(&changes),
        BTreeSet::from(["ada t1", "ada t2 deleted", "ada t3", "bob b1"].map(str::to_owned)),
    );
    assert_eq!(changes.changed.len(), 4, "each once");

    let [mark, t1_changed] = [changes.mark, {
        let title = |thread: &mut ThreadMetadata| thread.title = Some("one".to_owned());
        store.update_thread("ada", &t1, &title).await.unwrap();
        store.changes(Some(changes.mark)).await.unwrap().mark
    }];
    let again = store.changes(Some(mark)).await.unwrap();
    assert_eq!(told(&again), BTreeSet::from(["ada t1".to_owned()]));

    // Whoever waits is told of the next.
    let waiting = store.changes(Some(t1_changed));
    let (told_of, ()) = tokio::join!(waiting, async {
        tokio::task::yield_now().await;
        store.delete_item("ada", &t1, &"c".into()).await.unwrap();
    });
    assert_eq!(
        told(&told_of.unwrap()),
        BTreeSet::from(["ada t1".to_owned()])
    );
}

async fn a_failed_change_is_told_to_nobody(store: &dyn Store) {
    fill(store).await;
    let mark = store.changes(None).await.unwrap().mark;
    let failed = store.delete_thread("ada", &"missing".into()).await;
    assert!(failed.is_err());
    assert!(store.add_item("bob", item("t1", "x")).await.is_err());
    store.add_item("bob", item("b1", "x")).await.unwrap();
    let changes = store.changes(Some(mark)).await.unwrap();
    assert_eq!(told(&changes), BTreeSet::from(["bob b1".to_owned()]));
}

fn told(changes: &Changes) -> BTreeSet<String> {
    let changed = changes.changed.iter();
    changed
        .map(|change| {
            let deleted = if change.is_deleted { " deleted" } else { "" };
            format!("{} {}{deleted}", change.user, change.thread)
        })
        .collect()
}
