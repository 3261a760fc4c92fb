//! Runs what turns that were left still have to save, to its end, and has those wait who come to the same thread next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::protocol::id::ThreadId;

#[derive(Clone)]
pub(crate) struct Saves {
    tracker: TaskTracker,
    runtime: Handle,
    under_way: Arc<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    /// How many, by user and thread.
    saves: Mutex<HashMap<(String, ThreadId), usize>>,
    /// One of them less.
    less: Notify,
}

/// Counts as one as long as it is there.
struct Counted {
    under_way: Arc<UnderWay>,
    place: (String, ThreadId),
}

impl Saves {
    /// Of the runtime this is called in.
    pub(crate) fn new() -> Saves {
        Saves {
            tracker: TaskTracker::new(),
            runtime: Handle::current(),
            under_way: Arc::default(),
        }
    }

    /// Waits until everything is saved; new saves are waited for too.
    pub(crate) async fn finish(self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Waits until nothing is being saved into this thread, so that what a user left stands before what the user says next.
    pub(crate) async fn settled(&self, user: &str, thread: &ThreadId) {
        let place = (user.to_owned(), thread.clone());
        loop {
            let less = self.under_way.less.notified();
            if !self.under_way.saves().contains_key(&place) {
                return;
            }
            less.await;
        }
    }

    /// At once if the store need not wait.
    pub(super) fn run(
        &self,
        user: &str,
        thread: &ThreadId,
        save: impl Future<Output = ()> + Send + 'static,
    ) {
        let counted = Counted::new(&self.under_way, user, thread);
        let mut save = Box::pin(async move {
            save.await;
            drop(counted);
        });
        if save.as_mut().now_or_never().is_none() {
            self.tracker.spawn_on(save, &self.runtime);
        }
    }
}

impl UnderWay {
    fn saves(&self) -> MutexGuard<'_, HashMap<(String, ThreadId), usize>> {
        self.saves.lock().expect("no code panics under this lock")
    }
}

impl Counted {
    fn new(under_way: &Arc<UnderWay>, user: &str, thread: &ThreadId) -> Counted {
        let place = (user.to_owned(), thread.clone());
        *under_way.saves().entry(place.clone()).or_default() += 1;
        Counted {
            under_way: Arc::clone(under_way),
            place,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut saves = self.under_way.saves();
        if let Some(count) = saves.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                saves.remove(&self.place);
            }
        }
        drop(saves);
        self.under_way.less.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn whoever_comes_next_waits_until_all_of_a_thread_is_saved() {
        let saves = Saves::new();
        let (ada, t1, t2) = ("ada", ThreadId::from("t1"), ThreadId::from("t2"));
        let [(first, saved_first), (second, saved_second)] = [0, 1].map(|_| oneshot::channel());
        for saved in [saved_first, saved_second] {
            saves.run(ada, &t1, saved.map(drop));
        }
        saves.run(ada, &t2, async {});
        saves.settled(ada, &t2).await;
        saves.settled("bob", &t1).await;
        let mut waiting = std::pin::pin!(saves.settled(ada, &t1));
        assert!(waiting.as_mut().now_or_never().is_none());
        first.send(()).unwrap();
        tokio::task::yield_now().await;
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(second);
        waiting.await;
        assert!(saves.under_way.saves().is_empty());
        saves.clone().finish().await;
    }
}
