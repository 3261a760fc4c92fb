//! `midplane log-level`

use std::process::ExitCode;

use super::connection::ClientArguments;
use super::failure::Failure;
use super::output;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// For example `info,hello=debug`; left out: print what is set
    filter: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

pub(super) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = arguments.client.host()?;
    let filter = match &arguments.filter {
        Some(filter) => client.set_log_level(filter).await?,
        None => client.log_level().await?,
    };
    if arguments.client.json {
        output::json(&serde_json::json!({ "filter": filter }))?;
    } else {
        output::line(&filter)?;
    }
    Ok(ExitCode::SUCCESS)
}
