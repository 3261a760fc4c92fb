//! Modules that keep something, and the store itself, are reloaded while clients write: nothing is lost, nobody is refused, and
//! nothing of the old code stays.
//!
//! `MIDPLANE_RELOADS=1000 cargo test -p midplane-tests storage::reloads` reloads each module as often, in each mix of isolations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Notes, assert_sound, data_dir, isolations, times};
use crate::harness::{Kernel, connect, private_dir};

const RELOADS: usize = 8;
const CLIENTS: usize = 4;
/// Of these, some are not looked at: the first of them make what stays.
const WARM_UP: usize = 3;
/// What the process may have more at the end than after those: two requests that are under way at one of both looks.
const DESCRIPTORS_MORE_MAX: usize = 8;

#[tokio::test]
async fn reloads_of_both_lose_nothing_and_refuse_nobody() {
    for isolations in isolations() {
        let notes = Arc::new(Notes::start(&private_dir(), isolations, "").await);
        let over = Arc::<AtomicBool>::default();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| tokio::spawn(count(Arc::clone(&notes), client, Arc::clone(&over))))
            .collect();
        let (mut after_warm_up, mut waited_us) = (0, Vec::new());
        for round in 0..times("MIDPLANE_RELOADS", RELOADS) {
            if round == WARM_UP {
                after_warm_up = descriptors(&notes);
            }
            if round % 2 == 0 {
                let (store, _) = tokio::join!(
                    reload(&notes.kernel, "store"),
                    reload(&notes.kernel, "notes")
                );
                waited_us.push(store);
            } else {
                waited_us.push(reload(&notes.kernel, "store").await);
                reload(&notes.kernel, "notes").await;
            }
        }
        over.store(true, Ordering::SeqCst);
        let mut all = 0;
        for (client, written) in clients.into_iter().enumerate() {
            let written: u64 = written.await.unwrap();
            assert!(written > 0);
            all += written;
            let path = format!("/notes/{client}");
            assert_eq!(notes.well("GET", &path, "").await, written.to_string());
        }
        waited_us.sort_unstable();
        println!(
            "{isolations:?}: {all} writes, {} descriptors; requests waited {} us for the store at the median, {} at most",
            descriptors(&notes),
            waited_us[waited_us.len() / 2],
            waited_us[waited_us.len() - 1],
        );
        assert!(
            descriptors(&notes) <= after_warm_up + DESCRIPTORS_MORE_MAX,
            "{} descriptors after {WARM_UP} reloads, {} at the end",
            after_warm_up,
            descriptors(&notes)
        );
        for module in ["store", "notes"] {
            let told = notes
                .kernel
                .host("GET", &format!("/modules/{module}"))
                .send();
            let told = told.await.json();
            assert_eq!(told["resident_generations"], 1, "old code stays: {told}");
        }
        notes.kernel.signal(Signal::SIGTERM);
        assert!(notes.kernel.wait().await.success());
        assert_sound(&data_dir(&notes.dir));
    }
}

/// Counts as fast as it is answered, and says how far it came.
async fn count(notes: Arc<Notes>, client: usize, over: Arc<AtomicBool>) -> u64 {
    let (mut sender, _connection) = connect(&notes.kernel.socket).await;
    let mut written = 0;
    while !over.load(Ordering::SeqCst) {
        let path = format!("/api/notes/add/{client}");
        let request = notes.kernel.post(&path).bearer(&notes.token);
        let answer = request.send_on(&mut sender).await;
        written += 1;
        assert_eq!(answer.expect_status(200).text(), written.to_string());
    }
    written
}

/// Reloads it, and gives back how many microseconds requests waited.
pub(super) async fn reload(kernel: &Kernel, module: &str) -> u64 {
    let path = format!("/modules/{module}/reload?wait=drained");
    let receipt = kernel.host("POST", &path).send().await;
    let told: Value = receipt.expect_status(200).json();
    assert_eq!(told["requests"]["cancelled"], 0, "{receipt}");
    told["swap_us"].as_u64().unwrap_or(0)
}

/// What the kernel has open.
fn descriptors(notes: &Notes) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", notes.kernel.pid()));
    open.unwrap().count()
}
