//! What people read of a module's process.

use std::time::Duration;

use midplane_client::{Crash, ModuleProcess};
use serde_json::Value;

use crate::isolation::confine::Report;

/// Names and values; `now` in Unix seconds.
pub(super) fn of_process(process: &ModuleProcess, now: u64) -> Vec<(&'static str, String)> {
    let pid = match process.pid {
        Some(pid) => pid.to_string(),
        None => "none: it has ended".to_owned(),
    };
    let mut pairs = vec![
        ("  process", pid),
        ("  confined", confined(process.confined.as_ref())),
        ("  crashes", process.crashes.to_string()),
    ];
    if let Some(crash) = &process.last_crash {
        pairs.push(("  last crash", last(crash, now)));
    }
    pairs
}

fn last(crash: &Crash, now: u64) -> String {
    let ago = Duration::from_secs(now.saturating_sub(crash.at));
    let during = match crash.routes.as_slice() {
        [] => "with no request under way".to_owned(),
        routes => format!("during {}", routes.join(", ")),
    };
    format!(
        "{} ago, generation {}: {} {during}",
        humantime::format_duration(ago),
        crash.generation,
        crash.reason
    )
}

/// As the kernel reports it; in its own words where this program does not know the report's form.
fn confined(report: Option<&Value>) -> String {
    let Some(report) = report else {
        return "no".to_owned();
    };
    match serde_json::from_value::<Report>(report.clone()) {
        Ok(report) => report.to_string(),
        Err(_of_another_version) => report.to_string(),
    }
}
