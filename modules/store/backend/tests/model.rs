//! Whatever is asked of the file, and in whatever order, it answers as the one in memory does.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use bytes::Bytes;
use midplane_store_backend::sqlite::maintenance::Maintenance;
use midplane_store_backend::sqlite::{Durability, Settings};
use midplane_store_backend::{
    Backend, Batch, Expectation, Memory, Scan, Sqlite, StoreError, Version, Write,
};
use support::{Chance, bytes, open, put, settings};

/// Small enough that keys meet, and the quota is reached.
const QUOTA_BYTES: u64 = 600;
const MODULES: [&str; 3] = ["chat", "notes", ""];
const KEYS: [&[u8]; 12] = [
    b"a",
    b"a\0",
    b"a\xff",
    b"a/1",
    b"a/2",
    b"ab",
    b"b",
    b"b/",
    b"b/\xff\xff",
    b"\xff",
    b"\xff\xff",
    b"\0",
];

#[tokio::test]
async fn every_answer_is_that_of_the_model() {
    for seed in 1..=6 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let settings = Settings {
            quota_bytes: QUOTA_BYTES,
            ..settings(&path, Durability::Normal)
        };
        let (mut file, model) = (Sqlite::open(&settings).unwrap(), Memory::new(QUOTA_BYTES));
        let mut chance = Chance(seed);
        for step in 0..400 {
            let module = *chance.pick(&MODULES);
            let told = format!("seed {seed}, step {step}, module {module:?}");
            match chance.below(10) {
                0 => {
                    // Nothing of this is only in memory.
                    drop(file);
                    file = Sqlite::open(&settings).unwrap();
                }
                1 => {
                    let key = any_key(&mut chance);
                    let found = file.get(module, key.clone()).await;
                    assert_eq!(found, model.get(module, key).await, "{told}");
                }
                2..=4 => {
                    let scan = any_scan(&mut chance);
                    let found = file.scan(module, scan.clone()).await;
                    assert_eq!(
                        found,
                        model.scan(module, scan.clone()).await,
                        "{told}: {scan:?}"
                    );
                }
                _ => {
                    let batch = any_batch(&mut chance, &model, module).await;
                    let found = file.commit(module, batch.clone()).await;
                    assert_eq!(
                        found,
                        model.commit(module, batch.clone()).await,
                        "{told}: {batch:?}"
                    );
                }
            }
            assert_eq!(
                file.usage(module).await,
                model.usage(module).await,
                "{told}"
            );
        }
        drop(file);
        let faults = Maintenance::open(&path).unwrap().check().unwrap();
        assert!(faults.is_empty(), "seed {seed}: {faults:?}");
    }
}

fn any_key(chance: &mut Chance) -> Bytes {
    Bytes::from_static(chance.pick::<&'static [u8]>(&KEYS))
}

fn any_scan(chance: &mut Chance) -> Scan {
    let mut scan = Scan::prefix(chance.pick::<&[u8]>(&[&b""[..], b"a", b"a/", b"b", b"\xff"]));
    if chance.below(3) == 0 {
        scan.from = any_key(chance);
        scan.to = (chance.below(2) == 0).then(|| any_key(chance));
    }
    if chance.below(3) == 0 {
        scan.after = Some(any_key(chance));
    }
    scan.reverse = chance.below(2) == 0;
    scan.keys_only = chance.below(4) == 0;
    scan.limit = *chance.pick(&[0, 1, 2, 5, 1_000, 1_001]);
    scan
}

async fn any_batch(chance: &mut Chance, model: &Memory, module: &str) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..chance.below(3) {
        let key = any_key(chance);
        let there = model.get(module, key.clone()).await.unwrap();
        let expectation = match (chance.below(5), there) {
            (0, _) => Expectation::Absent,
            (1, _) => Expectation::Present,
            (2, Some(entry)) => Expectation::Version(entry.version),
            (3, Some(entry)) => Expectation::Value(entry.value),
            (_, None) => Expectation::Absent,
            (_, Some(_)) => Expectation::Version(Version(chance.below(40))),
        };
        batch.expect.push((key, expectation));
    }
    for _ in 0..chance.below(5) {
        let key = any_key(chance);
        batch.write.push(if chance.below(3) == 0 {
            Write::Delete { key }
        } else {
            let len = usize::try_from(chance.below(150)).unwrap();
            Write::Put {
                key,
                value: vec![b'v'; len].into(),
            }
        });
    }
    batch
}

#[tokio::test]
async fn pages_end_at_their_limits_and_go_on_behind_the_last_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(&dir.path().join("state.db"));
    let memory = Memory::new(u64::MAX);
    for store in [&file as &dyn Backend, &memory] {
        // Four fit a page by their bytes, and a value of the largest size is a page of its own.
        for n in 0..9 {
            let value = vec![n; if n == 7 { 1 << 20 } else { 250_000 }];
            store.commit("m", put([b'k', n], value)).await.unwrap();
        }
        let mut pages = Vec::new();
        let mut scan = Scan::prefix(b"k");
        loop {
            let page = store.scan("m", scan.clone()).await.unwrap();
            pages.push(page.entries.len());
            scan.after = page.entries.last().map(|entry| entry.key.clone());
            if !page.more {
                break;
            }
        }
        assert_eq!(pages, [4, 3, 1, 1]);
        let keys_only = Scan {
            keys_only: true,
            ..Scan::prefix(b"k")
        };
        let page = store.scan("m", keys_only).await.unwrap();
        assert_eq!((page.entries.len(), page.more), (9, false));
        assert!(page.entries.iter().all(|entry| entry.value.is_empty()));
    }
}

#[tokio::test]
async fn a_quota_refuses_what_adds_to_it_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let small = |quota_bytes| Settings {
        quota_bytes,
        ..settings(&path, Durability::Normal)
    };
    let store = Sqlite::open(&small(100)).unwrap();
    store.commit("m", put("a", [0; 99])).await.unwrap();
    let refused = store.commit("m", put("b", "")).await;
    let quota = StoreError::Quota {
        module: "m".to_owned(),
        wanted_bytes: 101,
        quota_bytes: 100,
    };
    assert_eq!(refused, Err(quota));
    store
        .commit("other", put("b", [0; 99]))
        .await
        .expect("each module has its own");
    store
        .commit("m", put("a", [1; 99]))
        .await
        .expect("it is not more than before");
    drop(store);
    // Lowered below what is there already: nothing is added, everything can be read, made smaller and deleted.
    let store = Sqlite::open(&small(10)).unwrap();
    assert!(matches!(
        store.commit("m", put("a", [1; 100])).await,
        Err(StoreError::Quota { .. })
    ));
    store.commit("m", put("a", [1; 50])).await.unwrap();
    assert_eq!(store.usage("m").await.unwrap().bytes, 51);
    store.commit("m", Batch::delete(bytes("a"))).await.unwrap();
    assert_eq!(store.usage("m").await.unwrap().bytes, 0);
}

#[tokio::test]
async fn one_refused_batch_does_not_touch_those_it_shares_a_transaction_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("state.db"));
    store.commit("m", put("there", "1")).await.unwrap();
    let all = (0..64).map(|n| {
        let batch = Batch {
            expect: vec![(
                bytes(if n % 2 == 0 { "there" } else { "absent" }),
                Expectation::Present,
            )],
            ..put(format!("k{n}"), "v")
        };
        store.commit("m", batch)
    });
    // All are in the queue before the first is answered.
    let mut all: Vec<_> = all.collect();
    let outcomes = std::future::poll_fn(|cx| {
        let mut outcomes = Vec::new();
        for commit in &mut all {
            if let std::task::Poll::Ready(outcome) = commit.as_mut().poll(cx) {
                outcomes.push(outcome);
            }
        }
        std::task::Poll::Ready(outcomes)
    })
    .await;
    let mut outcomes: Vec<_> = outcomes.into_iter().collect();
    for commit in all.split_off(outcomes.len()) {
        outcomes.push(commit.await);
    }
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_ok(), n % 2 == 0, "{n}: {outcome:?}");
    }
    assert_eq!(store.usage("m").await.unwrap().entries, 33);
}
