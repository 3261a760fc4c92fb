//! Numbers that modules count: what they are called, to whom they belong, how many there may be, and how they are shown.
//!
//! It counts nothing itself, and knows no module by name. Counters and histograms belong to a module's name: they go on from one
//! generation to the next and vanish with its unload. Gauges belong to a generation.
//!
//! | file | concern |
//! |---|---|
//! | `limits` | how many there may be, and how large |
//! | `names` | what may be called how, and which names are taken |
//! | `refusal` | why something is not counted |
//! | `series` | one number, or one histogram |
//! | `slots` | handles that modules have of series |
//! | `metric` | all series of one metric |
//! | `module` | all metrics of one module |
//! | `changes` | what a module process has counted, on its way to the kernel |
//! | `text` | how it is shown |

mod changes;
mod limits;
mod metric;
mod module;
mod names;
mod refusal;
mod series;
mod slots;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use changes::{Changed, Changes};
pub(crate) use limits::{BOUNDS_MAX, LABELS_MAX};
pub(crate) use module::{Declaration, ModuleMetrics};
pub(crate) use refusal::Refusal;
pub(crate) use slots::find;

use crate::exposition::Exposition;
use crate::session::Sessions;
use names::Names;

/// What all modules of a kernel count.
pub(crate) struct Metrics {
    modules: Mutex<BTreeMap<Arc<str>, Arc<ModuleMetrics>>>,
    names: Arc<Names>,
    sessions: Arc<Sessions>,
}

impl Metrics {
    /// `own` are the names of the kernel's metrics, which no module's can have.
    pub(crate) fn new(
        sessions: Arc<Sessions>,
        own: impl IntoIterator<Item = &'static str>,
    ) -> Metrics {
        Metrics {
            modules: Mutex::default(),
            names: Arc::new(Names::new(own.into_iter().chain([text::DROPPED]))),
            sessions,
        }
    }

    /// What the module of this name counts, and has counted.
    pub(crate) fn of(&self, module: &str) -> Arc<ModuleMetrics> {
        let mut modules = self.modules();
        if let Some(metrics) = modules.get(module) {
            return Arc::clone(metrics);
        }
        let name: Arc<str> = Arc::from(module);
        let (names, sessions) = (Arc::clone(&self.names), Arc::clone(&self.sessions));
        let metrics = Arc::new(ModuleMetrics::here(Arc::clone(&name), names, sessions));
        modules.insert(name, Arc::clone(&metrics));
        metrics
    }

    /// The module is unloaded: its numbers vanish, and what is left of it counts for nobody.
    pub(crate) fn forget(&self, module: &str) {
        let gone = self.modules().remove(module);
        if let Some(metrics) = gone {
            metrics.close();
        }
    }

    /// Adds what modules have counted to an exposition. `running` are the modules that take requests, and their generations.
    pub(crate) fn write(&self, all: &mut Exposition, running: &[(Arc<str>, u64)], now: u64) {
        let modules: Vec<_> = self.modules().values().cloned().collect();
        let dropped = modules.iter().map(|one| (one.name(), one.dropped()));
        text::write_dropped(all, dropped);
        for metrics in modules {
            let generation = running
                .iter()
                .find(|(name, _)| **name == *metrics.name())
                .map(|(_, number)| *number);
            metrics.write(all, generation, now);
        }
    }

    fn modules(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<ModuleMetrics>>> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
