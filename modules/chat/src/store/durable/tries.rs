//! When an operation is tried anew: somebody else was faster, or the store is away for a moment.

use std::time::Duration;

use crate::store::StoreError;

/// Of those who write into one thread at once, one is done with every round; there are not that many windows and turns.
const CONFLICTS_MAX: u32 = 200;
/// A store that is reloaded holds its requests; one whose process ended is back within a second. Doubled each time, so that
/// five of them are a second and a half.
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAITS_MAX: u32 = 5;

/// Of one operation. Every operation can be repeated: what it did already, it does not do again.
#[derive(Debug, Default)]
pub(super) struct Tries {
    conflicts: u32,
    waits: u32,
}

impl Tries {
    pub(super) fn new() -> Tries {
        Tries::default()
    }

    /// Whether an attempt may have been carried out although it failed.
    pub(super) fn in_doubt(&self) -> bool {
        self.waits > 0
    }

    /// Returns when the operation should be tried again, and the error if it should not.
    pub(super) async fn again(&mut self, error: StoreError) -> Result<(), StoreError> {
        match error {
            StoreError::Contended if self.conflicts < CONFLICTS_MAX => {
                self.conflicts += 1;
                tokio::task::yield_now().await;
                Ok(())
            }
            StoreError::Unavailable(_) if self.waits < WAITS_MAX => {
                tokio::time::sleep(WAIT_MIN * 2_u32.pow(self.waits)).await;
                self.waits += 1;
                Ok(())
            }
            error => Err(error),
        }
    }
}
