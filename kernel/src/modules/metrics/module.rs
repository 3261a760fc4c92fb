//! All metrics of one module: what its generations declare, in the kernel or in a process of their own.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::changes::{Amount, Changed, Changes, MetricChange};
use super::limits::{LABEL_VALUE_LEN_MAX, METRICS_MAX, NAME_LEN_MAX};
use super::metric::{self, Metric};
use super::names::{self, Names};
use super::refusal::Refusal;
use super::series::{Series, Value};
use super::slots::Handle;
use super::text;
use crate::clock::unix_now;
use crate::exposition::{Exposition, Kind};
use crate::session::{Session, Sessions, Status};

/// Names metrics; none twice.
static NEXT: AtomicU64 = AtomicU64::new(1);

pub(crate) struct ModuleMetrics {
    name: Arc<str>,
    place: Place,
    metrics: RwLock<Vec<Arc<Metric>>>,
    /// Counts what is dropped.
    dropped: Arc<Series>,
    dropped_handle: Option<Handle>,
    refused: Mutex<Refused>,
    /// The module is unloaded.
    closed: AtomicBool,
}

enum Place {
    Kernel {
        names: Arc<Names>,
        sessions: Arc<Sessions>,
    },
    Process(Arc<Changed>),
}

/// What was refused and is known.
#[derive(Default)]
struct Refused {
    reasons: BTreeSet<Refusal>,
    /// In a module process: what the kernel has to be told, with the metric's name.
    untold: Vec<(String, Refusal)>,
}

/// What a module says that a metric is.
pub(crate) struct Declaration<'a> {
    pub(crate) kind: u32,
    pub(crate) name: &'a [u8],
    pub(crate) help: &'a [u8],
    pub(crate) bounds: &'a [f64],
}

/// A series that was found.
pub(crate) struct Found {
    pub(crate) handle: u64,
    /// What is added to it is dropped, or a part of it.
    pub(crate) full: bool,
}

impl ModuleMetrics {
    /// Of a module of the kernel.
    pub(super) fn here(name: Arc<str>, names: Arc<Names>, sessions: Arc<Sessions>) -> Self {
        let dropped = Series::new(Value::Dropped(AtomicU64::new(0)), None);
        ModuleMetrics::new(name, Place::Kernel { names, sessions }, dropped)
    }

    /// Of the module of this process, whose numbers go to the kernel when `changed` says so.
    pub(crate) fn apart(name: Arc<str>, changed: Arc<Changed>) -> Self {
        let dropped = Series::relayed(Value::Dropped(AtomicU64::new(0)), &[], &changed);
        ModuleMetrics::new(name, Place::Process(changed), dropped)
    }

    fn new(name: Arc<str>, place: Place, dropped: Series) -> Self {
        let dropped = Arc::new(dropped);
        ModuleMetrics {
            name,
            place,
            metrics: RwLock::default(),
            dropped_handle: Handle::new(&dropped),
            dropped,
            refused: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn dropped(&self) -> u64 {
        match self.dropped.value() {
            Value::Dropped(times) => times.load(Ordering::Relaxed),
            _ => 0,
        }
    }

    /// The handle of a metric. One that this or another generation has declared is the same, but gauges, which are each
    /// generation's own.
    pub(crate) fn declare(
        &self,
        generation: u64,
        declaration: &Declaration<'_>,
    ) -> Result<u64, Refusal> {
        self.try_declare(generation, declaration)
            .map(|metric| metric.id)
            .inspect_err(|refusal| self.drop_one(declaration.name, *refusal))
    }

    /// A series of a metric, by its handle.
    pub(crate) fn series<'a>(
        &self,
        metric: u64,
        labels: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
        session: Option<&[u8]>,
    ) -> Result<Found, Refusal> {
        let metric = {
            let metrics = self.metrics();
            let found = metrics.iter().find(|known| known.id == metric);
            found.cloned().ok_or(Refusal::Gone)?
        };
        self.try_series(&metric, labels, session)
            .map(|(_series, handle)| Found {
                handle,
                full: false,
            })
            .or_else(|refusal| match (refusal, &self.dropped_handle) {
                (Refusal::TooManySeries, Some(dropped)) => {
                    self.tell(metric.name.as_bytes(), refusal);
                    Ok(Found {
                        handle: dropped.number(),
                        full: true,
                    })
                }
                _ => {
                    self.drop_one(metric.name.as_bytes(), refusal);
                    Err(refusal)
                }
            })
    }

    /// Counts what a module process says it has counted; of one that `is_over` its gauges are nobody's.
    pub(crate) fn take(&self, generation: u64, is_over: bool, changes: &Changes) {
        for (name, refusal) in changes.refused.iter().take(METRICS_MAX) {
            self.tell(name.as_bytes(), *refusal);
        }
        self.dropped.drop_times(changes.dropped);
        for change in &changes.metrics {
            if is_over && !metric::kind(change.kind).is_some_and(metric::goes_on) {
                continue;
            }
            let declaration = Declaration {
                kind: change.kind,
                name: change.name.as_bytes(),
                help: change.help.as_bytes(),
                bounds: &change.bounds,
            };
            let Ok(metric) = self
                .try_declare(generation, &declaration)
                .inspect_err(|refusal| {
                    self.drop_one(declaration.name, *refusal);
                })
            else {
                continue;
            };
            for change in &change.series {
                let labels = change
                    .labels
                    .iter()
                    .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
                let session = change.session.as_deref().map(str::as_bytes);
                match self.try_series(&metric, labels, session) {
                    Ok((series, _)) if series.merge(&change.amount) => {}
                    Ok(_) => self.drop_one(declaration.name, Refusal::Differs),
                    Err(refusal) => self.drop_one(declaration.name, refusal),
                }
            }
        }
    }

    /// What this process has counted since this was last called, in messages that have `series_max` series at most.
    pub(crate) fn take_changes(&self, series_max: usize) -> Vec<Changes> {
        let mut all = Vec::new();
        let mut changes = Changes::default();
        if let Some((_, Amount::Count(dropped))) = self.dropped.take() {
            changes.dropped = dropped;
        }
        changes.refused = std::mem::take(&mut self.refused().untold);
        let mut room = series_max;
        for metric in self.metrics().iter() {
            let mut series = metric.take_changes();
            while !series.is_empty() {
                let rest = series.split_off(series.len().min(room));
                room -= series.len();
                changes.metrics.push(MetricChange {
                    kind: metric::kind_number(metric.kind),
                    name: metric.name.clone(),
                    help: metric.help.clone(),
                    bounds: metric.bounds.to_vec(),
                    series: std::mem::replace(&mut series, rest),
                });
                if room == 0 {
                    all.push(std::mem::take(&mut changes));
                    room = series_max;
                }
            }
        }
        if !changes.metrics.is_empty() || changes.dropped > 0 || !changes.refused.is_empty() {
            all.push(changes);
        }
        all
    }

    /// A generation is over, or never served: its gauges go, and what another has declared as something else.
    pub(crate) fn forget_generation(&self, generation: u64) {
        let mut metrics = self.metrics_mut();
        let replaced = |metric: &Metric| {
            let others = metrics.iter();
            let mut same = others.filter(|other| other.name == metric.name);
            same.any(|other| other.id != metric.id)
        };
        let gone: Vec<u64> = metrics
            .iter()
            .filter(|metric| metric.declared() == generation)
            .filter(|metric| !metric::goes_on(metric.kind) || replaced(metric))
            .map(|metric| metric.id)
            .collect();
        metrics.retain(|metric| {
            let stays = !gone.contains(&metric.id);
            if !stays {
                metric.close();
            }
            stays
        });
    }

    /// The module is unloaded: nothing counts any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let gone = std::mem::take(&mut *self.metrics_mut());
        gone.iter().for_each(|metric| metric.close());
        if let Place::Kernel { names, .. } = &self.place {
            names.give_back(&self.name);
        }
    }

    /// Adds it to an exposition, as the generation that takes requests has it.
    pub(super) fn write(&self, all: &mut Exposition, generation: Option<u64>, now: u64) {
        let mut shown: Vec<Arc<Metric>> = Vec::new();
        for metric in self.metrics().iter() {
            let is_shown = match (generation, metric::goes_on(metric.kind)) {
                (None, _) => false,
                (Some(running), true) => metric.declared() <= running,
                (Some(running), false) => metric.declared() == running,
            };
            if !is_shown {
                continue;
            }
            // Of two that different generations have declared, the newer.
            match shown.iter_mut().find(|other| other.name == metric.name) {
                Some(other) if other.declared() < metric.declared() => *other = Arc::clone(metric),
                Some(_) => {}
                None => shown.push(Arc::clone(metric)),
            }
        }
        shown.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for metric in shown {
            metric.forget_ended(now);
            text::write_metric(all, &self.name, &metric);
        }
    }

    fn try_declare(
        &self,
        generation: u64,
        declaration: &Declaration<'_>,
    ) -> Result<Arc<Metric>, Refusal> {
        let name = names::metric(declaration.name)?;
        let kind = metric::kind(declaration.kind).ok_or(Refusal::Kind)?;
        let help = names::help(declaration.help)?.to_owned();
        let bounds = declaration.bounds;
        match kind {
            Kind::Histogram => names::bounds(bounds)?,
            _ if bounds.is_empty() => {}
            _ => return Err(Refusal::Bounds),
        }
        let mut metrics = self.metrics_mut();
        if self.closed.load(Ordering::SeqCst) {
            return Err(Refusal::Gone);
        }
        let same = metrics.iter().find(|metric| {
            metric.name == name
                && metric.kind == kind
                && *metric.bounds == *bounds
                && (metric::goes_on(kind) || metric.declared() == generation)
        });
        if let Some(same) = same {
            same.declared.fetch_max(generation, Ordering::Relaxed);
            return Ok(Arc::clone(same));
        }
        let differs = |metric: &Arc<Metric>| metric.name == name && metric.declared() >= generation;
        if metrics.iter().any(differs) {
            return Err(Refusal::Differs);
        }
        let own =
            |metric: &&Arc<Metric>| metric::goes_on(metric.kind) || metric.declared() == generation;
        if metrics.iter().filter(own).count() >= METRICS_MAX {
            return Err(Refusal::TooManyMetrics);
        }
        let full = names::full_name(&self.name, name);
        let relay = match &self.place {
            Place::Kernel { names, .. } => {
                names.take(&full, &self.name)?;
                None
            }
            Place::Process(changed) => Some(Arc::clone(changed)),
        };
        let metric = Arc::new(Metric::new(
            NEXT.fetch_add(1, Ordering::Relaxed),
            kind,
            name,
            full,
            help,
            Arc::from(bounds),
            generation,
            relay,
        ));
        metrics.push(Arc::clone(&metric));
        Ok(metric)
    }

    fn try_series<'a>(
        &self,
        metric: &Metric,
        labels: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
        session: Option<&[u8]>,
    ) -> Result<(Arc<Series>, u64), Refusal> {
        let (shown, labels) = names::labels(labels)?;
        let Some(session) = session else {
            return metric.series(&shown, &labels);
        };
        let session = std::str::from_utf8(session).map_err(|_not_text| Refusal::Labels)?;
        if metric.kind != Kind::Counter || session.len() > LABEL_VALUE_LEN_MAX {
            return Err(Refusal::Labels);
        }
        let now = unix_now();
        match metric.share(&shown, &labels, session, now, || self.session(session, now)) {
            // The total goes on, in its own series.
            Err(refusal @ (Refusal::Gone | Refusal::TooManySessions)) => {
                if refusal == Refusal::TooManySessions {
                    self.drop_one(metric.name.as_bytes(), refusal);
                }
                metric.series(&shown, &labels)
            }
            found => found,
        }
    }

    /// A session that goes on and is for this module.
    fn session(&self, id: &str, now: u64) -> Option<std::sync::Weak<Session>> {
        let Place::Kernel { sessions, .. } = &self.place else {
            return Some(std::sync::Weak::new());
        };
        let session = sessions.get(id)?;
        (session.status(now) == Status::Active && session.allows_module(&self.name))
            .then(|| Arc::downgrade(&session))
    }

    fn drop_one(&self, metric: &[u8], refusal: Refusal) {
        if refusal != Refusal::Gone {
            self.dropped.drop_times(1);
            self.tell(metric, refusal);
        }
    }

    /// Says it once, of each reason.
    fn tell(&self, metric: &[u8], refusal: Refusal) {
        let mut refused = self.refused();
        if !refused.reasons.insert(refusal) {
            return;
        }
        let metric: String = String::from_utf8_lossy(metric)
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .take(NAME_LEN_MAX)
            .collect();
        match self.place {
            Place::Kernel { .. } => tracing::warn!(
                module = %self.name,
                metric,
                reason = %refusal,
                "a module's metric is dropped, as will be others for the same reason"
            ),
            Place::Process(_) => refused.untold.push((metric, refusal)),
        }
    }

    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metrics(&self) -> RwLockReadGuard<'_, Vec<Arc<Metric>>> {
        self.metrics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn metrics_mut(&self) -> RwLockWriteGuard<'_, Vec<Arc<Metric>>> {
        self.metrics.write().unwrap_or_else(PoisonError::into_inner)
    }
}
