//! `GET /metrics`: OpenMetrics text.

use std::sync::atomic::Ordering::Relaxed;

use http::Response;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Call, with_type};
use crate::body::Body;
use crate::isolation::process;
use crate::kernel::Kernel;
use crate::modules::generation::Generation;

/// OpenMetrics 1.0, "Exposition".
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn get(call: &Call<'_>) -> Response<Body> {
    let mut registry = Registry::with_prefix("midplane");
    registry.register_collector(Box::new(Snapshot(std::sync::Arc::clone(call.kernel))));
    let mut text = String::new();
    encode(&mut text, &registry).expect("writing to a string does not fail");
    with_type(CONTENT_TYPE, text)
}

/// Reads the kernel's own counters when asked: nothing is counted twice.
struct Snapshot(std::sync::Arc<Kernel>);

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Snapshot")
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let kernel = &self.0;
        let mut gauge = |name: &str, help: &str, value: u64| {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let encoder = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(encoder)
        };
        gauge(
            "connections",
            "Open connections",
            kernel.connections.count() as u64,
        )?;
        gauge(
            "sessions",
            "Sessions, those that ended lately included",
            kernel.sessions.count() as u64,
        )?;
        gauge(
            "stuck_workers",
            "Workers that modules hold and do not give back",
            kernel.findings.stuck().len() as u64,
        )?;
        let dropped = ConstCounter::new(kernel.log.dropped_lines());
        dropped.encode(encoder.encode_descriptor(
            "log_lines_dropped",
            "Log lines that nobody read in time",
            None,
            dropped.metric_type(),
        )?)?;
        let generations = kernel.modules.serving();
        let mut requests = encoder.encode_descriptor(
            "module_requests",
            "Answers of modules by the first digit of their status",
            None,
            prometheus_client::metrics::MetricType::Counter,
        )?;
        for generation in &generations {
            for (class, count) in (1..).zip(generation.stats.by_class()) {
                let labels = [
                    ("module", generation.name.to_string()),
                    ("class", format!("{class}xx")),
                ];
                ConstCounter::new(count).encode(requests.encode_family(&labels)?)?;
            }
        }
        self.per_module(
            &mut encoder,
            "module_poll",
            "Time spent in polls",
            Some(&Unit::Seconds),
            true,
            |generation| {
                std::time::Duration::from_nanos(generation.stats.poll_ns.load(Relaxed))
                    .as_secs_f64()
            },
        )?;
        self.per_module(
            &mut encoder,
            "module_slow_polls",
            "Polls over 10 ms",
            None,
            true,
            |generation| generation.stats.slow_polls.load(Relaxed) as f64,
        )?;
        self.per_module(
            &mut encoder,
            "module_panics",
            "Panics caught",
            None,
            true,
            |generation| generation.stats.panics.load(Relaxed) as f64,
        )?;
        self.per_process(
            &mut encoder,
            "module_crashes",
            "Ends of module processes that should not have ended",
            None,
            true,
            |generation| {
                let (crashes, _last) = self.0.modules.crashes(&generation.name);
                Some(crashes)
            },
        )?;
        self.per_process(
            &mut encoder,
            "module_restarts",
            "Module processes started again after one that crashed",
            None,
            true,
            |generation| Some(self.0.modules.restarts(&generation.name)),
        )?;
        self.per_process(
            &mut encoder,
            "module_processes",
            "Module processes, those that drain included",
            None,
            false,
            |generation| Some(process::alive(&generation.name)),
        )?;
        self.per_process(
            &mut encoder,
            "module_process_resident",
            "Memory of the process of the running generation",
            Some(&Unit::Bytes),
            false,
            |generation| resident_bytes(generation.process()?.pid()),
        )?;
        self.per_module(
            &mut encoder,
            "module_in_flight_requests",
            "Requests under way",
            None,
            false,
            |generation| generation.in_flight() as f64,
        )?;
        self.per_module(
            &mut encoder,
            "module_open_websockets",
            "WebSockets that are open",
            None,
            false,
            |generation| generation.stats.sockets.load(Relaxed) as f64,
        )?;
        self.per_module(
            &mut encoder,
            "module_websocket_messages_received",
            "Messages that clients sent on WebSockets",
            None,
            true,
            |generation| generation.stats.messages_in.load(Relaxed) as f64,
        )?;
        self.per_module(
            &mut encoder,
            "module_websocket_messages_sent",
            "Messages that were sent to clients on WebSockets",
            None,
            true,
            |generation| generation.stats.messages_out.load(Relaxed) as f64,
        )?;
        self.per_module(
            &mut encoder,
            "module_generation",
            "The number of the running generation",
            None,
            false,
            |generation| generation.number as f64,
        )
    }
}

impl Snapshot {
    /// Of modules that have a process to themselves.
    fn per_process(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        counts: bool,
        value: impl Fn(&Generation) -> Option<u64>,
    ) -> std::fmt::Result {
        let process = |generation: &Generation| {
            generation.process()?;
            Some(value(generation)? as f64)
        };
        self.family(encoder, name, help, unit, counts, process)
    }

    fn per_module(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        counts: bool,
        value: impl Fn(&Generation) -> f64,
    ) -> std::fmt::Result {
        self.family(encoder, name, help, unit, counts, |generation| {
            Some(value(generation))
        })
    }

    /// A line for each module that has a value.
    fn family(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        counts: bool,
        value: impl Fn(&Generation) -> Option<f64>,
    ) -> std::fmt::Result {
        use prometheus_client::metrics::MetricType;
        let kind = if counts {
            MetricType::Counter
        } else {
            MetricType::Gauge
        };
        let mut family = encoder.encode_descriptor(name, help, unit, kind)?;
        for generation in self.0.modules.serving() {
            let Some(value) = value(&generation) else {
                continue;
            };
            let labels = [("module", generation.name.to_string())];
            let family = family.encode_family(&labels)?;
            if counts {
                ConstCounter::new(value).encode(family)?;
            } else {
                ConstGauge::new(value).encode(family)?;
            }
        }
        Ok(())
    }
}

/// What a process holds of the machine's memory: proc_pid_statm(5), the second field, in pages.
#[cfg(target_os = "linux")]
fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}

#[cfg(not(target_os = "linux"))]
fn resident_bytes(_pid: u32) -> Option<u64> {
    None
}
