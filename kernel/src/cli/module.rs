//! `midplane module list|load|reload|unload`.

use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use midplane_client::path::{segment, with_query};
use midplane_client::{Identity, Module, ModuleSource, Receipt};
use serde_json::{Map, Value, json};

use super::arguments::{ClientArgs, json_object};
use super::{Client, Failure, Output, progress, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List what is loaded
    List(ClientArgs),
    /// Load a module, or swap it for the file named
    Load {
        name: String,
        path: PathBuf,
        /// The module's own configuration
        #[arg(long, value_name = "JSON", value_parser = json_object)]
        config: Option<Map<String, Value>>,
        /// Grant it this of what it asks for; may be repeated [default: as configured]
        #[arg(long = "grant", value_name = "GRANT")]
        grants: Vec<String>,
        /// Let its public routes be public
        #[arg(long)]
        public: bool,
        #[command(flatten)]
        swap: Swap,
    },
    /// Swap a module for what is at its path now
    Reload {
        name: String,
        /// The module's own configuration
        #[arg(long, value_name = "JSON", value_parser = json_object)]
        config: Option<Map<String, Value>>,
        #[command(flatten)]
        swap: Swap,
    },
    /// Let a module finish, and unload it
    Unload {
        name: String,
        /// How long its requests may take to finish, such as 5s
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        drain: Option<Duration>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Swap {
    /// Return when the old one is gone
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(client) => list(&client).await,
        Command::Load {
            name,
            path,
            config,
            grants,
            public,
            swap,
        } => {
            let source = ModuleSource {
                path: std::path::absolute(&path).map_err(|source| Failure::Read {
                    what: path.display().to_string(),
                    source,
                })?,
                config,
                grants: (!grants.is_empty()).then_some(grants),
                public: public.then_some(true),
            };
            let body = json!(source);
            swap.ask(Method::PUT, &segment("/modules/", &name, ""), &body)
                .await
        }
        Command::Reload { name, config, swap } => {
            let body = config.map_or_else(|| json!({}), |config| json!({ "config": config }));
            let path = segment("/modules/", &name, "/reload");
            swap.ask(Method::POST, &path, &body).await
        }
        Command::Unload {
            name,
            drain,
            client,
        } => {
            let ms = drain.map(|drain| drain.as_millis().to_string());
            let path = with_query(
                &segment("/modules/", &name, ""),
                &[("drain_ms", ms.as_deref())],
            );
            let host = patient(&client)?;
            let asking = host.send(Method::DELETE, &path, None::<&()>);
            let answer: Value = progress::during("draining", asking).await?;
            Output::of(&client).show(&answer, |receipt| summary(&receipt))
        }
    }
}

impl Swap {
    async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<(), Failure> {
        let wait = self.wait.then_some("drained");
        let host = patient(&self.client)?;
        let path = with_query(path, &[("wait", wait)]);
        let asking = host.send(method, &path, Some(body));
        let what = if self.wait {
            "draining the old one"
        } else {
            "loading"
        };
        let answer: Value = progress::during(what, asking).await?;
        Output::of(&self.client).show(&answer, |receipt| summary(&receipt))
    }
}

/// Drains end by the kernel's own deadline, which it alone knows; a person can interrupt.
fn patient(args: &ClientArgs) -> Result<Client, Failure> {
    Ok(args.host()?.deadline(Duration::MAX))
}

async fn list(args: &ClientArgs) -> Result<(), Failure> {
    #[derive(serde::Deserialize)]
    struct List {
        modules: Vec<Module>,
    }
    let answer: Value = args
        .host()?
        .send(Method::GET, "/modules", None::<&()>)
        .await?;
    let mut output = Output::of(args);
    let colour = output.colour();
    output.show(&answer, |list: List| rows(&list.modules, colour))
}

pub(super) fn rows(modules: &[Module], colour: bool) -> String {
    let row = |module: &Module| {
        vec![
            module.name.clone(),
            module.version.clone(),
            module.generation.to_string(),
            module.state.clone(),
            module.requests.total().to_string(),
            module.in_flight_requests.to_string(),
            module.resident_generations.to_string(),
            module.sha256.chars().take(12).collect(),
        ]
    };
    let rows: Vec<_> = modules.iter().map(row).collect();
    let header = [
        "MODULE",
        "VERSION",
        "GENERATION",
        "STATE",
        "REQUESTS",
        "IN FLIGHT",
        "RESIDENT",
        "SHA256",
    ];
    table::render(&header, &rows, colour)
}

/// A receipt in a line for what happened and one for the old generation.
pub(super) fn summary(receipt: &Receipt) -> String {
    let one = |id: &Identity| format!("{}#{} ({})", receipt.module, id.generation, id.version);
    let mut text = match (&receipt.from, &receipt.to) {
        (None, Some(to)) => format!("loaded {}", one(to)),
        (Some(from), Some(to)) => format!("swapped {} for {}", one(from), one(to)),
        (Some(from), None) => format!("retired {}", one(from)),
        (None, None) => format!("{}: nothing to do", receipt.module),
    };
    if let Some(us) = receipt.swap_us {
        text += &format!(" in {us} µs");
    }
    text.push('\n');
    if receipt.from.is_some() {
        text += &format!("{}\n", fate(receipt));
    }
    text
}

fn fate(receipt: &Receipt) -> String {
    let end = match (receipt.unloaded, &receipt.resident_reason) {
        (Some(true), _) => "unloaded".to_owned(),
        (Some(false), Some(reason)) => format!("still in memory: {reason}"),
        (Some(false), None) => "still in memory".to_owned(),
        (None, _) => return "the old one is draining (--wait waits for it)".to_owned(),
    };
    let took = receipt
        .drain_ms
        .map_or(String::new(), |ms| format!("drained in {ms} ms, "));
    let requests = receipt.requests;
    format!(
        "the old one: {took}{} requests finished, {} cancelled, {end}",
        requests.finished_on_old, requests.cancelled
    )
}
