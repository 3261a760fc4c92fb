//! How many connections there are, and from which process: the bounds of `[limits]`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Limits;
use crate::socket::Peer;

pub(crate) struct Connections {
    max: usize,
    per_process: usize,
    kept_for_host: usize,
    /// The process that started us; its connections have places kept for them.
    parent: i32,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_process: HashMap<i32, usize>,
}

/// A connection's place; dropping it gives it back.
pub(crate) struct Place {
    counts: Arc<Mutex<Counts>>,
    pid: Option<i32>,
}

impl Connections {
    pub(crate) fn new(limits: &Limits) -> Connections {
        Connections {
            max: limits.connections,
            per_process: limits.connections_per_process,
            kept_for_host: limits.connections_for_host,
            parent: nix::unistd::getppid().as_raw(),
            counts: Arc::default(),
        }
    }

    /// A place for a connection of `peer`; `None` when there is none.
    pub(crate) fn take(&self, peer: Peer) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_host = peer.pid == Some(self.parent);
        let of_process = peer
            .pid
            .and_then(|pid| counts.by_process.get(&pid))
            .copied()
            .unwrap_or(0);
        let max = if is_host {
            self.max
        } else {
            self.max.saturating_sub(self.kept_for_host)
        };
        if counts.all >= max || (!is_host && of_process >= self.per_process) {
            return None;
        }
        counts.all += 1;
        if let Some(pid) = peer.pid {
            *counts.by_process.entry(pid).or_default() += 1;
        }
        Some(Place {
            counts: Arc::clone(&self.counts),
            pid: peer.pid,
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(pid) = self.pid
            && let Some(count) = counts.by_process.get_mut(&pid)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_process.remove(&pid);
            }
        }
    }
}
