//! Hands the store's changes to whoever listens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::StatusCode;
use midplane_sdk::Problem;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::Told;
use crate::protocol::id::ThreadId;
use crate::store::{Change, Changes, Store};

/// Of all users; each is a window of somebody's, and holds one of the 1,024 requests that a module may have under way.
const LISTENERS_MAX: usize = 256;
/// Threads that one listener has not been told of; with more it is told that everything may have changed.
const UNTOLD_MAX: usize = 1_024;
/// A turn changes its thread a few times within a moment. The first is told at once, the others together.
const PAUSE: Duration = Duration::from_millis(50);
/// Of a store that does not answer; doubled up to the second.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The changes of one store; cheap to clone.
#[derive(Clone)]
pub(crate) struct Feed(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    listeners: Mutex<Listeners>,
    runtime: Handle,
}

#[derive(Default)]
struct Listeners {
    untold: HashMap<u64, Arc<Untold>>,
    next: u64,
    /// Runs while anybody listens.
    watcher: Option<Watcher>,
    /// The watcher knows what there was when it began, so that it tells all that comes.
    is_ready: bool,
}

struct Watcher {
    /// Of the listener that it was started for.
    id: u64,
    task: AbortHandle,
}

/// What one listener has yet to be told.
struct Untold {
    user: String,
    threads: Mutex<Threads>,
    news: Notify,
}

#[derive(Default)]
struct Threads {
    is_ready: bool,
    /// Whether it was deleted.
    changed: HashMap<ThreadId, bool>,
}

/// One who listens; dropping it ends that.
pub(crate) struct Listener {
    id: u64,
    untold: Arc<Untold>,
    shared: Arc<Shared>,
}

impl Feed {
    /// To be called in the module's runtime.
    pub(crate) fn new(store: Arc<dyn Store>) -> Feed {
        Feed(Arc::new(Shared {
            store,
            listeners: Mutex::default(),
            runtime: Handle::current(),
        }))
    }

    /// Of this user's threads.
    ///
    /// # Errors
    /// When too many listen.
    pub(crate) fn listen(&self, user: &str) -> Result<Listener, Problem> {
        let mut listeners = self.0.listeners();
        if listeners.untold.len() >= LISTENERS_MAX {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_listeners",
                format!(
                    "{LISTENERS_MAX} windows listen already: close one, or ask for the list now and then"
                ),
            ));
        }
        let threads = Threads {
            is_ready: listeners.is_ready,
            changed: HashMap::new(),
        };
        let untold = Arc::new(Untold {
            user: user.to_owned(),
            threads: Mutex::new(threads),
            news: Notify::new(),
        });
        let id = listeners.next;
        listeners.next += 1;
        listeners.untold.insert(id, Arc::clone(&untold));
        if listeners.watcher.is_none() {
            let watching = self.0.runtime.spawn(watch(Arc::clone(&self.0), id));
            let task = watching.abort_handle();
            listeners.watcher = Some(Watcher { id, task });
        }
        Ok(Listener {
            id,
            untold,
            shared: Arc::clone(&self.0),
        })
    }
}

impl Listener {
    /// What is new, at least one event. Cancel-safe.
    pub(crate) async fn next(&self) -> Vec<Told> {
        loop {
            let news = self.untold.news.notified();
            let told = self.untold.threads().take();
            if !told.is_empty() {
                return told;
            }
            news.await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.shared.listeners();
        listeners.untold.remove(&self.id);
        if listeners.untold.is_empty() {
            listeners.is_ready = false;
            if let Some(watcher) = listeners.watcher.take() {
                watcher.task.abort();
            }
        }
    }
}

/// Until it is aborted, by the last who listened.
async fn watch(shared: Arc<Shared>, id: u64) {
    let mut mark = None;
    let mut retry = RETRY_MIN;
    loop {
        match shared.store.changes(mark).await {
            Ok(changes) => {
                shared.tell(&changes, mark.is_none(), id);
                (mark, retry) = (Some(changes.mark), RETRY_MIN);
                if !changes.changed.is_empty() || changes.missed {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            // Nothing is lost: what changes meanwhile is read from the mark on.
            Err(error) => {
                if retry == RETRY_MIN {
                    tracing::info!(%error, "windows are not told of changes until the store answers again");
                }
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}

impl Shared {
    fn tell(&self, changes: &Changes, is_first: bool, watcher: u64) {
        let mut listeners = self.listeners();
        if !matches!(&listeners.watcher, Some(Watcher { id, .. }) if *id == watcher) {
            // Aborted while it was on its way here.
            return;
        }
        listeners.is_ready = true;
        for untold in listeners.untold.values() {
            let mut threads = untold.threads();
            if is_first || changes.missed {
                threads.all();
            }
            let own = changes
                .changed
                .iter()
                .filter(|change| change.user == untold.user);
            for change in own {
                threads.add(change);
            }
            drop(threads);
            untold.news.notify_one();
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners
            .lock()
            .expect("no code panics under this lock")
    }
}

impl Untold {
    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().expect("no code panics under this lock")
    }
}

impl Threads {
    /// Any thread may have changed.
    fn all(&mut self) {
        self.is_ready = true;
        self.changed.clear();
    }

    fn add(&mut self, change: &Change) {
        if self.changed.len() >= UNTOLD_MAX && !self.changed.contains_key(&change.thread) {
            self.all();
        }
        self.changed
            .insert(change.thread.clone(), change.is_deleted);
    }

    fn take(&mut self) -> Vec<Told> {
        let ready = std::mem::take(&mut self.is_ready).then_some(Told::Ready);
        let changed = std::mem::take(&mut self.changed);
        let changed = changed
            .into_iter()
            .map(|(thread_id, is_deleted)| match is_deleted {
                true => Told::Deleted { thread_id },
                false => Told::Changed { thread_id },
            });
        ready.into_iter().chain(changed).collect()
    }
}
