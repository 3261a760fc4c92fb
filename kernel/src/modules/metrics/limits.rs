//! How many metrics and series a module may have, and how large they may be.

/// A module that has more shows what nobody looks at.
pub(super) const METRICS_MAX: usize = 64;
/// Of one metric. Prometheus' own advice is to keep most of them below ten, and to think again over a hundred.
pub(super) const SERIES_MAX: usize = 256;
/// Of one metric, for all sessions together: a window of an editor has a few.
pub(super) const SESSION_SERIES_MAX: usize = 1024;
/// Of one series.
pub(crate) const LABELS_MAX: usize = 8;
/// Names of metrics and labels: as long as a module's could be.
pub(super) const NAME_LEN_MAX: usize = 64;
/// The longest names of models have half of it.
pub(super) const LABEL_VALUE_LEN_MAX: usize = 256;
/// A sentence.
pub(super) const HELP_LEN_MAX: usize = 256;
/// Of one histogram: three for each power of ten between a microsecond and an hour.
pub(crate) const BOUNDS_MAX: usize = 32;
