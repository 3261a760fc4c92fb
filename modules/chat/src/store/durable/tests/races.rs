//! One operation in the middle of another: between what that has read and what it commits, or between two of its commits.

use super::interleaved::is_sound;
use super::shaky::Shaky;
use super::*;
use crate::store::contract::saying;

const COMMIT: &str = "/commit";
const SCAN: &str = "/kv";

/// `t1` with these items.
async fn filled(items: &[&str]) -> (Storage, Durable) {
    let storage = midplane_sdk::testing::storage(64 << 20);
    let store = Durable::new(storage.clone());
    store.add_thread("ada", thread("t1")).await.unwrap();
    for id in items {
        store.add_item("ada", item("t1", id)).await.unwrap();
    }
    (storage, store)
}

/// A store before whose `nth` request to `path` another one does something.
fn racing<Fut>(
    storage: &Storage,
    path: &'static str,
    nth: u32,
    meanwhile: impl FnOnce(Durable) -> Fut,
) -> Durable
where
    Fut: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let other = meanwhile(Durable::new(storage.clone()));
    let done = async move { other.await.unwrap() };
    Durable::new(Shaky::interrupted(storage, path, nth, done).storage())
}

/// Deletes an item and adds it again, so that it is another of the same name, at the end.
async fn renew(store: &Durable, id: &'static str) -> Result<(), StoreError> {
    store.delete_item("ada", &"t1".into(), &id.into()).await?;
    store.add_item("ada", item("t1", id)).await
}

fn t1() -> ThreadId {
    "t1".into()
}

#[tokio::test]
async fn an_item_that_moves_is_replaced_where_it_is_then() {
    let (storage, calm) = filled(&["a", "b", "c"]).await;
    let store = racing(&storage, COMMIT, 0, async |other| renew(&other, "b").await);
    let said = saying("t1", "b", "said at last");
    store.save_item("ada", said.clone()).await.unwrap();
    assert_eq!(ids(&calm, "ada", "t1").await.unwrap(), ["a", "c", "b"]);
    let kept = calm.item("ada", &t1(), &"b".into()).await;
    assert_eq!(kept.unwrap(), said);
    is_sound(&storage).await;
}

#[tokio::test]
async fn an_item_that_moves_is_deleted_where_it_is_then() {
    let (storage, calm) = filled(&["a", "b", "c"]).await;
    let store = racing(&storage, COMMIT, 0, async |other| renew(&other, "b").await);
    store.delete_item("ada", &t1(), &"b".into()).await.unwrap();
    assert_eq!(ids(&calm, "ada", "t1").await.unwrap(), ["a", "c"]);
    is_sound(&storage).await;
}

#[tokio::test]
async fn what_is_added_meanwhile_is_deleted_with_what_stands_behind() {
    let (storage, calm) = filled(&["a", "b", "c"]).await;
    let store = racing(&storage, COMMIT, 0, async |other| renew(&other, "b").await);
    store
        .delete_items_after("ada", &t1(), &"a".into())
        .await
        .unwrap();
    assert_eq!(ids(&calm, "ada", "t1").await.unwrap(), ["a"]);
    is_sound(&storage).await;
}

#[tokio::test]
async fn an_item_that_another_adds_meanwhile_is_there_once() {
    for fill in [&[][..], &["a"]] {
        let (storage, calm) = filled(fill).await;
        let store = racing(&storage, COMMIT, 0, async |other| {
            other.add_item("ada", item("t1", "x")).await
        });
        store.add_item("ada", item("t1", "x")).await.unwrap();
        assert_eq!(ids(&calm, "ada", "t1").await.unwrap().len(), fill.len() + 1);
        is_sound(&storage).await;
    }
}

#[tokio::test]
async fn nothing_is_written_into_a_thread_that_is_deleted_meanwhile() {
    type Write = fn(Durable) -> futures_util::future::BoxFuture<'static, Result<(), StoreError>>;
    let writes: [(&str, Write); 5] = [
        ("add", |store| {
            async move { store.add_item("ada", item("t1", "x")).await }.boxed()
        }),
        ("replace", |store| {
            async move { store.save_item("ada", item("t1", "a")).await }.boxed()
        }),
        ("delete", |store| {
            async move { store.delete_item("ada", &t1(), &"a".into()).await }.boxed()
        }),
        ("feedback", |store| {
            let liked = FeedbackKind::Positive;
            async move { store.add_feedback("ada", &t1(), &["a".into()], liked).await }.boxed()
        }),
        ("rename", |store| {
            let title = |thread: &mut ThreadMetadata| thread.title = Some("x".to_owned());
            async move { store.update_thread("ada", &t1(), &title).await.map(drop) }.boxed()
        }),
    ];
    for (name, write) in writes {
        let (storage, _) = filled(&["a", "b"]).await;
        let store = racing(&storage, COMMIT, 0, async |other| {
            other.delete_thread("ada", &t1()).await
        });
        let refused = write(store).await;
        assert_eq!(refused, Err(StoreError::ThreadNotFound), "{name}");
        assert_eq!(kept_keys(&storage).await, [""; 0], "{name}");

        // Nor where its items are still there.
        let (storage, calm) = filled(&["a", "b"]).await;
        let ended = Durable::new(Shaky::ending(&storage, 1).storage());
        let store = racing(&storage, COMMIT, 0, async move |_| {
            ended.delete_thread("ada", &t1()).await
        });
        let refused = write(store).await;
        assert_eq!(refused, Err(StoreError::ThreadNotFound), "{name}");
        calm.resume_deletes().await.unwrap();
        assert_eq!(kept_keys(&storage).await, [""; 0], "{name}");
    }
}

#[tokio::test]
async fn one_of_two_who_delete_a_thread_is_told_that_it_is_gone() {
    let (storage, _) = filled(&["a"]).await;
    let store = racing(&storage, COMMIT, 0, async |other| {
        other.delete_thread("ada", &t1()).await
    });
    let refused = store.delete_thread("ada", &t1()).await;
    assert_eq!(refused, Err(StoreError::ThreadNotFound));
    assert_eq!(kept_keys(&storage).await, [""; 0]);
}

#[tokio::test]
async fn nothing_is_deleted_behind_an_item_that_is_gone_by_then() {
    let (storage, calm) = filled(&["a", "b", "c"]).await;
    let store = racing(&storage, COMMIT, 0, async |other| {
        other.delete_item("ada", &t1(), &"a".into()).await
    });
    let refused = store.delete_items_after("ada", &t1(), &"a".into()).await;
    assert_eq!(refused, Err(StoreError::ItemNotFound));
    assert_eq!(ids(&calm, "ada", "t1").await.unwrap(), ["b", "c"]);
    is_sound(&storage).await;
}

#[tokio::test]
async fn both_of_two_changes_of_a_thread_are_kept() {
    let (storage, calm) = filled(&[]).await;
    let store = racing(&storage, COMMIT, 0, async |other| {
        let note = |thread: &mut ThreadMetadata| {
            thread.metadata.insert("note".to_owned(), 1.into());
        };
        other.update_thread("ada", &t1(), &note).await.map(drop)
    });
    let title = |thread: &mut ThreadMetadata| thread.title = Some("x".to_owned());
    store.update_thread("ada", &t1(), &title).await.unwrap();
    let kept = calm.thread("ada", &t1()).await.unwrap();
    assert_eq!(kept.title.as_deref(), Some("x"));
    assert_eq!(kept.metadata["note"], 1);
    is_sound(&storage).await;
}

#[tokio::test]
async fn what_a_deleted_thread_left_is_not_taken_from_the_next_of_its_name() {
    let (storage, calm) = filled(&["a", "b"]).await;
    // The second commit is that of the sweep, which has looked at what there is.
    let store = racing(&storage, COMMIT, 1, async |other| {
        other.resume_deletes().await?;
        other.add_thread("ada", thread("t1")).await?;
        other.add_item("ada", item("t1", "b")).await
    });
    store.delete_thread("ada", &t1()).await.unwrap();
    assert_eq!(ids(&calm, "ada", "t1").await.unwrap(), ["b"]);
    is_sound(&storage).await;
}

#[tokio::test]
async fn a_listener_whose_notes_go_while_it_reads_them_is_told_so() {
    let (storage, calm) = filled(&["a"]).await;
    let mark = calm.changes(None).await.unwrap().mark;
    calm.delete_item("ada", &t1(), &"a".into()).await.unwrap();
    let store = racing(&storage, SCAN, 0, async |other| {
        for number in 0..60 {
            let id = format!("t{number}");
            other.add_thread("bob", thread(&id)).await?;
        }
        Ok(())
    });
    let changes = store.changes(Some(mark)).await.unwrap();
    assert!(changes.missed, "{changes:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_carried_out_without_an_answer_is_not_carried_out_again() {
    let after = |storage: &Storage| Durable::new(Shaky::losing_an_answer(storage).storage());
    let (storage, calm) = filled(&["a", "b", "c"]).await;
    let (a, c) = (ItemId::from("a"), ItemId::from("c"));
    after(&storage)
        .add_item("ada", item("t1", "x"))
        .await
        .unwrap();
    let said = saying("t1", "b", "new");
    after(&storage)
        .save_item("ada", said.clone())
        .await
        .unwrap();
    let newer = saying("t1", "b", "newer");
    after(&storage)
        .replace_item("ada", &said, newer)
        .await
        .unwrap();
    after(&storage).delete_item("ada", &t1(), &c).await.unwrap();
    assert_eq!(ids(&calm, "ada", "t1").await.unwrap(), ["a", "b", "x"]);
    after(&storage)
        .delete_items_after("ada", &t1(), &a)
        .await
        .unwrap();
    assert_eq!(ids(&calm, "ada", "t1").await.unwrap(), ["a"]);
    after(&storage)
        .add_thread("ada", thread("t2"))
        .await
        .unwrap();
    after(&storage).delete_thread("ada", &t1()).await.unwrap();
    is_sound(&storage).await;
    calm.delete_thread("ada", &"t2".into()).await.unwrap();
    assert_eq!(kept_keys(&storage).await, [""; 0]);
}
