//! `midplane status`: is it there, how is it, what has it loaded?

use std::time::Duration;

use http::Method;
use midplane_client::Health;
use midplane_client::locate::LocateError;
use serde_json::Value;

use super::arguments::ClientArgs;
use super::output::remark;
use super::{Failure, Output, table};

pub(super) async fn run(args: &ClientArgs, output: &mut Output) -> Result<(), Failure> {
    // Without the host key the kernel still says whether it is well.
    let client = match args.host() {
        Ok(client) => client,
        Err(Failure::Locate(error @ LocateError::NoHostKey { .. })) => {
            remark(&format!("{error}; without it there is only this:"));
            args.anyone()
        }
        Err(failure) => return Err(failure),
    };
    let answer: Value = client.send(Method::GET, "/health", None::<&()>).await?;
    let socket = client.socket().display().to_string();
    let colour = output.colour();
    output.show(&answer, |health| readable(&health, socket, colour))
}

pub(super) fn readable(health: &Health, socket: String, colour: bool) -> String {
    let mut pairs = vec![
        ("status", health.status.clone()),
        (
            "version",
            format!("{} (API {})", health.version, health.protocol),
        ),
        ("socket", socket),
    ];
    pairs.extend(health.pid.map(|pid| ("pid", pid.to_string())));
    let uptime = health.uptime_s.map(Duration::from_secs);
    pairs.extend(uptime.map(|time| ("uptime", humantime::format_duration(time).to_string())));
    let mut text = table::pairs(&pairs);
    let modules = health.modules.as_deref().unwrap_or_default();
    if !modules.is_empty() {
        let row = |module: &midplane_client::HealthModule| {
            vec![
                module.name.clone(),
                module.version.clone(),
                module.generation.to_string(),
                module.state.clone(),
                module.isolation.clone(),
            ]
        };
        let rows: Vec<_> = modules.iter().map(row).collect();
        text.push('\n');
        let header = ["MODULE", "VERSION", "GENERATION", "STATE", "ISOLATION"];
        text += &table::render(&header, &rows, colour);
    }
    if !health.stuck_workers.is_empty() {
        let row = |stuck: &midplane_client::StuckWorker| {
            vec![
                stuck.worker.to_string(),
                format!("{}#{}", stuck.module, stuck.generation),
                stuck.route.clone(),
                humantime::format_duration(Duration::from_secs(stuck.held_s)).to_string(),
            ]
        };
        let rows: Vec<_> = health.stuck_workers.iter().map(row).collect();
        text.push('\n');
        text += &table::render(&["STUCK WORKER", "MODULE", "ROUTE", "FOR"], &rows, colour);
    }
    text
}
