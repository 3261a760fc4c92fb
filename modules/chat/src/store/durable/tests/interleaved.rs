//! Two stores over one storage, as two kernels of one user: first one operation after the other, against a model, then
//! all at once, with requests that take their time and fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::future::join_all;

use super::super::record::{CounterRecord, PositionRecord};
use super::shaky::{Random, Shaky};
use super::*;
use crate::store::contract::saying;
use crate::store::memory::Memory;

const USERS: [&str; 2] = ["ada", "bob"];
const QUOTA_BYTES: u64 = 256 << 20;

/// How many runs: more for whoever has the time.
fn seeds(default: u64) -> u64 {
    let wanted = std::env::var("MIDPLANE_TEST_SEEDS");
    wanted.map_or(default, |wanted| wanted.parse().expect("a number of seeds"))
}

fn user(random: &Random) -> &'static str {
    USERS[random.below(2) as usize]
}

fn thread_id(random: &Random) -> ThreadId {
    format!("t{}", random.below(4)).as_str().into()
}

fn item_id(random: &Random) -> ItemId {
    format!("i{}", random.below(12)).as_str().into()
}

/// Carries out something at random, and tells what it came to.
async fn act(store: &dyn Store, random: &Random) -> String {
    let (user, thread_id, item_id) = (user(random), thread_id(random), item_id(random));
    let order = [Order::Asc, Order::Desc][random.below(2) as usize];
    let limit = 1 + random.below(5) as usize;
    let said = saying(
        thread_id.as_str(),
        item_id.as_str(),
        &random.below(1_000).to_string(),
    );
    let title = format!("title {}", random.below(1_000));
    let change = |thread: &mut ThreadMetadata| thread.title = Some(title.clone());
    let kind = FeedbackKind::Positive;
    match random.below(16) {
        0..2 => {
            let thread = thread(thread_id.as_str());
            format!("{:?}", store.add_thread(user, thread).await)
        }
        2 => format!("{:?}", store.delete_thread(user, &thread_id).await),
        3 => {
            let outcome = store.update_thread(user, &thread_id, &change).await;
            format!("{outcome:?}")
        }
        4..8 => format!("{:?}", store.add_item(user, said).await),
        8 => format!("{:?}", store.save_item(user, said).await),
        9 => {
            let outcome = store.delete_item(user, &thread_id, &item_id).await;
            format!("{outcome:?}")
        }
        10 => {
            let outcome = store.delete_items_after(user, &thread_id, &item_id).await;
            format!("{outcome:?}")
        }
        11 => {
            let items = [item_id.clone(), self::item_id(random)];
            let outcome = store.add_feedback(user, &thread_id, &items, kind).await;
            format!("{outcome:?}")
        }
        12 => {
            let after = (random.below(2) == 0).then_some(item_id);
            let page = store
                .items(user, &thread_id, scan(limit, order, after))
                .await;
            format!("{page:?}")
        }
        13 => {
            let after = (random.below(2) == 0).then_some(thread_id);
            format!("{:?}", store.threads(user, scan(limit, order, after)).await)
        }
        14 => format!("{:?}", store.item(user, &thread_id, &item_id).await),
        _ => format!("{:?}", store.feedback(user, &thread_id, &item_id).await),
    }
}

#[tokio::test]
async fn one_after_the_other_both_do_what_the_model_does() {
    for seed in 0..seeds(15) {
        let storage = midplane_sdk::testing::storage(QUOTA_BYTES);
        let random = Random::new(seed);
        let two = [0, 1].map(|_| Durable::new(storage.clone()));
        let model = Memory::default();
        for step in 0..300 {
            let (ours, models) = (
                Random::new(seed * 1_000 + step),
                Random::new(seed * 1_000 + step),
            );
            let store = &two[random.below(2) as usize];
            let (found, expect) = (act(store, &ours).await, act(&model, &models).await);
            assert_eq!(found, expect, "seed {seed}, step {step}");
        }
        is_sound(&storage).await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_at_once_nothing_is_torn_and_listeners_know_all() {
    for seed in 0..seeds(20) {
        let storage = midplane_sdk::testing::storage(QUOTA_BYTES);
        let random = Random::new(seed);
        let failing = (seed % 2 == 1).then_some(25);
        let shaky = Shaky::failing(&storage, &random, failing);
        let two = [0, 1].map(|_| Durable::new(shaky.storage()));
        let calm = Durable::new(storage.clone());
        let mut mark = calm.changes(None).await.unwrap().mark;
        let workers = (0..6).map(|worker| {
            let (store, random) = (&two[worker % 2], &random);
            async move {
                for _ in 0..30 {
                    act(store, random).await;
                }
            }
        });
        // What a listener believes to be there, by what it is told and then looks at.
        let mut seen = Known::new();
        let slow = Durable::new(Shaky::slow(&storage, &random).patient().storage());
        let mut workers = std::pin::pin!(join_all(workers));
        loop {
            tokio::select! {
                biased;
                changes = slow.changes(Some(mark)) => {
                    let changes = changes.unwrap();
                    look(&calm, &changes, &mut seen).await;
                    mark = changes.mark;
                }
                _ = &mut workers => break,
            }
        }
        // One more, so that there is something to wait for.
        calm.add_thread("ada", thread("last")).await.unwrap();
        let changes = calm.changes(Some(mark)).await.unwrap();
        look(&calm, &changes, &mut seen).await;
        assert_eq!(seen, known(&calm).await, "seed {seed}");

        calm.resume_deletes().await.unwrap();
        is_sound(&storage).await;
        for user in USERS {
            let all = scan(100, Order::Asc, None);
            for thread in calm.threads(user, all).await.unwrap().data {
                calm.delete_thread(user, &thread.id).await.unwrap();
            }
        }
        assert_eq!(kept_keys(&storage).await, [""; 0], "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_acknowledged_item_is_there_once_and_in_its_writer_s_order() {
    for seed in 0..seeds(10) {
        let storage = midplane_sdk::testing::storage(QUOTA_BYTES);
        let random = Random::new(seed);
        let shaky = Shaky::failing(&storage, &random, Some(15));
        let two = [0, 1].map(|_| Durable::new(shaky.storage()));
        let calm = Durable::new(storage.clone());
        calm.add_thread("ada", thread("t1")).await.unwrap();
        let writers = (0..6).map(|writer| {
            let store = &two[writer % 2];
            async move {
                let mut acknowledged = Vec::new();
                for number in 0..20 {
                    let id = format!("{writer}-{number:02}");
                    if store.add_item("ada", item("t1", &id)).await.is_ok() {
                        acknowledged.push(id);
                    }
                }
                acknowledged
            }
        });
        let acknowledged = join_all(writers).await;
        let kept = ids(&calm, "ada", "t1").await.unwrap();
        let unique: BTreeSet<_> = kept.iter().collect();
        assert_eq!(unique.len(), kept.len(), "seed {seed}: {kept:?}");
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let own = |id: &&String| id.starts_with(&format!("{writer}-"));
            let kept: Vec<_> = kept.iter().filter(own).collect();
            assert!(kept.is_sorted(), "seed {seed}: {kept:?}");
            let missing = acknowledged.iter().find(|id| !kept.contains(id));
            assert_eq!(missing, None, "seed {seed}");
        }
        is_sound(&storage).await;
    }
}

#[tokio::test]
async fn a_listener_that_is_epochs_behind_is_told_so_and_old_notes_go() {
    let storage = midplane_sdk::testing::storage(QUOTA_BYTES);
    let store = Durable::new(storage.clone());
    let mark = store.changes(None).await.unwrap().mark;
    for number in 0..100 {
        let id = format!("t{number:03}");
        store.add_thread("ada", thread(&id)).await.unwrap();
    }
    let changes = store.changes(Some(mark)).await.unwrap();
    assert!(changes.missed);
    let keys = all_keys(&storage).await;
    let notes = keys.iter().filter(|key| key.starts_with("c/")).count();
    assert!(notes < 30, "{notes} notes are kept");
    // From there on it is told all again.
    store.delete_thread("ada", &"t000".into()).await.unwrap();
    let changes = store.changes(Some(changes.mark)).await.unwrap();
    assert!(!changes.missed);
    assert_eq!(changes.changed.len(), 1);
    assert!(changes.changed[0].is_deleted);
}

#[tokio::test]
async fn a_storage_that_went_back_in_time_is_noticed() {
    let storage = midplane_sdk::testing::storage(QUOTA_BYTES);
    let store = Durable::new(storage.clone());
    store.add_thread("ada", thread("t1")).await.unwrap();
    let before = store.changes(None).await.unwrap().mark;
    let later = Mark {
        version: before.version + 10,
        ..before
    };
    assert!(store.changes(Some(later)).await.unwrap().missed);
}

/// By user and thread: the title and the items' ids.
type Known = BTreeMap<(String, ThreadId), (Option<String>, Vec<String>)>;

async fn look(store: &Durable, changes: &Changes, seen: &mut Known) {
    if changes.missed {
        *seen = known(store).await;
    }
    for change in &changes.changed {
        let key = (change.user.clone(), change.thread.clone());
        match store.thread(&change.user, &change.thread).await {
            Ok(thread) => {
                let items = ids(store, &change.user, change.thread.as_str()).await;
                seen.insert(key, (thread.title, items.unwrap()));
            }
            Err(_) => {
                seen.remove(&key);
            }
        }
    }
}

async fn known(store: &Durable) -> Known {
    let mut known = Known::new();
    for user in USERS {
        let all = scan(100, Order::Asc, None);
        for thread in store.threads(user, all).await.unwrap().data {
            let items = ids(store, user, thread.id.as_str()).await.unwrap();
            known.insert((user.to_owned(), thread.id), (thread.title, items));
        }
    }
    known
}

/// What belongs together is there together.
pub(super) async fn is_sound(storage: &Storage) {
    let keys: BTreeSet<String> = kept_keys(storage).await.into_iter().collect();
    let mut positions: HashMap<String, u64> = HashMap::new();
    let mut items = 0;
    for key in &keys {
        let (kind, of) = key.split_once('/').unwrap();
        let entry = storage.get(key).await.unwrap().unwrap();
        let (user, rest) = of.split_once('/').unwrap();
        match kind {
            "t" => {
                let thread = record::read_thread(&entry.value).unwrap();
                let listed = keys::listed(user, thread.created_at, &thread.id);
                let listed = storage.get(listed).await.unwrap().unwrap();
                assert_eq!(listed.value, entry.value);
                assert!(keys.contains(&format!("n/{of}")), "{key}");
            }
            "l" => {
                let (_, thread) = rest.split_once('/').unwrap();
                assert!(keys.contains(&format!("t/{user}/{thread}")), "{key}");
            }
            "n" => assert!(keys.contains(&format!("t/{of}")), "{key}"),
            "i" => items += 1,
            "p" | "f" => {
                let (thread, item) = rest.split_once('/').unwrap();
                let counter = storage.get(format!("n/{user}/{thread}")).await.unwrap();
                let counter: CounterRecord = record::read(&counter.unwrap().value).unwrap();
                let place = format!("p/{user}/{thread}/{item}");
                assert!(keys.contains(&place), "{key}");
                if kind == "p" {
                    let position: PositionRecord = record::read(&entry.value).unwrap();
                    assert!(position.at < counter.next);
                    let at = format!("i/{user}/{thread}/{:016x}", position.at);
                    let kept = storage.get(&at).await.unwrap().expect("the item");
                    assert_eq!(record::read_item(&kept.value).unwrap().id.as_str(), item);
                    assert_eq!(
                        positions.insert(at, position.at),
                        None,
                        "two have one place"
                    );
                }
            }
            other => panic!("{other}: {key}"),
        }
    }
    assert_eq!(items, positions.len());
}
