//! `midplane openapi`, `metrics` and `events`: what the kernel says, as it says it.

use std::process::ExitCode;

use super::connection::ClientArguments;
use super::failure::Failure;
use super::output;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
}

pub(super) async fn openapi(arguments: &Arguments) -> Result<ExitCode, Failure> {
    output::json(&arguments.client.nobody().openapi().await?)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn metrics(arguments: &Arguments) -> Result<ExitCode, Failure> {
    output::data(&arguments.client.host()?.metrics().await?)?;
    Ok(ExitCode::SUCCESS)
}

/// One event a line, as JSON.
pub(super) async fn events(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut events = arguments.client.host()?.events().await?;
    while let Some(event) = events.next().await {
        output::line(&event?.data)?;
    }
    Ok(ExitCode::SUCCESS)
}
