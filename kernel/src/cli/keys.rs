//! `midplane keys …`

use std::process::ExitCode;

use super::connection::ClientArguments;
use super::failure::Failure;
use super::output;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Sign new tokens with a new key; those of the previous key hold until they expire
    Rotate(Rotate),
}

#[derive(clap::Args)]
pub(super) struct Rotate {
    /// End the previous key's tokens, too
    #[arg(long)]
    revoke_previous: bool,
    #[command(flatten)]
    client: ClientArguments,
}

pub(super) async fn run(command: &Command) -> Result<ExitCode, Failure> {
    let Command::Rotate(arguments) = command;
    let kid = arguments
        .client
        .host()?
        .rotate_keys(arguments.revoke_previous)
        .await?
        .kid;
    if arguments.client.json {
        output::json(&serde_json::json!({ "kid": kid }))?;
    } else {
        output::line(&format!("new tokens are signed with the key {kid}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
