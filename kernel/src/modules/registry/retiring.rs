//! The generations on their way out: who they are, and their end when the process ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::modules::generation::Generation;
use crate::modules::life::Phase;
use crate::modules::receipt::Receipt;

/// All of them, oldest first.
#[derive(Default)]
pub(super) struct Retiring(Mutex<Vec<One>>);

#[derive(Clone)]
struct One {
    /// It lives for as long as its end takes, and no longer because of this list.
    generation: Weak<Generation>,
    ended: watch::Receiver<Option<Receipt>>,
}

impl Retiring {
    pub(super) fn add(
        &self,
        generation: &Arc<Generation>,
        ended: watch::Receiver<Option<Receipt>>,
    ) {
        let mut all = self.lock();
        all.retain(|one| one.generation.strong_count() > 0);
        all.push(One {
            generation: Arc::downgrade(generation),
            ended,
        });
    }

    /// Those with requests to finish.
    pub(super) fn draining(&self) -> Vec<Arc<Generation>> {
        let all = self.lock();
        let living = all.iter().filter_map(|one| one.generation.upgrade());
        living
            .filter(|generation| generation.phase() == Phase::Draining)
            .collect()
    }

    /// Waits for the end of all that are here now; what still runs on them at `deadline` is cut.
    pub(super) async fn end(&self, deadline: Instant) {
        let all = self.lock().clone();
        for mut one in all {
            // An error is an end, too: nobody is left who could tell it.
            let ended = one.ended.wait_for(Option::is_some);
            if timeout_at(deadline, ended).await.is_ok() {
                continue;
            }
            if let Some(generation) = one.generation.upgrade() {
                generation.cut.cancel();
            }
            let _ = one.ended.wait_for(Option::is_some).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<One>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
