//! Numbers of the module's own in `GET /metrics`: the table that [`Host::get_api`](crate::Host::get_api) answers for
//! [`METRICS_API`], version [`METRICS_API_VERSION`].
//!
//! A metric is declared once for each generation, a series is one set of its labels. A handle that is kept makes counting one
//! call; nothing here waits.

use crate::{Header, Slice, Status};

/// What [`Host::get_api`](crate::Host::get_api) is asked for.
pub const METRICS_API: &str = "metrics";
/// The version that is described here.
pub const METRICS_API_VERSION: u32 = 1;

/// The kernel's name for a metric of this generation's.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Metric(pub u64);

/// The kernel's name for one series; never used again when that has gone.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Series(pub u64);

/// Kinds of [`MetricHead::kind`].
pub mod metric {
    /// Only grows, also from one generation to the next.
    pub const COUNTER: u32 = 1;
    /// The running generation's own: each begins without a value.
    pub const GAUGE: u32 = 2;
    /// As a counter.
    pub const HISTOGRAM: u32 = 3;
}

/// What a metric is. Borrowed for the call of [`MetricsApi::metric`].
#[repr(C)]
pub struct MetricHead {
    /// `size_of::<MetricHead>()` of the module.
    pub size: u32,
    /// One of [`metric`].
    pub kind: u32,
    /// As OpenMetrics has it, without colons and without a suffix of OpenMetrics' own (`_total`); the kernel adds
    /// `midplane_module_`, the module's name and `_` in front.
    pub name: Slice,
    /// A sentence for people.
    pub help: Slice,
    /// Of a histogram: the upper bounds of its buckets, growing, without infinity.
    pub bounds: *const f64,
    pub bounds_len: usize,
}

/// Numbers in `GET /metrics`. All functions may be called from any thread. What they refuse is counted, and logged once.
#[repr(C)]
pub struct MetricsApi {
    /// `size_of::<MetricsApi>()` of the kernel: a function beyond it is not there.
    pub size: u32,
    /// Reserved, zero.
    pub flags: u32,
    /// Declares a metric, or finds the one of that name. [`status::INVALID`](crate::status::INVALID) for a name, a help or
    /// bounds that cannot be, or where this generation has declared it otherwise; [`status::FULL`](crate::status::FULL) over
    /// the number of metrics a module may have.
    pub metric:
        unsafe extern "C" fn(owner: u64, head: *const MetricHead, out: *mut Metric) -> Status,
    /// Finds or begins the series with these labels, in any order. With a `session`'s id, of a counter only, what is added
    /// counts for the series without it and, in a metric of its own whose name ends with `_by_session`, for the session, until
    /// that ends. [`status::FULL`](crate::status::FULL) over the number of series a metric may have: what is added to `out` is
    /// counted as dropped. [`status::INVALID`](crate::status::INVALID) for labels that cannot be.
    pub series: unsafe extern "C" fn(
        owner: u64,
        metric: Metric,
        labels: *const Header,
        labels_len: usize,
        session: Slice,
        out: *mut Series,
    ) -> Status,
    /// Adds to a counter, or to a gauge, which may also go down. [`status::GONE`](crate::status::GONE): the series has gone, as
    /// with its session; ask for it again.
    pub add: unsafe extern "C" fn(series: Series, n: i64) -> Status,
    /// Sets a gauge; to no infinity, and a number.
    pub set: unsafe extern "C" fn(series: Series, value: f64) -> Status,
    /// Puts a value into a histogram: 0 or more.
    pub observe: unsafe extern "C" fn(series: Series, value: f64) -> Status,
}
