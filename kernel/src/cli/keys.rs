//! `midplane keys rotate`.

use http::Method;
use midplane_client::RotatedKeys;
use serde_json::{Value, json};

use super::arguments::ClientArgs;
use super::{Failure, Output};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Sign new tokens with a new key; those of the previous one hold until they expire
    Rotate {
        /// End the tokens of the previous key, too
        #[arg(long)]
        revoke_previous: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let Command::Rotate {
        revoke_previous,
        client,
    } = command;
    let body = json!({ "revoke_previous": revoke_previous });
    let answer: Value = client
        .host()?
        .send(Method::POST, "/keys/rotate", Some(&body))
        .await?;
    Output::of(&client).show(&answer, |keys: RotatedKeys| {
        let before = if revoke_previous {
            "end now"
        } else {
            "hold until they expire"
        };
        format!("new key {}; tokens signed before {before}\n", keys.kid)
    })
}
