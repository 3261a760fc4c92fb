//! How many connections there are, and from which process: the bounds of `[limits]`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Limits;
use crate::socket::Peer;

pub(crate) struct Connections {
    max: usize,
    per_process: usize,
    kept_for_host: usize,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_process: HashMap<i32, usize>,
    /// Bridges of each process; those of hosts have places kept for them. The process that started us counts as one.
    hosts: HashMap<i32, usize>,
}

/// A process whose connections count as a host's, for as long as this lives.
pub(crate) struct HostProcess {
    counts: Arc<Mutex<Counts>>,
    pid: Option<i32>,
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
            counts: Arc::new(Mutex::new(Counts {
                hosts: HashMap::from([(nix::unistd::getppid().as_raw(), 1)]),
                ..Counts::default()
            })),
        }
    }

    /// A place for a connection of `peer`; `None` when there is none.
    pub(crate) fn take(&self, peer: Peer) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_host = peer.pid.is_some_and(|pid| counts.hosts.contains_key(&pid));
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

impl HostProcess {
    pub(crate) fn new(connections: &Connections, pid: Option<i32>) -> HostProcess {
        let counts = Arc::clone(&connections.counts);
        if let Some(pid) = pid {
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.hosts.entry(pid).or_default() += 1;
        }
        HostProcess { counts, pid }
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = self.pid {
            release(&mut counts.hosts, pid);
        }
    }
}

/// One less of the process; none are forgotten.
fn release(counts: &mut HashMap<i32, usize>, pid: i32) {
    if let Some(count) = counts.get_mut(&pid) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&pid);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(pid) = self.pid {
            release(&mut counts.by_process, pid);
        }
    }
}
