//! The functions by which a module counts: what [`abi::Host::get_api`](midplane_abi::Host::get_api) gives for
//! [`abi::METRICS_API`](midplane_abi::METRICS_API).

use midplane_abi::{Header, Metric, MetricHead, MetricsApi, Series, Slice, Status, status};

use super::owner::Owner;
use crate::modules::metrics::{self, BOUNDS_MAX, Declaration, LABELS_MAX, Refusal};

pub(super) static TABLE: MetricsApi = MetricsApi {
    size: size_of::<MetricsApi>() as u32,
    flags: 0,
    metric,
    series,
    add,
    set,
    observe,
};

unsafe extern "C" fn metric(owner: u64, head: *const MetricHead, out: *mut Metric) -> Status {
    let Some(owner) = Owner::find(owner) else {
        return status::GONE;
    };
    if head.is_null() || out.is_null() {
        return status::INVALID;
    }
    // SAFETY: the struct starts with its size, by the ABI.
    if (unsafe { (*head).size } as usize) < size_of::<MetricHead>() {
        return status::INVALID;
    }
    // SAFETY: borrowed for the call, by the ABI, and whole.
    let head = unsafe { &*head };
    let bounds: &[f64] = match head.bounds_len {
        0 => &[],
        _ if head.bounds.is_null() => return status::INVALID,
        // SAFETY: borrowed for the call, by the ABI. One too many is enough to refuse them.
        len => unsafe { std::slice::from_raw_parts(head.bounds, len.min(BOUNDS_MAX + 1)) },
    };
    // SAFETY: borrowed for the call, by the ABI.
    let (name, help) = unsafe { (head.name.bytes(), head.help.bytes()) };
    let declaration = Declaration {
        kind: head.kind,
        name: name.unwrap_or_default(),
        help: help.unwrap_or_default(),
        bounds,
    };
    match owner.metrics.declare(owner.number, &declaration) {
        Ok(metric) => {
            // SAFETY: the caller's place for the handle.
            unsafe { out.write(Metric(metric)) };
            status::OK
        }
        Err(refusal) => refused(refusal),
    }
}

unsafe extern "C" fn series(
    owner: u64,
    metric: Metric,
    labels: *const Header,
    labels_len: usize,
    session: Slice,
    out: *mut Series,
) -> Status {
    let Some(owner) = Owner::find(owner) else {
        return status::GONE;
    };
    if out.is_null() || (labels.is_null() && labels_len > 0) {
        return status::INVALID;
    }
    let labels: &[Header] = match labels_len {
        0 => &[],
        // SAFETY: borrowed for the call, by the ABI. One too many is enough to refuse them.
        len => unsafe { std::slice::from_raw_parts(labels, len.min(LABELS_MAX + 1)) },
    };
    let labels = labels.iter().map(|label| {
        // SAFETY: borrowed for the call, by the ABI.
        let (name, value) = unsafe { (label.name.bytes(), label.value.bytes()) };
        (name.unwrap_or_default(), value.unwrap_or_default())
    });
    // SAFETY: as above.
    let session = unsafe { session.bytes() };
    match owner.metrics.series(metric.0, labels, session) {
        Ok(found) => {
            // SAFETY: the caller's place for the handle.
            unsafe { out.write(Series(found.handle)) };
            if found.full { status::FULL } else { status::OK }
        }
        Err(refusal) => refused(refusal),
    }
}

unsafe extern "C" fn add(series: Series, n: i64) -> Status {
    counted(metrics::find(series.0, |series| series.add(n)))
}

unsafe extern "C" fn set(series: Series, value: f64) -> Status {
    counted(metrics::find(series.0, |series| series.set(value)))
}

unsafe extern "C" fn observe(series: Series, value: f64) -> Status {
    counted(metrics::find(series.0, |series| series.observe(value)))
}

fn counted(found: Option<bool>) -> Status {
    match found {
        Some(true) => status::OK,
        Some(false) => status::INVALID,
        None => status::GONE,
    }
}

fn refused(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Gone => status::GONE,
        Refusal::TooManyMetrics | Refusal::TooManySeries | Refusal::TooManySessions => status::FULL,
        _ => status::INVALID,
    }
}
