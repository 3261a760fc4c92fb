//! Whatever ends the process ends it between two commits: each operation is tried with every number of them.

use super::shaky::Shaky;
use super::*;

const MANY: usize = 700;

/// Runs `operation` on copies of what `prepare` made, ending it behind the first commit, the second and so on, until it is
/// carried out whole; and after each, what `check` looks at through another store. Returns the number of commits it took.
async fn end_everywhere(
    prepare: impl AsyncFn(&Durable),
    operation: impl AsyncFn(&Durable) -> Result<(), StoreError>,
    check: impl AsyncFn(&Durable, &Storage, bool),
) -> u64 {
    for commits in 0.. {
        let storage = midplane_sdk::testing::storage(64 << 20);
        prepare(&Durable::new(storage.clone())).await;
        let ending = Shaky::ending(&storage, commits);
        let done = operation(&Durable::new(ending.storage())).await;
        let next = Durable::new(storage.clone());
        next.resume_deletes().await.unwrap();
        check(&next, &storage, done.is_ok()).await;
        if !ending.has_ended() {
            return commits;
        }
    }
    unreachable!("every operation ends")
}

async fn fill(store: &Durable, items: usize) {
    store.add_thread("ada", thread("other")).await.unwrap();
    store.add_item("ada", item("other", "x")).await.unwrap();
    store.add_thread("ada", thread("t1")).await.unwrap();
    for number in 0..items {
        let item = item("t1", &format!("{number:06}"));
        store.add_item("ada", item).await.unwrap();
    }
    let first = [ItemId::from("000000")];
    store
        .add_feedback("ada", &"t1".into(), &first, FeedbackKind::Positive)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_long_thread_is_whole_or_gone_and_leaves_nothing() {
    let commits = end_everywhere(
        async |store| fill(store, MANY).await,
        async |store| store.delete_thread("ada", &"t1".into()).await,
        async |store, storage, done| match ids(store, "ada", "t1").await {
            Ok(ids) => {
                assert!(!done);
                assert_eq!(ids.len(), MANY);
                let page = Store::threads(store, "ada", scan(9, Order::Asc, None)).await;
                assert_eq!(page.unwrap().data.len(), 2);
            }
            Err(error) => {
                assert_eq!(error, StoreError::ThreadNotFound);
                let keys = kept_keys(storage).await;
                let left: Vec<_> = keys.iter().filter(|key| key.contains("t1")).collect();
                assert_eq!(left, [&""; 0]);
                assert_eq!(ids(store, "ada", "other").await.unwrap(), ["x"]);
            }
        },
    )
    .await;
    // The tombstone; then items, positions and one feedback by nine hundred.
    assert_eq!(commits, 1 + (2 * MANY as u64 + 1).div_ceil(900));
}

#[tokio::test]
async fn what_is_deleted_behind_an_item_goes_newest_first() {
    let all: Vec<_> = (0..MANY).map(|number| format!("{number:06}")).collect();
    let commits = end_everywhere(
        async |store| fill(store, MANY).await,
        async |store| {
            store
                .delete_items_after("ada", &"t1".into(), &"000009".into())
                .await
        },
        async |store, _, done| {
            let left = ids(store, "ada", "t1").await.unwrap();
            assert_eq!(left, all[..left.len()]);
            assert!(left.len() >= 10);
            assert!(!done || left.len() == 10);
        },
    )
    .await;
    assert_eq!(commits, 3);
}

#[tokio::test]
async fn a_new_thread_of_a_deleted_one_s_name_has_none_of_its_items() {
    let storage = midplane_sdk::testing::storage(64 << 20);
    let store = Durable::new(storage.clone());
    fill(&store, 500).await;
    let ended = Durable::new(Shaky::ending(&storage, 1).storage());
    ended.delete_thread("ada", &"t1".into()).await.unwrap();
    assert!(kept_keys(&storage).await.len() > 500, "nothing is swept");
    store.add_thread("ada", thread("t1")).await.unwrap();
    assert_eq!(ids(&store, "ada", "t1").await.unwrap(), [""; 0]);
    assert_eq!(
        kept_keys(&storage).await.len(),
        8,
        "three keys of each thread, and two of the other one's item"
    );
}

#[tokio::test]
async fn everything_else_is_one_commit() {
    let title = |thread: &mut ThreadMetadata| thread.title = Some("x".to_owned());
    let operations: [(&str, u64); 7] = [
        ("add thread", 1),
        ("update", 1),
        ("add", 1),
        ("replace", 1),
        ("append", 1),
        ("delete", 1),
        ("feedback", 1),
    ];
    for (name, expect) in operations {
        let commits = end_everywhere(
            async |store| fill(store, 3).await,
            async |store| match name {
                "add thread" => store.add_thread("ada", thread("new")).await,
                "update" => store
                    .update_thread("ada", &"t1".into(), &title)
                    .await
                    .map(drop),
                "add" => store.add_item("ada", item("t1", "new")).await,
                "replace" => {
                    let said = crate::store::contract::saying("t1", "000001", "new");
                    store.save_item("ada", said).await
                }
                "append" => store.save_item("ada", item("t1", "new")).await,
                "delete" => {
                    store
                        .delete_item("ada", &"t1".into(), &"000001".into())
                        .await
                }
                "feedback" => {
                    let items = [ItemId::from("000001"), ItemId::from("000002")];
                    let liked = FeedbackKind::Positive;
                    store.add_feedback("ada", &"t1".into(), &items, liked).await
                }
                other => unreachable!("{other}"),
            },
            async |store, _, _| {
                let page =
                    Store::items(store, "ada", &"t1".into(), scan(9, Order::Asc, None)).await;
                let listed = Store::threads(store, "ada", scan(9, Order::Asc, None))
                    .await
                    .unwrap();
                for thread in listed.data {
                    assert_eq!(store.thread("ada", &thread.id).await.unwrap(), thread);
                }
                for item in page.unwrap().data {
                    let same = store.item("ada", &"t1".into(), &item.id).await;
                    assert_eq!(same.unwrap(), item);
                }
            },
        )
        .await;
        assert_eq!(commits, expect, "{name}");
    }
}
