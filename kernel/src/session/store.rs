//! All sessions, bounded, by id, by age and by when they can be forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::state::{Session, Status};

/// How long an ended session stays in the list at least, so that a person can see what became of it. Longer where streams may
/// outlive it for longer: they still use its key.
const RETENTION_MIN_S: u64 = 60;
/// Sessions that one hold of the lock forgets, so that a sweep of many does not hold up verification.
const SWEEP_BATCH_LEN: usize = 256;

pub(super) struct Store {
    max: usize,
    retention_s: u64,
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    by_id: HashMap<String, Entry>,
    /// By the order of their creation.
    by_age: BTreeMap<u64, Arc<Session>>,
    /// When to look at a session again, and which.
    due: BTreeSet<(u64, u64)>,
    next: u64,
}

struct Entry {
    session: Arc<Session>,
    number: u64,
    due_at: u64,
}

/// There are as many sessions as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {max} sessions, as many as there may be")]
pub(crate) struct SessionLimit {
    pub(crate) max: usize,
}

/// Which sessions are meant; one of the two at least is given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) user: Option<String>,
    pub(crate) secret_key_id: Option<String>,
}

impl Filter {
    pub(super) fn matches(&self, session: &Session) -> bool {
        self.user
            .as_deref()
            .is_none_or(|user| user == session.user())
            && self
                .secret_key_id
                .as_deref()
                .is_none_or(|id| Some(id) == session.secret_key_id())
    }
}

impl Store {
    /// `stream_grace` is how long streams may outlive their session.
    pub(super) fn new(max: usize, stream_grace: Duration) -> Store {
        Store {
            max,
            retention_s: stream_grace.as_secs().max(RETENTION_MIN_S),
            inner: RwLock::default(),
        }
    }

    pub(super) fn check_room(&self, now: u64) -> Result<(), SessionLimit> {
        let inner = self.read();
        if inner.by_id.len() < self.max || inner.ended(now).is_some() {
            return Ok(());
        }
        Err(SessionLimit { max: self.max })
    }

    /// Ended sessions make room when there is no other.
    pub(super) fn insert(&self, session: &Arc<Session>, now: u64) -> Result<(), SessionLimit> {
        let mut inner = self.write();
        if inner.by_id.len() >= self.max {
            let ended = inner.ended(now);
            inner.remove(ended.ok_or(SessionLimit { max: self.max })?);
        }
        let number = inner.next;
        inner.next += 1;
        let due_at = session.expires_at() + self.retention_s;
        inner.due.insert((due_at, number));
        inner.by_age.insert(number, Arc::clone(session));
        inner.by_id.insert(
            session.id().to_owned(),
            Entry {
                session: Arc::clone(session),
                number,
                due_at,
            },
        );
        Ok(())
    }

    /// Its end has moved to `ends_at`.
    pub(super) fn ends(&self, session: &Session, ends_at: u64) {
        let mut inner = self.write();
        let inner = &mut *inner;
        if let Some(entry) = inner.by_id.get_mut(session.id()) {
            inner.due.remove(&(entry.due_at, entry.number));
            entry.due_at = ends_at + self.retention_s;
            inner.due.insert((entry.due_at, entry.number));
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.read()
            .by_id
            .get(id)
            .map(|entry| Arc::clone(&entry.session))
    }

    pub(super) fn len(&self) -> usize {
        self.read().by_id.len()
    }

    /// Newest first, and whether there are more. `None` when `after` is no session.
    pub(super) fn list(
        &self,
        limit: usize,
        after: Option<&str>,
    ) -> Option<(Vec<Arc<Session>>, bool)> {
        let inner = self.read();
        let before = match after {
            Some(id) => inner.by_id.get(id)?.number,
            None => u64::MAX,
        };
        let mut older = inner
            .by_age
            .range(..before)
            .rev()
            .map(|(_, session)| Arc::clone(session));
        let page: Vec<_> = older.by_ref().take(limit).collect();
        let more = older.next().is_some();
        Some((page, more))
    }

    pub(super) fn matching(&self, matches: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        self.read()
            .by_age
            .values()
            .filter(|session| matches(session))
            .cloned()
            .collect()
    }

    /// Forgets what ended long enough ago, its key included. Returns when the next is due.
    pub(super) fn sweep(&self, now: u64) -> Option<u64> {
        loop {
            let mut inner = self.write();
            let due: Vec<u64> = inner
                .due
                .iter()
                .take_while(|(at, _)| *at <= now)
                .take(SWEEP_BATCH_LEN)
                .map(|(_, number)| *number)
                .collect();
            if due.is_empty() {
                return inner.due.first().map(|(at, _)| *at);
            }
            for number in due {
                inner.remove(number);
            }
        }
    }

    /// Keeps everyone else out while it is held.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Sized + '_ {
        self.write()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// One that has ended, if there is any: it is due within the retention, and one that lives later, so that the first
    /// tells.
    fn ended(&self, now: u64) -> Option<u64> {
        let (_, number) = self.due.first()?;
        let session = self.by_age.get(number)?;
        (session.status(now) != Status::Active).then_some(*number)
    }

    fn remove(&mut self, number: u64) {
        let Some(session) = self.by_age.remove(&number) else {
            return;
        };
        session.wipe_secret();
        if let Some(entry) = self.by_id.remove(session.id()) {
            self.due.remove(&(entry.due_at, number));
        }
    }
}
