//! Several processes with one file: nothing is lost, whoever writes, and however one of them ends.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use midplane_store_backend::sqlite::maintenance::Maintenance;
use midplane_store_backend::sqlite::{Durability, OpenError};
use midplane_store_backend::{Backend, Batch, Scan, Sqlite, Version, Write};
use support::{Chance, Running, add_one, again, asked, bytes, open, put, say, settings};

const ADDED_BY_EACH: u64 = 150;
const KILLS: u64 = 200;
const ALONE_EVERY: u64 = 5;

#[tokio::test]
async fn two_processes_that_count_together_lose_no_count() {
    if let Some((_, path)) = asked() {
        return count(&path).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let here = "two_processes_that_count_together_lose_no_count";
    // Both make the file, or find it half made by the other.
    let mut others = [again(here, "count", &path), again(here, "count", &path)]
        .map(|mut command| Running::start(&mut command));
    for other in &mut others {
        assert!(other.0.wait().unwrap().success());
    }
    let store = open(&path);
    let entry = store
        .get("m", bytes("count"))
        .await
        .unwrap()
        .expect("it was counted");
    assert_eq!(entry.value, (2 * ADDED_BY_EACH).to_string());
    let usage = store.usage("m").await.unwrap();
    assert_eq!(
        usage.version,
        Version(2 * ADDED_BY_EACH + 2 * ADDED_BY_EACH)
    );
    assert_eq!(usage.entries, 2 * ADDED_BY_EACH + 1);
    assert_sound(&path);
}

/// Counts, and writes keys of its own in between.
async fn count(path: &Path) {
    let store = Sqlite::open(&settings(path, Durability::Normal)).expect("the store opens");
    let own = std::process::id();
    for n in 0..ADDED_BY_EACH {
        add_one(&store, "m", "count").await;
        store
            .commit("m", put(format!("own/{own}/{n}"), "x"))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_any_kill() {
    if let Some((sync, path)) = asked() {
        let sync = if sync == "full" {
            Durability::Full
        } else {
            Durability::Normal
        };
        return acknowledge(&path, sync).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut chance = Chance(7);
    let (mut acknowledged_in_all, mut last) = (0, 0);
    let mut window = Some(open(&path));
    for kill in 0..KILLS {
        // The wait for the disk is another instant to be killed in.
        let sync = if kill % 4 == 0 { "full" } else { "normal" };
        let mut command = again("what_was_acknowledged_outlives_any_kill", sync, &path);
        let mut writer = Running::start(&mut command);
        let acknowledged = read_then_kill(&mut writer.0, chance.below(9), chance.below(1_500));
        last = acknowledged.last().copied().unwrap_or(last);
        acknowledged_in_all += acknowledged.len();
        // Most of them beside another window, which then finds what was written; the others alone, so that whoever opens the
        // file next finds it as it was left.
        let store = window.take().unwrap_or_else(|| open(&path));
        let kept = all(&store).await;
        let numbers: Vec<u64> = kept.iter().map(|(number, _)| *number).collect();
        let newest = numbers.last().copied().unwrap_or(0);
        assert!(
            newest >= last,
            "kill {kill}: {last} was acknowledged, and {newest} is the last there is"
        );
        assert_eq!(
            numbers,
            (1..=newest).collect::<Vec<_>>(),
            "kill {kill}: one is missing"
        );
        assert!(
            kept.iter().all(|(number, halves)| *halves == [*number; 2]),
            "kill {kill}: half a commit"
        );
        assert_sound(&path);
        window = (kill % ALONE_EVERY != 0).then_some(store);
    }
    assert!(
        acknowledged_in_all > 500,
        "only {acknowledged_in_all} commits were acknowledged"
    );
}

/// Reads this many acknowledgements, waits for a fraction of a commit's time, and ends the process; gives back all that it
/// has acknowledged.
fn read_then_kill(writer: &mut Child, lines: u64, pause_us: u64) -> Vec<u64> {
    let stdout = writer.stdout.take().expect("it is piped");
    let mut acknowledged = BufReader::new(stdout)
        .lines()
        .map(Result::unwrap)
        .filter_map(|line| {
            // The test runner writes there, too.
            line.strip_prefix("ack ")
                .map(|number| number.parse::<u64>().unwrap())
        });
    let read = usize::try_from(lines).unwrap();
    let mut numbers: Vec<u64> = acknowledged.by_ref().take(read).collect();
    let until = Instant::now() + Duration::from_micros(pause_us);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    numbers.extend(acknowledged);
    numbers
}

/// Commits numbers, each in two places at once, and says so once it is acknowledged.
async fn acknowledge(path: &Path, sync: Durability) {
    let store = Sqlite::open(&settings(path, sync)).expect("the store opens");
    let mut next = all(&store).await.last().map_or(1, |(number, _)| number + 1);
    loop {
        let value = bytes(vec![u8::try_from(next % 251).unwrap(); 500]);
        let mut batch = Batch::default();
        for half in 0..2 {
            batch.write.push(Write::Put {
                key: bytes(format!("{half}/{next:08}")),
                value: value.clone(),
            });
        }
        store.commit("m", batch).await.unwrap();
        say(&format!("ack {next}"));
        next += 1;
    }
}

/// The numbers in the first half, each with where it was found.
async fn all(store: &dyn Backend) -> Vec<(u64, Vec<u64>)> {
    let mut halves = [Vec::new(), Vec::new()];
    for (half, found) in halves.iter_mut().enumerate() {
        let mut scan = Scan {
            keys_only: true,
            ..Scan::prefix(format!("{half}/").as_bytes())
        };
        loop {
            let page = store.scan("m", scan.clone()).await.unwrap();
            for entry in &page.entries {
                let number = std::str::from_utf8(&entry.key[2..]).unwrap();
                found.push(number.parse().unwrap());
            }
            scan.after = page.entries.last().map(|entry| entry.key.clone());
            if !page.more {
                break;
            }
        }
    }
    let [first, second] = halves;
    assert_eq!(first.len(), second.len(), "half a commit");
    first
        .into_iter()
        .zip(second)
        .map(|(a, b)| (a, vec![a, b]))
        .collect()
}

#[tokio::test]
async fn another_process_sees_a_commit_and_is_told_of_it() {
    if let Some((_, path)) = asked() {
        let store = open(&path);
        let seen = store.usage("m").await.unwrap().version;
        say("watching");
        let version = store.changed("m", seen).await.unwrap();
        let entry = store
            .get("m", bytes("k"))
            .await
            .unwrap()
            .expect("it was told of it");
        assert_eq!((version, &*entry.value), (Version(2), &b"news"[..]));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = open(&path);
    store.commit("m", put("k", "old")).await.unwrap();
    let here = "another_process_sees_a_commit_and_is_told_of_it";
    let mut other = Running::start(&mut again(here, "watch", &path));
    let stdout = BufReader::new(other.0.stdout.take().unwrap());
    let mut lines = stdout.lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "watching"));
    // Of another module nothing is told: the process would end with the wrong version.
    store.commit("other", put("k", "x")).await.unwrap();
    store.commit("m", put("k", "news")).await.unwrap();
    assert!(
        other.0.wait().unwrap().success(),
        "{:?}",
        lines.collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn watchers_are_told_of_what_this_process_commits_and_of_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("state.db"));
    let deadline = Duration::from_secs(20);
    for seen in 0..5 {
        let (told, committed) = tokio::join!(
            tokio::time::timeout(deadline, store.changed("m", Version(seen))),
            async { store.commit("m", put("k", "v")).await },
        );
        assert_eq!(told.expect("it is told"), committed);
    }
    // What was committed before is told at once.
    assert_eq!(store.changed("m", Version(2)).await, Ok(Version(5)));
    let watching = store.changed("m", Version(5));
    let (ended, ()) = tokio::join!(tokio::time::timeout(deadline, watching), async {
        tokio::task::yield_now().await;
        store.close();
    });
    assert_eq!(
        ended.expect("it ends"),
        Err(midplane_store_backend::StoreError::Closing)
    );
}

#[tokio::test]
async fn a_second_copy_in_one_process_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let first = open(&path);
    let second = Sqlite::open(&settings(&path, Durability::Full));
    assert!(matches!(second, Err(OpenError::OpenInThisProcess { .. })));
    first.commit("m", put("k", "v")).await.unwrap();
    first.close();
    let refused = first.commit("m", put("k", "late")).await;
    assert_eq!(refused, Err(midplane_store_backend::StoreError::Closing));
    let next = open(&path);
    assert_eq!(next.get("m", bytes("k")).await.unwrap().unwrap().value, "v");
}

fn assert_sound(path: &Path) {
    let faults = Maintenance::open(path).unwrap().check().unwrap();
    assert!(faults.is_empty(), "{faults:?}");
}
