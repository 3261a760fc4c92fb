//! `midplane status`

use std::process::ExitCode;

use super::connection::ClientArguments;
use super::failure::Failure;
use super::{module, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
}

pub(super) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    // Without the key there is less to tell, but it can be told.
    let host = arguments.client.host();
    let client = host
        .as_ref()
        .map_or_else(|_| arguments.client.nobody(), Clone::clone);
    if arguments.client.json {
        let health: serde_json::Value = client
            .send(http::Method::GET, "/health", None::<&()>)
            .await?;
        output::json(&health)?;
        return Ok(ExitCode::SUCCESS);
    }
    let health = client.health().await?;
    let uptime = health
        .uptime_s
        .map(|seconds| format!(", up for {}", output::span(seconds)))
        .unwrap_or_default();
    let pid = health
        .pid
        .map(|pid| format!(", pid {pid}"))
        .unwrap_or_default();
    output::line(&format!(
        "midplane {} is {} on {}{pid}{}",
        health.version,
        health.status,
        client.socket().display(),
        uptime
    ))?;
    match host {
        Ok(host) => output::data(&module::list_table(&host.modules().await?))?,
        Err(error) => output::note(&format!(
            "no more can be told without the host key: {error}"
        )),
    }
    Ok(ExitCode::SUCCESS)
}
