//! How metrics of modules are shown.

use std::sync::atomic::Ordering::Relaxed;

use super::metric::Metric;
use super::names::SESSION_SUFFIX;
use super::series::{Series, Value};
use crate::exposition::{self, Exposition, Kind, label};

/// The name of the metric that [`write_dropped`] writes.
pub(super) const DROPPED: &str = "midplane_module_metrics_dropped";

/// One metric with all of its series, and the shares of sessions as one more.
pub(super) fn write_metric(all: &mut Exposition, module: &str, metric: &Metric) {
    let module = label("module", module);
    let mut shown = all.metric(metric.kind, &metric.full, None, &metric.help);
    metric.each(|labels, series| write_series(&mut shown, &joined(&module, labels), series));
    let by_session = format!("{}{SESSION_SUFFIX}", metric.full);
    let mut shown = all.metric(metric.kind, &by_session, None, &metric.help);
    metric.each_share(|session, labels, series| {
        let session = format!("{module},{}", label("session", session));
        write_series(&mut shown, &joined(&session, labels), series);
    });
}

/// How much was dropped of each module's.
pub(super) fn write_dropped<'a>(
    all: &mut Exposition,
    modules: impl Iterator<Item = (&'a str, u64)>,
) {
    let help = "What modules counted that has no place here: the log says why";
    let mut shown = all.metric(Kind::Counter, DROPPED, None, help);
    for (module, dropped) in modules {
        shown.sample(&label("module", module), dropped);
    }
}

fn joined(before: &str, labels: &str) -> String {
    let comma = if labels.is_empty() { "" } else { "," };
    format!("{before}{comma}{labels}")
}

fn write_series(shown: &mut exposition::Metric<'_>, labels: &str, series: &Series) {
    match series.value() {
        Value::Count(count) => shown.sample(labels, count.load(Relaxed)),
        Value::Gauge(bits) => shown.sample(labels, f64::from_bits(bits.load(Relaxed))),
        Value::Histogram(histogram) => {
            let (up_to, count, sum) = histogram.read();
            shown.histogram(labels, &up_to, count, sum);
        }
        // No metric's.
        Value::Dropped(_) => {}
    }
}
