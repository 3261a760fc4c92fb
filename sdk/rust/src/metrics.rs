//! Numbers of the module's own in the kernel's `GET /metrics`.
//!
//! ```
//! use midplane_sdk::{Context, Counter, Result, Session};
//! # use axum::{Router, extract::State, routing::post};
//! #
//! async fn chat(ctx: Context) -> Result<Router> {
//!     let tokens = ctx.metrics().counter("tokens", "Tokens the provider counted.");
//!     Ok(Router::new().route("/turn", post(turn)).with_state(tokens))
//! }
//!
//! async fn turn(State(tokens): State<Counter>, session: Session) {
//!     tokens.add(&[("kind", "cached")], 3);
//!     tokens.add_for(&session, &[("kind", "input")], 12);
//! }
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! // In a unit test:
//! use midplane_sdk::testing;
//!
//! let module = testing::start(chat, serde_json::json!({})).await?;
//! let request = http::Request::post("/turn").body(axum::body::Body::empty())?;
//! module.call(Some(testing::session("ada")), request).await;
//! assert_eq!(module.metric("tokens", &[("kind", "input")]), 12);
//! # Ok::<(), midplane_sdk::Error>(())
//! # })?;
//! # Ok::<(), midplane_sdk::Error>(())
//! ```
//!
//! For the module `chat` the kernel shows, with a `module` label that fits its own metrics:
//!
//! ```text
//! midplane_module_chat_tokens_total{module="chat",kind="cached"} 3
//! midplane_module_chat_tokens_total{module="chat",kind="input"} 12
//! midplane_module_chat_tokens_by_session_total{module="chat",session="ses_…",kind="input"} 12
//! ```
//!
//! Counters and histograms belong to the module's name: they go on over reloads and restarts of its process, never fall, and
//! vanish when the module is unloaded. A gauge is the running generation's. What is counted for a session is in the total for
//! ever, and with its own label until the session ends.
//!
//! **Names** are OpenMetrics' (`[a-zA-Z_][a-zA-Z0-9_]*`, 64 bytes), with the unit last and in base units (`latency_seconds`),
//! and without `_total`, `_created`, `_count`, `_sum`, `_bucket`, `_info`, `_by_session` at the end, which are added. Labels are
//! named alike; `module`, `session`, `le`, `quantile` and names that begin with `__` are taken. Values of labels are UTF-8 of up
//! to 256 bytes, without control characters but for newlines.
//!
//! **Limits**: 64 metrics for a module, and for each 256 series, 1,024 with a session, 8 labels, 32 buckets. What is over a
//! limit, and what is named otherwise than said, is dropped: the log says so once, and
//! `midplane_module_metrics_dropped_total{module="chat"}` how often. Nothing of this fails or waits. Take labels that have few
//! values: a model, a kind, an outcome; never a user, an id or a text.
//!
//! Counting with labels finds the series anew each time. Where that is much, keep it: [`Counter::series`] and its likes count
//! without a lock or an allocation. With `isolation = "process"` numbers reach the kernel within a quarter of a second, and what a
//! crash finds on the way is lost.

use midplane_abi::metric;

use crate::boundary::metrics::{Declared, Found, Meter};
use crate::session::Session;

/// Declares metrics. Declaring one again finds it.
#[derive(Clone)]
pub struct Metrics(pub(crate) Meter);

impl Metrics {
    /// What only grows: requests, tokens, bytes.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        Counter(self.0.declare(metric::COUNTER, name, help, &[]))
    }

    /// What goes up and down: open streams, entries of a cache.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        Gauge(self.0.declare(metric::GAUGE, name, help, &[]))
    }

    /// How values are distributed, 0 or more each: durations, sizes. `buckets` are their upper bounds, growing, without
    /// infinity. A version of the module that declares others begins anew.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        Histogram(self.0.declare(metric::HISTOGRAM, name, help, buckets))
    }
}

/// See [`Metrics::counter`].
#[derive(Clone)]
pub struct Counter(Option<Declared>);

impl Counter {
    pub fn add(&self, labels: &[(&str, &str)], n: u64) {
        self.series(labels).add(n);
    }

    /// Counts for the total and, until it ends, for the session.
    pub fn add_for(&self, session: &Session, labels: &[(&str, &str)], n: u64) {
        CounterSeries(found(&self.0, labels, Some(session))).add(n);
    }

    /// The series with these labels, to keep.
    pub fn series(&self, labels: &[(&str, &str)]) -> CounterSeries {
        CounterSeries(found(&self.0, labels, None))
    }
}

/// One series of a [`Counter`].
#[derive(Clone)]
pub struct CounterSeries(Option<Found>);

impl CounterSeries {
    pub fn add(&self, n: u64) {
        if let Some(series) = &self.0 {
            series.add(i64::try_from(n).unwrap_or(i64::MAX));
        }
    }
}

/// See [`Metrics::gauge`].
#[derive(Clone)]
pub struct Gauge(Option<Declared>);

impl Gauge {
    /// To a number that is finite.
    pub fn set(&self, labels: &[(&str, &str)], value: f64) {
        self.series(labels).set(value);
    }

    /// Up, or down.
    pub fn add(&self, labels: &[(&str, &str)], n: i64) {
        self.series(labels).add(n);
    }

    /// The series with these labels, to keep.
    pub fn series(&self, labels: &[(&str, &str)]) -> GaugeSeries {
        GaugeSeries(found(&self.0, labels, None))
    }
}

/// One series of a [`Gauge`].
#[derive(Clone)]
pub struct GaugeSeries(Option<Found>);

impl GaugeSeries {
    /// To a number that is finite.
    pub fn set(&self, value: f64) {
        if let Some(series) = &self.0 {
            series.set(value);
        }
    }

    /// Up, or down.
    pub fn add(&self, n: i64) {
        if let Some(series) = &self.0 {
            series.add(n);
        }
    }
}

/// See [`Metrics::histogram`].
#[derive(Clone)]
pub struct Histogram(Option<Declared>);

impl Histogram {
    pub fn observe(&self, labels: &[(&str, &str)], value: f64) {
        self.series(labels).observe(value);
    }

    /// The series with these labels, to keep.
    pub fn series(&self, labels: &[(&str, &str)]) -> HistogramSeries {
        HistogramSeries(found(&self.0, labels, None))
    }
}

/// One series of a [`Histogram`].
#[derive(Clone)]
pub struct HistogramSeries(Option<Found>);

impl HistogramSeries {
    pub fn observe(&self, value: f64) {
        if let Some(series) = &self.0 {
            series.observe(value);
        }
    }
}

fn found(
    metric: &Option<Declared>,
    labels: &[(&str, &str)],
    session: Option<&Session>,
) -> Option<Found> {
    metric.as_ref()?.series(labels, session.map(Session::id))
}
