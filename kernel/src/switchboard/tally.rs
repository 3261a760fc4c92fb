//! How many calls modules made, how they ended and how long their answers took. Counting takes no lock but the first time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

/// Callers and callees are modules that the operator has named: of more pairs, nothing is shown.
const PAIRS_MAX: usize = 256;
/// Seconds, from a call that stays on its worker to one that waits for a provider.
pub(crate) const BOUNDS: [f64; 7] = [0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0];

#[derive(Default)]
pub(crate) struct Tally {
    pairs: ArcSwap<Vec<Arc<Pair>>>,
    adding: Mutex<()>,
}

/// One module that calls another.
pub(crate) struct Pair {
    pub(crate) caller: Arc<str>,
    pub(crate) callee: String,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// One more than bounds; not added up.
    answered: [AtomicU64; BOUNDS.len() + 1],
    answered_ns: AtomicU64,
}

/// How a call ended, as far as its answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer, by the first digit of its status.
    Class(u8),
    NotLoaded,
    TooDeep,
    /// Nobody waited for the answer any more.
    Cancelled,
}

impl Outcome {
    pub(crate) const ALL: [Outcome; 8] = [
        Outcome::Class(1),
        Outcome::Class(2),
        Outcome::Class(3),
        Outcome::Class(4),
        Outcome::Class(5),
        Outcome::NotLoaded,
        Outcome::TooDeep,
        Outcome::Cancelled,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Class(1) => "1xx",
            Outcome::Class(2) => "2xx",
            Outcome::Class(3) => "3xx",
            Outcome::Class(4) => "4xx",
            Outcome::Class(_) => "5xx",
            Outcome::NotLoaded => "not_loaded",
            Outcome::TooDeep => "too_deep",
            Outcome::Cancelled => "cancelled",
        }
    }

    pub(super) fn of(status: u16) -> Outcome {
        Outcome::Class(u8::try_from(status / 100).unwrap_or(5).clamp(1, 5))
    }
}

/// A call that has begun. Dropped before its end, it was cancelled.
pub(super) struct Begun {
    pair: Option<Arc<Pair>>,
    at: Instant,
}

impl Tally {
    pub(super) fn begin(&self, caller: &Arc<str>, callee: &str) -> Begun {
        Begun {
            pair: self.pair(caller, callee),
            at: Instant::now(),
        }
    }

    pub(crate) fn pairs(&self) -> Arc<Vec<Arc<Pair>>> {
        self.pairs.load_full()
    }

    fn pair(&self, caller: &Arc<str>, callee: &str) -> Option<Arc<Pair>> {
        let known = |pairs: &[Arc<Pair>]| {
            let same = |pair: &&Arc<Pair>| *pair.caller == **caller && pair.callee == callee;
            pairs.iter().find(same).cloned()
        };
        if let Some(pair) = known(&self.pairs.load()) {
            return Some(pair);
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pairs = Vec::clone(&self.pairs.load());
        if let Some(pair) = known(&pairs) {
            return Some(pair);
        }
        if pairs.len() >= PAIRS_MAX {
            return None;
        }
        let pair = Arc::new(Pair {
            caller: Arc::clone(caller),
            callee: callee.to_owned(),
            outcomes: Default::default(),
            answered: Default::default(),
            answered_ns: AtomicU64::new(0),
        });
        pairs.push(Arc::clone(&pair));
        self.pairs.store(Arc::new(pairs));
        Some(pair)
    }
}

impl Pair {
    pub(crate) fn count(&self, outcome: Outcome) -> u64 {
        let at = Outcome::ALL.iter().position(|one| *one == outcome);
        at.map_or(0, |at| self.outcomes[at].load(Relaxed))
    }

    /// Of calls that were answered: each bound with how many took no longer, how many there are, and their sum in seconds.
    pub(crate) fn durations(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let mut count = 0;
        let mut counts = self.answered.iter().map(|bucket| {
            count += bucket.load(Relaxed);
            count
        });
        let up_to: Vec<_> = BOUNDS.into_iter().zip(counts.by_ref()).collect();
        let all = counts.next().unwrap_or_default();
        let sum = Duration::from_nanos(self.answered_ns.load(Relaxed));
        (up_to, all, sum.as_secs_f64())
    }

    fn end(&self, outcome: Outcome, taken: Duration) {
        if let Some(at) = Outcome::ALL.iter().position(|one| *one == outcome) {
            self.outcomes[at].fetch_add(1, Relaxed);
        }
        if matches!(outcome, Outcome::Class(_)) {
            let seconds = taken.as_secs_f64();
            let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
            self.answered[bucket].fetch_add(1, Relaxed);
            let ns = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
            self.answered_ns.fetch_add(ns, Relaxed);
        }
    }
}

impl Begun {
    pub(super) fn end(mut self, outcome: Outcome) {
        if let Some(pair) = self.pair.take() {
            pair.end(outcome, self.at.elapsed());
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(pair) = self.pair.take() {
            pair.end(Outcome::Cancelled, self.at.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_pair_and_outcome() {
        let tally = Tally::default();
        let caller: Arc<str> = Arc::from("chat");
        tally.begin(&caller, "store").end(Outcome::of(200));
        tally.begin(&caller, "store").end(Outcome::of(404));
        tally.begin(&caller, "store").end(Outcome::NotLoaded);
        drop(tally.begin(&caller, "store"));
        tally.begin(&caller, "other").end(Outcome::TooDeep);
        let pairs = tally.pairs();
        let [store, other] = pairs.as_slice() else {
            panic!("{} pairs", pairs.len());
        };
        let counts = |pair: &Pair| Outcome::ALL.map(|outcome| pair.count(outcome));
        assert_eq!(counts(store), [0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(counts(other), [0, 0, 0, 0, 0, 0, 1, 0]);
        // What was never answered took no time.
        assert_eq!(store.durations().1, 2);
        assert_eq!(other.durations().1, 0);
    }

    #[test]
    fn durations_are_added_up_to_each_bound() {
        let tally = Tally::default();
        let pair = tally.pair(&Arc::from("a"), "b").unwrap();
        for ms in [1, 5, 20_000] {
            pair.end(Outcome::Class(2), Duration::from_millis(ms));
        }
        let (up_to, count, sum) = pair.durations();
        let counts: Vec<_> = up_to.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [0, 0, 1, 2, 2, 2, 2]);
        assert_eq!((count, sum), (3, 20.006));
    }

    #[test]
    fn pairs_are_bounded() {
        let tally = Tally::default();
        for number in 0..=PAIRS_MAX {
            let caller: Arc<str> = Arc::from(number.to_string());
            tally.begin(&caller, "store").end(Outcome::Class(2));
        }
        assert_eq!(tally.pairs().len(), PAIRS_MAX);
    }
}
