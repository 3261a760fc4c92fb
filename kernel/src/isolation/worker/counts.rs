//! What the module counts, on its way to the kernel: together, some time after the first change, so that counting never waits and
//! an idle process stays idle.

use std::sync::Arc;
use std::time::Duration;

use crate::isolation::lane::Lane;
use crate::isolation::wire::Notice;
use crate::modules::metrics::{Changed, ModuleMetrics};

/// Whoever looks at numbers looks every few seconds; a crash loses no more than this.
const EVERY: Duration = Duration::from_millis(250);
/// A message with the longest of labels has room in a frame.
const SERIES_PER_MESSAGE_MAX: usize = 1000;

/// Numbers of the module, and the lane that they take.
#[derive(Clone)]
pub(super) struct Counts {
    changed: Arc<Changed>,
    pub(super) metrics: Arc<ModuleMetrics>,
    control: Arc<Lane>,
}

impl Counts {
    pub(super) fn new(module: &str, control: &Arc<Lane>) -> Counts {
        let changed = Arc::<Changed>::default();
        Counts {
            metrics: Arc::new(ModuleMetrics::apart(module.into(), Arc::clone(&changed))),
            changed,
            control: Arc::clone(control),
        }
    }

    /// Tells the kernel of changes, for ever.
    pub(super) async fn pass_on(self) {
        loop {
            self.changed.wait().await;
            tokio::time::sleep(EVERY).await;
            self.tell();
        }
    }

    /// Tells it of all that has changed.
    pub(super) fn tell(&self) {
        self.changed.look();
        for changes in self.metrics.take_changes(SERIES_PER_MESSAGE_MAX) {
            // A lane that is closed ends the process.
            let _ = self.control.send(&Notice::Counted(changes));
        }
    }
}
