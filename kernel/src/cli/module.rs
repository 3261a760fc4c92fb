//! `midplane module …`

use std::path::PathBuf;
use std::process::ExitCode;

use midplane_client::{Identity, Module, ModuleSource, Receipt};
use serde_json::Value;

use super::connection::ClientArguments;
use super::failure::Failure;
use super::output;
use super::session::read_object;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// List what is loaded
    List(List),
    /// Load a module, or swap the one of that name
    Load(Load),
    /// Swap a module for what is at its path now
    Reload(Reload),
    /// Let a module finish and take it away
    Unload(Unload),
}

#[derive(clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(clap::Args)]
pub(super) struct Load {
    name: String,
    /// The shared library
    path: PathBuf,
    /// Its configuration, a JSON object [default: as before, or as configured]
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// What it is given of what it asks for; may be repeated, and may only narrow what the configuration gives
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<String>,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(clap::Args)]
pub(super) struct Reload {
    name: String,
    /// Another configuration, a JSON object
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// Answer after the old generation is gone
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(clap::Args)]
pub(super) struct Unload {
    name: String,
    /// How long what is under way may go on [default: `drain_timeout` of the module]
    #[arg(long, value_name = "MS")]
    drain_ms: Option<u64>,
    #[command(flatten)]
    client: ClientArguments,
}

pub(super) async fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::List(arguments) => list(arguments).await?,
        Command::Load(arguments) => load(arguments).await?,
        Command::Reload(arguments) => reload(arguments).await?,
        Command::Unload(arguments) => unload(arguments).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(arguments: &List) -> Result<(), Failure> {
    let client = arguments.client.host()?;
    if arguments.client.json {
        let modules: Value = client
            .send(http::Method::GET, "/modules", None::<&()>)
            .await?;
        return output::json(&modules);
    }
    output::data(&list_table(&client.modules().await?))
}

/// Also what `status` shows.
pub(super) fn list_table(modules: &[Module]) -> String {
    let rows: Vec<_> = modules
        .iter()
        .map(|module| {
            vec![
                format!("{}#{}", module.name, module.generation),
                module.version.clone(),
                module.state.clone(),
                if module.grants.is_empty() {
                    "-".to_owned()
                } else {
                    module.grants.join(",")
                },
                module.in_flight_requests.to_string(),
                module.requests.total().to_string(),
                module
                    .path
                    .as_ref()
                    .map(|path| path.display().to_string())
                    .unwrap_or_default(),
            ]
        })
        .collect();
    output::table(
        &[
            "MODULE",
            "VERSION",
            "STATE",
            "GRANTS",
            "UNDER WAY",
            "ANSWERED",
            "PATH",
        ],
        &rows,
    )
}

async fn load(arguments: &Load) -> Result<(), Failure> {
    let path = std::path::absolute(&arguments.path)
        .map_err(|error| Failure::Usage(format!("{}: {error}", arguments.path.display())))?;
    let module = ModuleSource {
        path,
        config: arguments.config.as_deref().map(read_object).transpose()?,
        grants: (!arguments.grants.is_empty()).then(|| arguments.grants.clone()),
        public: None,
    };
    let client = arguments.client.host()?;
    let loaded = output::patiently("loading", client.put_module(&arguments.name, &module)).await?;
    print_receipt(&loaded, arguments.client.json)
}

async fn reload(arguments: &Reload) -> Result<(), Failure> {
    let config = arguments.config.as_deref().map(read_object).transpose()?;
    let client = arguments.client.host()?;
    let what = if arguments.wait {
        "waiting for requests on the old generation"
    } else {
        "loading"
    };
    let reloaded = output::patiently(
        what,
        client.reload_module(&arguments.name, config.as_ref(), arguments.wait),
    )
    .await?;
    print_receipt(&reloaded, arguments.client.json)
}

async fn unload(arguments: &Unload) -> Result<(), Failure> {
    let client = arguments.client.host()?;
    let what = "waiting for requests that are under way";
    let unloaded = output::patiently(
        what,
        client.unload_module(&arguments.name, arguments.drain_ms),
    )
    .await?;
    print_receipt(&unloaded, arguments.client.json)
}

fn print_receipt(receipt: &Receipt, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(receipt);
    }
    output::data(&summary(receipt))
}

/// The receipt as sentences.
fn summary(receipt: &Receipt) -> String {
    let named = |identity: &Identity| {
        format!(
            "{}#{} ({})",
            receipt.module, identity.generation, identity.version
        )
    };
    let mut text = match (&receipt.from, &receipt.to) {
        (None, Some(to)) => format!("{} is loaded\n", named(to)),
        (Some(from), Some(to)) => format!("{} has taken the place of {}\n", named(to), named(from)),
        (Some(from), None) => format!("{} is gone\n", named(from)),
        (None, None) => String::new(),
    };
    if receipt.from.is_none() {
        return text;
    }
    match receipt.drain_ms {
        None => text.push_str("the old one is still finishing requests; --wait waits for it\n"),
        Some(ms) => {
            let requests = receipt.requests;
            text.push_str(&format!(
                "drained in {ms} ms: {} finished, {} cut\n",
                requests.finished_on_old, requests.cancelled
            ));
        }
    }
    if let (Some(false), Some(reason)) = (receipt.unloaded, &receipt.resident_reason) {
        text.push_str(&format!("its code is still mapped: {reason}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_read_as_sentences() {
        let identity = |generation| serde_json::json!({"generation": generation, "version": "1.0.0", "sha256": "00"});
        let requests = serde_json::json!({"finished_on_old": 3, "cancelled": 1});
        let check = |from, to, drain_ms: Option<u64>, expect: &str| {
            let receipt = serde_json::json!({
                "module": "m", "from": from, "to": to, "swap_us": 9, "drain_ms": drain_ms, "requests": requests,
                "unloaded": drain_ms.map(|_| false), "resident_reason": drain_ms.map(|_| "it is wanted"),
            });
            assert_eq!(summary(&serde_json::from_value(receipt).unwrap()), expect);
        };
        check(None, Some(identity(1)), None, "m#1 (1.0.0) is loaded\n");
        check(
            Some(identity(1)),
            Some(identity(2)),
            None,
            "m#2 (1.0.0) has taken the place of m#1 (1.0.0)\nthe old one is still finishing requests; --wait waits for it\n",
        );
        check(
            Some(identity(2)),
            None,
            Some(40),
            "m#2 (1.0.0) is gone\ndrained in 40 ms: 3 finished, 1 cut\nits code is still mapped: it is wanted\n",
        );
    }
}
