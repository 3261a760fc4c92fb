//! Runs what turns that were left still have to save, to its end.

use futures_util::future::FutureExt;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

#[derive(Clone)]
pub(crate) struct Saves {
    tracker: TaskTracker,
    runtime: Handle,
}

impl Saves {
    /// Of the runtime this is called in.
    pub(crate) fn new() -> Saves {
        Saves {
            tracker: TaskTracker::new(),
            runtime: Handle::current(),
        }
    }

    /// Waits until everything is saved; new saves are waited for too.
    pub(crate) async fn finish(self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// At once if the store need not wait, so that the order of items is that of the requests.
    pub(super) fn run(&self, save: impl Future<Output = ()> + Send + 'static) {
        let mut save = Box::pin(save);
        if save.as_mut().now_or_never().is_none() {
            self.tracker.spawn_on(save, &self.runtime);
        }
    }
}
