//! Which threads changed lately.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use crate::protocol::id::ThreadId;
use crate::store::{Change, Changes, Mark};

/// A reader that is behind by more is told that it missed some: about what a busy second brings.
const KEPT_MAX: usize = 1_024;

pub(super) struct Changed {
    latest: Mutex<VecDeque<Change>>,
    /// How many there have been.
    count: watch::Sender<u64>,
}

impl Default for Changed {
    fn default() -> Changed {
        Changed {
            latest: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }
}

impl Changed {
    pub(super) fn note(&self, user: &str, thread: &ThreadId, is_deleted: bool) {
        let mut latest = self.latest();
        if latest.len() == KEPT_MAX {
            latest.pop_front();
        }
        latest.push_back(Change {
            user: user.to_owned(),
            thread: thread.clone(),
            is_deleted,
        });
        self.count.send_modify(|count| *count += 1);
    }

    pub(super) async fn since(&self, seen: Option<Mark>) -> Changes {
        let mut count = self.count.subscribe();
        let Some(Mark { version: seen, .. }) = seen else {
            let version = *count.borrow();
            return changes(version, Vec::new(), false);
        };
        let told = count.wait_for(|count| *count != seen).await;
        drop(told.expect("the sender is in self"));
        let latest = self.latest();
        let version = *self.count.borrow();
        let unseen = usize::try_from(version.saturating_sub(seen)).unwrap_or(usize::MAX);
        let mut changed = Vec::new();
        let mut known = HashSet::new();
        // Of a thread that changed twice, the latest counts.
        for change in latest.iter().rev().take(unseen) {
            if known.insert((&change.user, &change.thread)) {
                changed.push(change.clone());
            }
        }
        changed.reverse();
        changes(version, changed, unseen > latest.len())
    }

    fn latest(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.latest.lock().expect("no code panics under this lock")
    }
}

fn changes(version: u64, changed: Vec<Change>, missed: bool) -> Changes {
    Changes {
        mark: Mark { version, epoch: 0 },
        changed,
        missed,
    }
}
