//! One metric: all of its series, by their labels, and the shares of sessions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use midplane_abi::metric as abi;

use super::changes::{Changed, SeriesChange};
use super::limits::{SERIES_MAX, SESSION_SERIES_MAX};
use super::refusal::Refusal;
use super::series::{Series, Value};
use super::slots::Handle;
use crate::exposition::Kind;
use crate::session::{Session, Status};

/// By its number in the ABI.
pub(super) fn kind(number: u32) -> Option<Kind> {
    Some(match number {
        abi::COUNTER => Kind::Counter,
        abi::GAUGE => Kind::Gauge,
        abi::HISTOGRAM => Kind::Histogram,
        _ => return None,
    })
}

pub(super) fn kind_number(kind: Kind) -> u32 {
    match kind {
        Kind::Counter => abi::COUNTER,
        Kind::Gauge => abi::GAUGE,
        Kind::Histogram => abi::HISTOGRAM,
    }
}

/// Whether it goes on from one generation to the next.
pub(super) fn goes_on(kind: Kind) -> bool {
    kind != Kind::Gauge
}

pub(super) struct Metric {
    /// The module's handle.
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) name: String,
    /// As it is shown.
    pub(super) full: String,
    pub(super) help: String,
    pub(super) bounds: Arc<[f64]>,
    /// The newest generation that has declared it; a gauge's only one.
    pub(super) declared: AtomicU64,
    series: RwLock<HashMap<String, Held>>,
    shares: RwLock<Shares>,
    /// In a module process.
    relay: Option<Arc<Changed>>,
}

struct Held {
    series: Arc<Series>,
    handle: Handle,
}

/// What was counted for sessions.
#[derive(Default)]
struct Shares {
    by_session: HashMap<String, Share>,
    /// Of all of them.
    series: usize,
    /// In a module process: told to the kernel and taken away, but for what may have been added meanwhile.
    leaving: Vec<(String, Arc<Series>)>,
}

struct Share {
    /// Nobody in a module process, where sessions do not live.
    session: Weak<Session>,
    series: HashMap<String, Held>,
}

impl Metric {
    #[expect(clippy::too_many_arguments, reason = "each is a part of what it is")]
    pub(super) fn new(
        id: u64,
        kind: Kind,
        name: &str,
        full: String,
        help: String,
        bounds: Arc<[f64]>,
        generation: u64,
        relay: Option<Arc<Changed>>,
    ) -> Metric {
        Metric {
            id,
            kind,
            name: name.to_owned(),
            full,
            help,
            bounds,
            declared: AtomicU64::new(generation),
            series: RwLock::default(),
            shares: RwLock::default(),
            relay,
        }
    }

    /// The series with these labels, and its handle.
    pub(super) fn series(
        &self,
        shown: &str,
        labels: &[(&str, &str)],
    ) -> Result<(Arc<Series>, u64), Refusal> {
        if let Some(held) = read(&self.series).get(shown) {
            return Ok((Arc::clone(&held.series), held.handle.number()));
        }
        let mut all = write(&self.series);
        if let Some(held) = all.get(shown) {
            return Ok((Arc::clone(&held.series), held.handle.number()));
        }
        if all.len() >= SERIES_MAX {
            return Err(Refusal::TooManySeries);
        }
        let held = self.make(labels, None)?;
        let found = (Arc::clone(&held.series), held.handle.number());
        all.insert(shown.to_owned(), held);
        Ok(found)
    }

    /// The share of a session in the series with these labels. `find` looks the session up, where there is none yet.
    pub(super) fn share(
        &self,
        shown: &str,
        labels: &[(&str, &str)],
        session: &str,
        now: u64,
        find: impl FnOnce() -> Option<Weak<Session>>,
    ) -> Result<(Arc<Series>, u64), Refusal> {
        if let Some(share) = read(&self.shares).by_session.get(session)
            && let Some(held) = share.series.get(shown)
            && self.goes_on(&share.session, now)
        {
            return Ok((Arc::clone(&held.series), held.handle.number()));
        }
        let known = find().ok_or(Refusal::Gone)?;
        let total = match self.relay {
            None => Some(self.series(shown, labels)?.0),
            // The kernel counts it.
            Some(_) => None,
        };
        let mut shares = write(&self.shares);
        if shares.series >= SESSION_SERIES_MAX {
            self.forget_ended_in(&mut shares, now);
        }
        let full = shares.series >= SESSION_SERIES_MAX;
        let share = shares
            .by_session
            .entry(session.to_owned())
            .or_insert(Share {
                session: known,
                series: HashMap::new(),
            });
        if let Some(held) = share.series.get(shown) {
            return Ok((Arc::clone(&held.series), held.handle.number()));
        }
        let made = if full {
            Err(Refusal::TooManySessions)
        } else {
            self.make(labels, total)
        };
        let held = match made {
            Ok(held) => held,
            Err(refusal) => {
                if share.series.is_empty() {
                    shares.by_session.remove(session);
                }
                return Err(refusal);
            }
        };
        let found = (Arc::clone(&held.series), held.handle.number());
        share.series.insert(shown.to_owned(), held);
        shares.series += 1;
        Ok(found)
    }

    fn make(&self, labels: &[(&str, &str)], total: Option<Arc<Series>>) -> Result<Held, Refusal> {
        let value = match self.kind {
            Kind::Counter => Value::Count(AtomicU64::new(0)),
            Kind::Gauge => Value::Gauge(AtomicU64::new(0)),
            Kind::Histogram => Value::histogram(&self.bounds),
        };
        let series = Arc::new(match &self.relay {
            None => Series::new(value, total),
            Some(all) => Series::relayed(value, labels, all),
        });
        // As for any that is one too many.
        let handle = Handle::new(&series).ok_or(Refusal::TooManySeries)?;
        Ok(Held { series, handle })
    }

    /// Takes the shares of sessions away that have ended.
    pub(super) fn forget_ended(&self, now: u64) {
        self.forget_ended_in(&mut write(&self.shares), now);
    }

    fn forget_ended_in(&self, shares: &mut Shares, now: u64) {
        shares
            .by_session
            .retain(|_id, share| self.goes_on(&share.session, now));
        shares.series = shares
            .by_session
            .values()
            .map(|share| share.series.len())
            .sum();
    }

    fn goes_on(&self, session: &Weak<Session>, now: u64) -> bool {
        self.relay.is_some()
            || session
                .upgrade()
                .is_some_and(|session| session.status(now) == Status::Active)
    }

    /// Takes everything away: handles of it find nothing.
    pub(super) fn close(&self) {
        write(&self.series).clear();
        *write(&self.shares) = Shares::default();
    }

    /// Each series with its labels, as they are shown, in their order.
    pub(super) fn each(&self, mut act: impl FnMut(&str, &Series)) {
        let all = read(&self.series);
        let mut sorted: Vec<_> = all.iter().collect();
        sorted.sort_unstable_by_key(|(shown, _)| *shown);
        for (shown, held) in sorted {
            act(shown, &held.series);
        }
    }

    /// The same for the shares of sessions, behind the session's id.
    pub(super) fn each_share(&self, mut act: impl FnMut(&str, &str, &Series)) {
        let shares = read(&self.shares);
        let mut sorted: Vec<_> = shares
            .by_session
            .iter()
            .flat_map(|(id, share)| {
                share
                    .series
                    .iter()
                    .map(move |(shown, held)| (id, shown, held))
            })
            .collect();
        sorted.sort_unstable_by_key(|(id, shown, _)| (*id, *shown));
        for (id, shown, held) in sorted {
            act(id, shown, &held.series);
        }
    }

    /// What has changed since this was last called. A share is told once, and begins anew when there is more of it: the kernel
    /// does not tell which sessions have ended.
    pub(super) fn take_changes(&self) -> Vec<SeriesChange> {
        let mut changes = Vec::new();
        let mut take = |session: Option<String>, series: &Series| {
            if let Some((labels, amount)) = series.take() {
                changes.push(SeriesChange {
                    labels,
                    session,
                    amount,
                });
            }
        };
        self.each(|_shown, series| take(None, series));
        let mut shares = write(&self.shares);
        for (id, series) in std::mem::take(&mut shares.leaving) {
            take(Some(id), &series);
        }
        for (id, share) in std::mem::take(&mut shares.by_session) {
            for held in share.series.into_values() {
                take(Some(id.clone()), &held.series);
                shares.leaving.push((id.clone(), held.series));
            }
        }
        shares.series = 0;
        changes
    }

    pub(super) fn declared(&self) -> u64 {
        self.declared.load(Ordering::Relaxed)
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
