//! Numbers as OpenMetrics 1.0 text. Pure: it knows how they are written, not what they mean.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

/// OpenMetrics 1.0, "Protocol Negotiation".
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// What is written so far.
#[derive(Default)]
pub(crate) struct Exposition(String);

/// A metric of it. Nothing is written of one without samples.
pub(crate) struct Metric<'a> {
    text: &'a mut String,
    name: &'a str,
    kind: Kind,
    unit: Option<&'a str>,
    help: &'a str,
    begun: bool,
}

impl Exposition {
    /// `name` is whole, but for the suffixes of samples; where there is a `unit`, it ends with that. None comes twice.
    pub(crate) fn metric<'a>(
        &'a mut self,
        kind: Kind,
        name: &'a str,
        unit: Option<&'a str>,
        help: &'a str,
    ) -> Metric<'a> {
        Metric {
            text: &mut self.0,
            name,
            kind,
            unit,
            help,
            begun: false,
        }
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("# EOF\n");
        self.0
    }
}

impl Metric<'_> {
    /// The value of a counter or a gauge. `labels` are those of [`label`], with commas between them.
    pub(crate) fn sample(&mut self, labels: &str, value: impl Display) {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.line(suffix, labels, value);
    }

    /// A histogram: each bound with how many values are not above it, how many there are in all, and their sum.
    pub(crate) fn histogram(&mut self, labels: &str, up_to: &[(f64, u64)], count: u64, sum: f64) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in up_to {
            let labels = format!("{labels}{comma}le=\"{}\"", canonical(*bound));
            self.line("_bucket", &labels, count);
        }
        self.line("_bucket", &format!("{labels}{comma}le=\"+Inf\""), count);
        self.line("_count", labels, count);
        self.line("_sum", labels, sum);
    }

    fn line(&mut self, suffix: &str, labels: &str, value: impl Display) {
        if !std::mem::replace(&mut self.begun, true) {
            self.begin();
        }
        let name = self.name;
        // Writing to a string does not fail.
        let _ = if labels.is_empty() {
            writeln!(self.text, "{name}{suffix} {value}")
        } else {
            writeln!(self.text, "{name}{suffix}{{{labels}}} {value}")
        };
    }

    fn begin(&mut self) {
        let (name, help) = (self.name, escaped(self.help));
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // As above.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        if let Some(unit) = self.unit {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
    }
}

/// `name="value"`
pub(crate) fn label(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", escaped(value))
}

/// OpenMetrics 1.0, `escaped-string`.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str(r"\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str(r"\n"),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// A bound as OpenMetrics 1.0 has it ("Considerations: Canonical Numbers"), and Go's `%g`, so that readers that compare texts
/// find the same.
fn canonical(bound: f64) -> String {
    let scientific = format!("{bound:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent @ 6..) => format!("{mantissa}e+{exponent:02}"),
        Ok(exponent @ ..-4) => format!("{mantissa}e-{:02}", exponent.unsigned_abs()),
        _ => format!("{bound:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_written_as_the_specification_has_it() {
        let mut all = Exposition::default();
        let mut metric = all.metric(Kind::Counter, "a", None, "What \"a\"\nis");
        metric.sample("", 3);
        metric.sample(&label("x", "q\" b\\ n\n"), 4_u64);
        all.metric(Kind::Gauge, "b_seconds", Some("seconds"), "B")
            .sample("", 0.5);
        all.metric(Kind::Gauge, "none", None, "Without samples");
        let buckets = [(0.1, 1), (1.0, 3)];
        all.metric(Kind::Histogram, "c", None, "C")
            .histogram("", &buckets, 4, 2.5);
        let mut labelled = all.metric(Kind::Histogram, "d", None, "D");
        labelled.histogram(&label("x", "y"), &buckets[..1], 1, 0.05);
        assert_eq!(
            all.finish(),
            r##"# HELP a What \"a\"\nis
# TYPE a counter
a_total 3
a_total{x="q\" b\\ n\n"} 4
# HELP b_seconds B
# TYPE b_seconds gauge
# UNIT b_seconds seconds
b_seconds 0.5
# HELP c C
# TYPE c histogram
c_bucket{le="0.1"} 1
c_bucket{le="1.0"} 3
c_bucket{le="+Inf"} 4
c_count 4
c_sum 2.5
# HELP d D
# TYPE d histogram
d_bucket{x="y",le="0.1"} 1
d_bucket{x="y",le="+Inf"} 1
d_count{x="y"} 1
d_sum{x="y"} 0.05
# EOF
"##
        );
    }

    #[test]
    fn bounds_are_written_in_one_way() {
        for (bound, expect) in [
            (0.0, "0.0"),
            (0.1, "0.1"),
            (1.0, "1.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (2.5e-7, "2.5e-07"),
            (100_000.0, "100000.0"),
            (1_000_000.0, "1e+06"),
            (10_485_760.0, "1.048576e+07"),
            (1e21, "1e+21"),
        ] {
            assert_eq!(canonical(bound), expect);
        }
    }
}
