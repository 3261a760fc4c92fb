//! `GET /metrics`: OpenMetrics text.
//!
//! What the kernel knows is read where it stands when somebody asks: nothing is counted twice. What modules count follows it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::Response;

use super::Call;
use super::response::with_type;
use crate::body::Body;
use crate::exposition::{CONTENT_TYPE, Exposition, Kind, label};
use crate::isolation::process;
use crate::kernel::Kernel;
use crate::modules::generation::Generation;
use crate::switchboard::tally::Outcome;

use Kind::{Counter, Gauge, Histogram};

const REQUESTS: &str = "midplane_module_requests";
const CALLS: &str = "midplane_module_calls";
const CALL_SECONDS: &str = "midplane_module_call_duration_seconds";

/// A metric, and how it is read: `None` where there is nothing to say.
struct Metric<F> {
    kind: Kind,
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    read: F,
}

const fn metric<F: Copy>(kind: Kind, name: &'static str, help: &'static str, read: F) -> Metric<F> {
    Metric {
        kind,
        name,
        unit: None,
        help,
        read,
    }
}

const fn metric_in<F: Copy>(
    unit: &'static str,
    kind: Kind,
    name: &'static str,
    help: &'static str,
    read: F,
) -> Metric<F> {
    Metric {
        kind,
        name,
        unit: Some(unit),
        help,
        read,
    }
}

type OfKernel = fn(&Kernel) -> u64;
type OfModule = fn(&Kernel, &Generation) -> Option<f64>;

static OF_KERNEL: [Metric<OfKernel>; 4] = [
    metric(
        Gauge,
        "midplane_connections",
        "Open connections",
        |kernel| kernel.connections.count() as u64,
    ),
    metric(
        Gauge,
        "midplane_sessions",
        "Sessions, those that ended lately included",
        |kernel| kernel.sessions.count() as u64,
    ),
    metric(
        Gauge,
        "midplane_stuck_workers",
        "Workers that modules hold and do not give back",
        |kernel| kernel.findings.stuck().len() as u64,
    ),
    metric(
        Counter,
        "midplane_log_lines_dropped",
        "Log lines that nobody read in time",
        |kernel| kernel.log.dropped_lines(),
    ),
];

static OF_MODULES: [Metric<OfModule>; 12] = [
    metric_in(
        "seconds",
        Counter,
        "midplane_module_poll_seconds",
        "Time spent in polls",
        |_, generation| {
            let spent = Duration::from_nanos(generation.stats.poll_ns.load(Relaxed));
            Some(spent.as_secs_f64())
        },
    ),
    metric(
        Counter,
        "midplane_module_slow_polls",
        "Polls over 10 ms",
        |_, generation| count(&generation.stats.slow_polls),
    ),
    metric(
        Counter,
        "midplane_module_panics",
        "Panics caught",
        |_, generation| count(&generation.stats.panics),
    ),
    metric(
        Counter,
        "midplane_module_crashes",
        "Ends of module processes that should not have ended",
        |kernel, generation| {
            generation.process()?;
            let (crashes, _last) = kernel.modules.crashes(&generation.name);
            Some(crashes as f64)
        },
    ),
    metric(
        Counter,
        "midplane_module_restarts",
        "Module processes started again after one that crashed",
        |kernel, generation| {
            generation.process()?;
            Some(kernel.modules.restarts(&generation.name) as f64)
        },
    ),
    metric(
        Gauge,
        "midplane_module_processes",
        "Module processes, those that drain included",
        |_, generation| {
            generation.process()?;
            Some(process::alive(&generation.name) as f64)
        },
    ),
    metric_in(
        "bytes",
        Gauge,
        "midplane_module_process_resident_bytes",
        "Memory of the process of the running generation",
        |_, generation| resident_bytes(generation.process()?.pid()).map(|bytes| bytes as f64),
    ),
    metric(
        Gauge,
        "midplane_module_in_flight_requests",
        "Requests under way",
        |_, generation| Some(generation.in_flight() as f64),
    ),
    metric(
        Gauge,
        "midplane_module_open_websockets",
        "WebSockets that are open",
        |_, generation| count(&generation.stats.sockets),
    ),
    metric(
        Counter,
        "midplane_module_websocket_messages_received",
        "Messages that clients sent on WebSockets",
        |_, generation| count(&generation.stats.messages_in),
    ),
    metric(
        Counter,
        "midplane_module_websocket_messages_sent",
        "Messages that were sent to clients on WebSockets",
        |_, generation| count(&generation.stats.messages_out),
    ),
    metric(
        Gauge,
        "midplane_module_generation",
        "The number of the running generation",
        |_, generation| Some(generation.number as f64),
    ),
];

/// The kernel's own metrics: no module's may be called so.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let of_kernel = OF_KERNEL.iter().map(|metric| metric.name);
    let of_modules = OF_MODULES.iter().map(|metric| metric.name);
    of_kernel
        .chain(of_modules)
        .chain([REQUESTS, CALLS, CALL_SECONDS])
}

pub(super) fn get(call: &Call<'_>) -> Response<Body> {
    let kernel: &Kernel = call.kernel;
    let mut all = Exposition::default();
    for metric in &OF_KERNEL {
        let mut shown = all.metric(metric.kind, metric.name, metric.unit, metric.help);
        shown.sample("", (metric.read)(kernel));
    }
    let serving = kernel.modules.serving();
    write_requests(&mut all, &serving);
    for metric in &OF_MODULES {
        let mut shown = all.metric(metric.kind, metric.name, metric.unit, metric.help);
        for generation in &serving {
            if let Some(value) = (metric.read)(kernel, generation) {
                shown.sample(&label("module", &generation.name), value);
            }
        }
    }
    write_calls(&mut all, kernel);
    let running: Vec<_> = serving
        .iter()
        .map(|generation| (Arc::clone(&generation.name), generation.number))
        .collect();
    kernel.metrics.write(&mut all, &running, call.now);
    with_type(CONTENT_TYPE, all.finish())
}

fn write_requests(all: &mut Exposition, serving: &[Arc<Generation>]) {
    let help = "Answers of modules by the first digit of their status";
    let mut shown = all.metric(Counter, REQUESTS, None, help);
    for generation in serving {
        let module = label("module", &generation.name);
        for (class, count) in (1..).zip(generation.stats.by_class()) {
            shown.sample(&format!("{module},class=\"{class}xx\""), count);
        }
    }
}

/// Between modules.
fn write_calls(all: &mut Exposition, kernel: &Kernel) {
    let pairs = kernel.switchboard.tally().pairs();
    let labels: Vec<_> = pairs
        .iter()
        .map(|pair| {
            let caller = label("caller", &pair.caller);
            format!("{caller},{}", label("callee", &pair.callee))
        })
        .collect();
    let help = "Calls between modules by how they ended: the first digit of the answer's status, or why there was none";
    let mut shown = all.metric(Counter, CALLS, None, help);
    for (pair, labels) in pairs.iter().zip(&labels) {
        for outcome in Outcome::ALL {
            let count = pair.count(outcome);
            // Most never happen.
            if count > 0 {
                shown.sample(&format!("{labels},outcome=\"{}\"", outcome.name()), count);
            }
        }
    }
    let help = "From a call between modules to the head of its answer";
    let mut shown = all.metric(Histogram, CALL_SECONDS, Some("seconds"), help);
    for (pair, labels) in pairs.iter().zip(&labels) {
        let (up_to, count, sum) = pair.durations();
        shown.histogram(labels, &up_to, count, sum);
    }
}

fn count(counter: &AtomicU64) -> Option<f64> {
    Some(counter.load(Relaxed) as f64)
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
