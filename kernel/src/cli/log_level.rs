//! `midplane log-level [FILTER]`.

use http::Method;
use serde_json::{Value, json};

use super::arguments::ClientArgs;
use super::{Failure, Output};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// For example `info,hello=debug`; without one, shows what is in force
    filter: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(serde::Deserialize)]
struct LogLevel {
    filter: String,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let host = arguments.client.host()?;
    let answer: Value = match &arguments.filter {
        None => host.send(Method::GET, "/log-level", None::<&()>).await?,
        Some(filter) => {
            let body = json!({ "filter": filter });
            host.send(Method::PUT, "/log-level", Some(&body)).await?
        }
    };
    Output::of(&arguments.client).show(&answer, |level: LogLevel| level.filter + "\n")
}
