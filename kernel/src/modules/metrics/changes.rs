//! What a module process has counted, on its way to the kernel: only what has changed, some time after the first change.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::refusal::Refusal;

/// What was counted since the last of these. A claim, like all that a module process says.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Changes {
    pub(crate) metrics: Vec<MetricChange>,
    pub(crate) dropped: u64,
    /// Why the module process dropped something, the first time; and the name of the metric.
    pub(crate) refused: Vec<(String, Refusal)>,
}

/// A metric with the series that have changed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MetricChange {
    /// Of `midplane_abi::metric`.
    pub(crate) kind: u32,
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) bounds: Vec<f64>,
    pub(crate) series: Vec<SeriesChange>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SeriesChange {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) session: Option<String>,
    pub(crate) amount: Amount,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Amount {
    Count(u64),
    /// The value itself.
    Gauge(f64),
    Histogram {
        /// One more than bounds.
        buckets: Vec<u64>,
        sum: f64,
    },
}

/// Whether there is something to tell the kernel.
#[derive(Default)]
pub(crate) struct Changed {
    told: AtomicBool,
    wake: Notify,
}

impl Changed {
    /// Wakes whoever waits, if nobody has since it last looked. Never blocks.
    pub(super) fn tell(&self) {
        // In one order with `look`, and with what says of each series that it has changed: either this sees that somebody has
        // looked, or whoever looked sees the change.
        if !self.told.load(Ordering::SeqCst) && !self.told.swap(true, Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    /// Resolves when there is something. Cancel-safe.
    pub(crate) async fn wait(&self) {
        self.wake.notified().await;
    }

    /// What changes from here on is told again.
    pub(crate) fn look(&self) {
        self.told.store(false, Ordering::SeqCst);
    }
}
