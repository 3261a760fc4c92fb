//! The part of the loopback that counts: without the kernel's limits, and with one session, so that a test can ask for a number.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use midplane_abi::{Header, Metric, MetricHead, MetricsApi, Series, Slice, Status, metric, status};

static COUNTED: Mutex<Option<Counted>> = Mutex::new(None);

/// Of all instances under test. Handles are indices and 1: nothing is forgotten but its numbers.
#[derive(Default)]
struct Counted {
    metrics: Vec<Declared>,
    series: Vec<(usize, Key)>,
    numbers: HashMap<(usize, Key), f64>,
}

struct Declared {
    owner: u64,
    kind: u32,
    name: String,
}

/// The labels, and whether it is the session's share.
type Key = (BTreeMap<String, String>, bool);

pub(super) static TABLE: MetricsApi = MetricsApi {
    size: size_of::<MetricsApi>() as u32,
    flags: 0,
    metric: declare,
    series: find,
    add,
    set,
    observe,
};

/// What the instance `owner` has counted, or its share for sessions; of a histogram, how many values. `None`: it has no metric of
/// that name.
pub(super) fn number(
    owner: u64,
    name: &str,
    labels: &[(&str, &str)],
    for_sessions: bool,
) -> Option<f64> {
    with(|counted| {
        let metric = counted.find(owner, name)?;
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let number = counted.numbers.get(&(metric, (labels, for_sessions)));
        Some(number.copied().unwrap_or_default())
    })
}

/// Forgets the numbers of the instance `owner`.
pub(super) fn unregister(owner: u64) {
    with(|counted| {
        let metrics = &counted.metrics;
        counted
            .numbers
            .retain(|(metric, _), _| metrics[*metric].owner != owner);
    });
}

unsafe extern "C" fn declare(owner: u64, head: *const MetricHead, out: *mut Metric) -> Status {
    // SAFETY: borrowed for the call.
    let (kind, name) = unsafe { ((*head).kind, text((*head).name)) };
    let Some(name) = name.filter(|name| is_name(name) && !ends_reserved(name)) else {
        return status::INVALID;
    };
    with(|counted| {
        let number = match counted.find(owner, &name) {
            Some(number) if counted.metrics[number].kind != kind => return status::INVALID,
            Some(number) => number,
            None => {
                counted.metrics.push(Declared { owner, kind, name });
                counted.metrics.len() - 1
            }
        };
        // SAFETY: the caller's place for the handle.
        unsafe { out.write(Metric(number as u64 + 1)) };
        status::OK
    })
}

unsafe extern "C" fn find(
    _owner: u64,
    metric: Metric,
    labels: *const Header,
    labels_len: usize,
    session: Slice,
    out: *mut Series,
) -> Status {
    let given: &[Header] = match labels_len {
        0 => &[],
        // SAFETY: borrowed for the call.
        len => unsafe { std::slice::from_raw_parts(labels, len) },
    };
    let mut labels = BTreeMap::new();
    for label in given {
        // SAFETY: borrowed for the call.
        let (name, value) = unsafe { (text(label.name), text(label.value)) };
        let (Some(name), Some(value)) = (name, value) else {
            return status::INVALID;
        };
        let taken = ["module", "session", "le", "quantile"].contains(&name.as_str());
        if !is_name(&name) || taken || labels.insert(name, value).is_some() {
            return status::INVALID;
        }
    }
    // SAFETY: borrowed for the call.
    let for_session = unsafe { session.bytes() }.is_some();
    with(|counted| {
        let number = metric.0 as usize - 1;
        counted.series.push((number, (labels, for_session)));
        // SAFETY: the caller's place for the handle.
        unsafe { out.write(Series(counted.series.len() as u64)) };
        status::OK
    })
}

unsafe extern "C" fn add(series: Series, n: i64) -> Status {
    change(series, |kind, number| {
        let may = kind == metric::GAUGE || (kind == metric::COUNTER && n >= 0);
        may.then_some(number + n as f64)
    })
}

unsafe extern "C" fn set(series: Series, value: f64) -> Status {
    change(series, |kind, _number| {
        (kind == metric::GAUGE && value.is_finite()).then_some(value)
    })
}

unsafe extern "C" fn observe(series: Series, value: f64) -> Status {
    change(series, |kind, number| {
        let may = kind == metric::HISTOGRAM && value.is_finite() && value >= 0.0;
        may.then_some(number + 1.0)
    })
}

/// Makes another number of a series' number, and of the total's with it.
fn change(series: Series, change: impl Fn(u32, f64) -> Option<f64>) -> Status {
    with(|counted| {
        let Some((metric, (labels, for_session))) = (series.0 as usize)
            .checked_sub(1)
            .and_then(|at| counted.series.get(at))
            .cloned()
        else {
            return status::GONE;
        };
        let kind = counted.metrics[metric].kind;
        for share in [false, true] {
            if share && !for_session {
                continue;
            }
            let key = (metric, (labels.clone(), share));
            let number = counted.numbers.entry(key).or_default();
            match change(kind, *number) {
                Some(changed) => *number = changed,
                None => return status::INVALID,
            }
        }
        status::OK
    })
}

impl Counted {
    fn find(&self, owner: u64, name: &str) -> Option<usize> {
        self.metrics
            .iter()
            .position(|metric| metric.owner == owner && metric.name == name)
    }
}

fn with<T>(act: impl FnOnce(&mut Counted) -> T) -> T {
    act(COUNTED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default())
}

/// # Safety
/// The slice is valid for the call.
unsafe fn text(slice: Slice) -> Option<String> {
    // SAFETY: by the contract.
    let bytes = unsafe { slice.bytes() }.unwrap_or_default();
    String::from_utf8(bytes.to_vec()).ok()
}

/// As the kernel has it.
fn is_name(name: &str) -> bool {
    name.len() <= 64
        && !name.starts_with("__")
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// As the kernel has it.
fn ends_reserved(name: &str) -> bool {
    [
        "_total",
        "_created",
        "_count",
        "_sum",
        "_bucket",
        "_info",
        "_by_session",
    ]
    .iter()
    .any(|end| name.ends_with(end))
}
