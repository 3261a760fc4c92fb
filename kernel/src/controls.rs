//! The control channels of the workers: something can be run on each one's thread, between its requests.

use tokio::sync::mpsc;

/// Something to run on a worker's thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The control channels of all workers.
pub(crate) struct Controls(Vec<mpsc::Sender<Job>>);

impl Controls {
    pub(crate) fn new(all: Vec<mpsc::Sender<Job>>) -> Controls {
        Controls(all)
    }
}
