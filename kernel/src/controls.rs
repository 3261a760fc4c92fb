//! The control channels of the workers: something can be run on each one's thread, between its requests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Something to run on a worker's thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The control channels of all workers.
#[derive(Clone)]
pub(crate) struct Controls(Vec<mpsc::Sender<Job>>);

impl Controls {
    pub(crate) fn new(all: Vec<mpsc::Sender<Job>>) -> Controls {
        Controls(all)
    }

    /// Runs `future` on the thread of whichever worker gets to it first: one that a module holds holds up nobody. `None` when
    /// no worker takes it. It ends when the caller leaves.
    pub(crate) async fn run_on_any<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, outcome) = oneshot::channel();
        let task = Arc::new(Mutex::new(Some((future, sender))));
        for control in &self.0 {
            let task = Arc::clone(&task);
            let job: Job = Box::new(move || {
                let taken = task.lock().unwrap_or_else(PoisonError::into_inner).take();
                let Some((future, mut sender)) = taken else {
                    return;
                };
                tokio::spawn(async move {
                    tokio::select! {
                        // Nobody waits after the caller has left.
                        value = future => { let _ = sender.send(value); }
                        () = sender.closed() => {}
                    }
                });
            });
            // Where there is no room, another one takes it.
            let _ = control.try_send(job);
        }
        drop(task);
        outcome.await.ok()
    }

    /// Runs `job` on every worker's thread; how many did not get to it within `timeout`, since a module holds them. Those do
    /// it when they are free again.
    pub(crate) async fn on_all(
        &self,
        job: Arc<dyn Fn() + Send + Sync>,
        timeout: Duration,
    ) -> usize {
        let mut waiting = Vec::with_capacity(self.0.len());
        for control in &self.0 {
            let (done, ran) = oneshot::channel();
            let job = Arc::clone(&job);
            let job: Job = Box::new(move || {
                job();
                // Nobody waits after the deadline.
                let _ = done.send(());
            });
            // Where there is no room, or no worker any more, `done` goes with the job, which is the answer, too.
            let _ = control.try_send(job);
            waiting.push(ran);
        }
        let deadline = tokio::time::Instant::now() + timeout;
        let mut unreached = 0;
        for ran in waiting {
            let reached = tokio::time::timeout_at(deadline, ran).await;
            unreached += usize::from(!matches!(reached, Ok(Ok(()))));
        }
        unreached
    }
}
