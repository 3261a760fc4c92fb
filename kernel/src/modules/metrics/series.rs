//! One number, or one histogram. Adding to it takes no lock.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::changes::{Amount, Changed};

/// One set of labels of one metric.
pub(crate) struct Series {
    value: Value,
    /// What a session's share counts for as well.
    total: Option<Arc<Series>>,
    /// There in a module process.
    relay: Option<Relay>,
}

pub(super) enum Value {
    Count(AtomicU64),
    /// The bits of a float.
    Gauge(AtomicU64),
    Histogram(Histogram),
    /// Counts what is added, not how much: it is dropped.
    Dropped(AtomicU64),
}

/// The values up to each bound, not added up; those over the last; and their sum, as the bits of a float.
pub(super) struct Histogram {
    bounds: Arc<[f64]>,
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What tells the kernel of changes.
struct Relay {
    labels: Vec<(String, String)>,
    changed: AtomicBool,
    all: Arc<Changed>,
}

impl Value {
    pub(super) fn histogram(bounds: &Arc<[f64]>) -> Value {
        Value::Histogram(Histogram {
            bounds: Arc::clone(bounds),
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        })
    }
}

impl Series {
    pub(super) fn new(value: Value, total: Option<Arc<Series>>) -> Series {
        Series {
            value,
            total,
            relay: None,
        }
    }

    /// One that the kernel has to be told of.
    pub(super) fn relayed(value: Value, labels: &[(&str, &str)], all: &Arc<Changed>) -> Series {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let series = Series {
            value,
            total: None,
            relay: Some(Relay {
                labels,
                changed: AtomicBool::new(false),
                all: Arc::clone(all),
            }),
        };
        series.tell();
        series
    }

    /// Adds to a counter, which does not fall, or to a gauge. False when it is none.
    pub(crate) fn add(&self, n: i64) -> bool {
        let added = match (&self.value, u64::try_from(n)) {
            // A total that a lifetime cannot reach stays where it is: a counter never falls.
            (Value::Count(count), Ok(n)) => {
                let grown = |old: u64| Some(old.saturating_add(n));
                count.fetch_update(Relaxed, Relaxed, grown).is_ok()
            }
            (Value::Gauge(bits), _) => {
                change(bits, |old| old + n as f64);
                true
            }
            (Value::Dropped(times), _) => {
                times.fetch_add(1, Relaxed);
                true
            }
            _ => false,
        };
        if added {
            self.tell();
            if let Some(total) = &self.total {
                total.add(n);
            }
        }
        added
    }

    /// So much was dropped.
    pub(super) fn drop_times(&self, n: u64) {
        if let Value::Dropped(times) = &self.value {
            times.fetch_add(n, Relaxed);
            self.tell();
        }
    }

    /// Sets a gauge. False when it is none, or the value no number.
    pub(crate) fn set(&self, value: f64) -> bool {
        let set = match &self.value {
            Value::Gauge(bits) if value.is_finite() => {
                bits.store(value.to_bits(), Relaxed);
                true
            }
            Value::Dropped(times) => {
                times.fetch_add(1, Relaxed);
                true
            }
            _ => false,
        };
        if set {
            self.tell();
        }
        set
    }

    /// Puts a value into a histogram. False when it is none, or the value cannot be.
    pub(crate) fn observe(&self, value: f64) -> bool {
        let observed = match &self.value {
            Value::Histogram(histogram) if value.is_finite() && value >= 0.0 => {
                let bucket = histogram.bounds.partition_point(|bound| *bound < value);
                histogram.buckets[bucket].fetch_add(1, Relaxed);
                change(&histogram.sum, |sum| sum + value);
                true
            }
            Value::Dropped(times) => {
                times.fetch_add(1, Relaxed);
                true
            }
            _ => false,
        };
        if observed {
            self.tell();
        }
        observed
    }

    /// Adds what a module process has counted. False when it is of another kind.
    pub(super) fn merge(&self, amount: &Amount) -> bool {
        match (amount, &self.value) {
            (Amount::Count(n), _) => self.add(i64::try_from(*n).unwrap_or(i64::MAX)),
            (Amount::Gauge(value), _) => self.set(*value),
            (Amount::Histogram { buckets, sum }, Value::Histogram(histogram)) => {
                if buckets.len() != histogram.buckets.len() || !sum.is_finite() || *sum < 0.0 {
                    return false;
                }
                for (bucket, n) in histogram.buckets.iter().zip(buckets) {
                    // As above.
                    let grown = |old: u64| Some(old.saturating_add(*n));
                    let _ = bucket.fetch_update(Relaxed, Relaxed, grown);
                }
                change(&histogram.sum, |old| old + sum);
                true
            }
            (Amount::Histogram { .. }, _) => false,
        }
    }

    /// What was counted since this was last called, if anything was; a gauge's value as it is.
    pub(super) fn take(&self) -> Option<(Vec<(String, String)>, Amount)> {
        let relay = self.relay.as_ref()?;
        // First: what changes from here on is told again.
        if !relay.changed.swap(false, SeqCst) {
            return None;
        }
        let amount = match &self.value {
            Value::Count(count) | Value::Dropped(count) => Amount::Count(count.swap(0, Relaxed)),
            Value::Gauge(bits) => Amount::Gauge(f64::from_bits(bits.load(Relaxed))),
            Value::Histogram(histogram) => Amount::Histogram {
                buckets: histogram
                    .buckets
                    .iter()
                    .map(|bucket| bucket.swap(0, Relaxed))
                    .collect(),
                sum: f64::from_bits(histogram.sum.swap(0, Relaxed)),
            },
        };
        Some((relay.labels.clone(), amount))
    }

    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    fn tell(&self) {
        if let Some(relay) = &self.relay {
            // See `Changed::tell`.
            relay.changed.store(true, SeqCst);
            relay.all.tell();
        }
    }
}

impl Histogram {
    /// Each bound with how many values are not above it, how many there are, and their sum.
    pub(super) fn read(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let mut count = 0_u64;
        let mut counts = self.buckets.iter().map(|bucket| {
            count = count.saturating_add(bucket.load(Relaxed));
            count
        });
        let up_to: Vec<_> = self.bounds.iter().copied().zip(counts.by_ref()).collect();
        let all = counts.next().unwrap_or_default();
        (up_to, all, f64::from_bits(self.sum.load(Relaxed)))
    }
}

fn change(bits: &AtomicU64, change: impl Fn(f64) -> f64) {
    let changed = |old| Some(change(f64::from_bits(old)).to_bits());
    // Always changes.
    let _ = bits.fetch_update(Relaxed, Relaxed, changed);
}
