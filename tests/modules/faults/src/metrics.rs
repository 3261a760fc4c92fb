//! Counts what it is told to, by names that may be wrong.

use std::collections::BTreeMap;

use axum::routing::post;
use axum::{Json, Router};
use midplane_sdk::{Metrics, Session};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(default)]
struct Counted {
    metric: String,
    help: String,
    /// `counter`, `gauge` or `histogram`.
    kind: String,
    bounds: Vec<f64>,
    labels: BTreeMap<String, String>,
    n: u64,
    /// For the session of the request, too.
    for_session: bool,
    /// So often, each with one more label, `number`; 0: once, without.
    times: u64,
    /// So often, with a series that is kept.
    kept: u64,
}

impl Default for Counted {
    fn default() -> Counted {
        Counted {
            metric: "tokens".to_owned(),
            help: "What the test counts.".to_owned(),
            kind: "counter".to_owned(),
            bounds: vec![0.5, 10.0],
            labels: BTreeMap::new(),
            n: 1,
            for_session: false,
            times: 0,
            kept: 1,
        }
    }
}

pub(crate) fn routes(metrics: Metrics) -> Router {
    Router::new().route(
        "/metric",
        post(
            move |session: Session, Json(counted): Json<Counted>| async move {
                count(&metrics, &session, &counted);
            },
        ),
    )
}

fn count(metrics: &Metrics, session: &Session, counted: &Counted) {
    for number in 0..counted.times.max(1) {
        let number = number.to_string();
        let mut labels: Vec<_> = counted
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        if counted.times > 0 {
            labels.push(("number", &number));
        }
        let (name, help, n) = (&counted.metric, &counted.help, counted.n);
        match counted.kind.as_str() {
            "gauge" => metrics.gauge(name, help).set(&labels, n as f64),
            "histogram" => {
                let histogram = metrics.histogram(name, help, &counted.bounds);
                histogram.observe(&labels, n as f64);
            }
            _ if counted.for_session => {
                metrics.counter(name, help).add_for(session, &labels, n);
            }
            _ => {
                let series = metrics.counter(name, help).series(&labels);
                (0..counted.kept).for_each(|_| series.add(n));
            }
        }
    }
}
