//! The control channels of the workers: something can be run on each one's thread, between its requests.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Something to run on a worker's thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The control channels of all workers.
pub(crate) struct Controls(Vec<mpsc::Sender<Job>>);

impl Controls {
    pub(crate) fn new(all: Vec<mpsc::Sender<Job>>) -> Controls {
        Controls(all)
    }

    /// How many workers there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many workers do not get to a job within `deadline`: a poll that does not return holds them.
    pub(crate) async fn stuck(&self, deadline: Duration) -> usize {
        let pings: Vec<_> = self
            .0
            .iter()
            .map(|control| {
                let (here, ran) = oneshot::channel();
                // A full queue is the answer, too: its sender is dropped with the job.
                let _ = control.try_send(Box::new(move || {
                    // Nobody waits after the deadline.
                    let _ = here.send(());
                }));
                ran
            })
            .collect();
        let deadline = tokio::time::Instant::now() + deadline;
        let mut stuck = 0;
        for ran in pings {
            stuck += usize::from(!matches!(
                tokio::time::timeout_at(deadline, ran).await,
                Ok(Ok(()))
            ));
        }
        stuck
    }
}
