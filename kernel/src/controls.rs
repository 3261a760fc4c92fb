//! The control channels of the workers: something can be run on each one's thread, between its requests, or on whichever is
//! free.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Something to run on a worker's thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Jobs that wait for a free worker. Each kind is bounded where it is made (64 requests for each of 32 hosts, 1,024 calls of a
/// generation); so many wait only when modules hold every worker.
const WAITING_MAX: usize = 8 * 1024;

/// The control channels of all workers.
#[derive(Clone)]
pub(crate) struct Controls(Arc<Shared>);

struct Shared {
    workers: Vec<Worker>,
    /// For any worker.
    waiting: Mutex<VecDeque<Arc<Waiting>>>,
}

struct Worker {
    control: mpsc::Sender<Job>,
    /// It has been told to look at what waits. One place of its channel is enough for that, so that no number of jobs for any
    /// worker keeps out what is for each.
    told: AtomicBool,
}

/// A job until somebody takes it.
struct Waiting(Mutex<Option<Job>>);

/// Takes a job back that no worker has yet.
struct Wanted(Arc<Waiting>);

impl Controls {
    pub(crate) fn new(all: Vec<mpsc::Sender<Job>>) -> Controls {
        let worker = |control| Worker {
            control,
            told: AtomicBool::new(false),
        };
        Controls(Arc::new(Shared {
            workers: all.into_iter().map(worker).collect(),
            waiting: Mutex::default(),
        }))
    }

    /// Runs `future` on the thread of whichever worker gets to it first: one that a module holds holds up nobody. `None` when
    /// no worker takes it. It ends when the caller leaves.
    pub(crate) async fn run_on_any<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (mut sender, outcome) = oneshot::channel();
        let job: Job = Box::new(move || {
            tokio::spawn(async move {
                tokio::select! {
                    // Nobody waits after the caller has left.
                    value = future => { let _ = sender.send(value); }
                    () = sender.closed() => {}
                }
            });
        });
        // Dropped by a caller that leaves.
        let _wanted = Wanted(self.on_any(job)?);
        outcome.await.ok()
    }

    /// The same for what nobody waits for; it is dropped where no worker takes it.
    pub(crate) fn spawn_on_any(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.on_any(Box::new(move || drop(tokio::spawn(future))));
    }

    /// `None`: too many wait already, and the job is gone.
    fn on_any(&self, job: Job) -> Option<Arc<Waiting>> {
        let waiting = self.0.wait(job)?;
        for number in 0..self.0.workers.len() {
            Shared::tell(&self.0, number);
        }
        Some(waiting)
    }

    /// Runs `job` on every worker's thread; how many did not get to it within `timeout`, since a module holds them. Those do
    /// it when they are free again.
    pub(crate) async fn on_all(
        &self,
        job: Arc<dyn Fn() + Send + Sync>,
        timeout: Duration,
    ) -> usize {
        let mut waiting = Vec::with_capacity(self.0.workers.len());
        for (number, worker) in self.0.workers.iter().enumerate() {
            let (done, ran) = oneshot::channel();
            let (job, shared) = (Arc::clone(&job), Arc::downgrade(&self.0));
            let job: Job = Box::new(move || {
                job();
                // Nobody waits after the deadline.
                let _ = done.send(());
                // While this took up the last place of the channel, it could not be told.
                if let Some(shared) = shared.upgrade() {
                    Shared::tell(&shared, number);
                }
            });
            // Where there is no room, or no worker any more, `done` goes with the job, which is the answer, too.
            let _ = worker.control.try_send(job);
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

impl Shared {
    /// If there is room.
    fn wait(&self, job: Job) -> Option<Arc<Waiting>> {
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING_MAX {
            waiting.retain(|job| job.is_there());
        }
        if waiting.len() >= WAITING_MAX {
            return None;
        }
        let job = Arc::new(Waiting(Mutex::new(Some(job))));
        waiting.push_back(Arc::clone(&job));
        Some(job)
    }

    /// Has a worker take what waits, one job after the other, so that the others get theirs, too.
    fn tell(shared: &Arc<Shared>, number: usize) {
        let worker = &shared.workers[number];
        if worker.told.swap(true, Ordering::AcqRel) {
            return;
        }
        let told = Arc::downgrade(shared);
        let look: Job = Box::new(move || {
            let Some(shared) = told.upgrade() else { return };
            // First: what comes from here on tells it again.
            shared.workers[number].told.store(false, Ordering::Release);
            if let Some(job) = shared.next() {
                Shared::tell(&shared, number);
                job();
            }
        });
        if worker.control.try_send(look).is_err() {
            // It has enough to do, and another one looks.
            worker.told.store(false, Ordering::Release);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut waiting = self.waiting();
        while let Some(job) = waiting.pop_front() {
            if let Some(job) = job.job().take() {
                return Some(job);
            }
        }
        None
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn job(&self) -> MutexGuard<'_, Option<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_there(&self) -> bool {
        self.job().is_some()
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let job = self.0.job().take();
        // Not under the lock: it may hold anything.
        drop(job);
    }
}
