//! The kernel's functions for numbers of the module's own, safe to call.

use std::ptr::NonNull;

use midplane_abi::{self as abi, Header, Metric, MetricHead, MetricsApi, Series, Slice, status};
use smallvec::SmallVec;

use super::host;

/// Most series have fewer labels; more spill to the heap.
const LABELS_INLINE: usize = 4;

/// Where one generation counts; nowhere under a kernel that has no metrics, and in tests without a module.
#[derive(Clone, Copy)]
pub(crate) struct Meter(Option<(&'static MetricsApi, u64)>);

/// A metric that the kernel has taken.
#[derive(Clone, Copy)]
pub(crate) struct Declared {
    api: &'static MetricsApi,
    owner: u64,
    metric: Metric,
}

/// A series that the kernel has.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    api: &'static MetricsApi,
    series: Series,
}

impl Meter {
    pub(crate) const NOWHERE: Meter = Meter(None);

    pub(crate) fn new(owner: u64) -> Meter {
        Meter(api().map(|api| (api, owner)))
    }

    pub(crate) fn declare(
        self,
        kind: u32,
        name: &str,
        help: &str,
        bounds: &[f64],
    ) -> Option<Declared> {
        let (api, owner) = self.0?;
        let head = MetricHead {
            size: u32::try_from(size_of::<MetricHead>()).expect("a small struct"),
            kind,
            name: Slice::new(name.as_bytes()),
            help: Slice::new(help.as_bytes()),
            bounds: bounds.as_ptr(),
            bounds_len: bounds.len(),
        };
        let mut metric = Metric(0);
        // SAFETY: everything borrowed lives through the call.
        let answer = unsafe { (api.metric)(owner, &raw const head, &raw mut metric) };
        (answer == status::OK).then_some(Declared { api, owner, metric })
    }
}

impl Declared {
    /// The series with these labels; over a limit, one that counts what is dropped.
    pub(crate) fn series(&self, labels: &[(&str, &str)], session: Option<&str>) -> Option<Found> {
        let labels: SmallVec<[Header; LABELS_INLINE]> = labels
            .iter()
            .map(|(name, value)| Header {
                name: Slice::new(name.as_bytes()),
                value: Slice::new(value.as_bytes()),
            })
            .collect();
        let session = session.map_or(Slice::NONE, |id| Slice::new(id.as_bytes()));
        let mut series = Series(0);
        // SAFETY: everything borrowed lives through the call.
        let answer = unsafe {
            (self.api.series)(
                self.owner,
                self.metric,
                labels.as_ptr(),
                labels.len(),
                session,
                &raw mut series,
            )
        };
        matches!(answer, status::OK | status::FULL).then_some(Found {
            api: self.api,
            series,
        })
    }
}

// What has gone counts no more, and nobody has to be told.
impl Found {
    pub(crate) fn add(&self, n: i64) {
        // SAFETY: no argument borrows.
        unsafe { (self.api.add)(self.series, n) };
    }

    pub(crate) fn set(&self, value: f64) {
        // SAFETY: no argument borrows.
        unsafe { (self.api.set)(self.series, value) };
    }

    pub(crate) fn observe(&self, value: f64) {
        // SAFETY: no argument borrows.
        unsafe { (self.api.observe)(self.series, value) };
    }
}

/// The kernel's table; `None` when it has none that is as large as ours.
fn api() -> Option<&'static MetricsApi> {
    let table = NonNull::new(host::api(abi::METRICS_API, abi::METRICS_API_VERSION).cast_mut())?;
    // SAFETY: by the ABI a table of this name and version is a `MetricsApi`, of which the size comes first, and it stays valid
    // for as long as this library is loaded.
    let size = unsafe { table.cast::<u32>().read() };
    // SAFETY: as above, and whole.
    (size as usize >= size_of::<MetricsApi>()).then(|| unsafe { table.cast().as_ref() })
}
